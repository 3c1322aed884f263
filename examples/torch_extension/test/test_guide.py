# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""docs/python.md quotes guide.py, which runs; the benchmark runs in small."""

import pathlib
import re
import subprocess
import sys
import textwrap
import unittest

import torch

from support import ROOT, cloud

FOLDER = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(FOLDER))


def region(path: pathlib.Path, name: str) -> str:
    """What is between the two lines `# [name]`."""
    parts = re.split(rf"^ *# \[{name}\]\n", path.read_text(), flags=re.MULTILINE)
    if len(parts) != 3:
        raise AssertionError(f"{path} has {len(parts) - 1} lines `# [{name}]`, not 2")
    return textwrap.dedent(parts[1]).strip("\n")


class Page(unittest.TestCase):
    def test_every_python_block_of_the_page_is_quoted_from_a_file_that_runs(self):
        page = ROOT / "docs" / "python.md"
        if not page.exists():
            self.skipTest(f"there is no {page}")
        text = page.read_text()
        blocks = re.findall(r"<!-- (\S+): (\w+) -->\n```python\n(.*?)\n```", text, re.DOTALL)
        self.assertEqual(len(blocks), len(re.findall(r"^```python", text, re.MULTILINE)))
        self.assertGreater(len(blocks), 0)
        for source, name, block in blocks:
            self.assertEqual(block, region(ROOT / source, name), name)


class Guide(unittest.TestCase):
    def setUp(self):
        import guide

        self.guide = guide
        self.indices = cloud(1, 400, [41, 160, 140], 1)
        self.features = torch.randn(len(self.indices), 4)

    def test_the_snippets_do_what_the_page_says(self):
        x, y = self.guide.replaced_spconv(self.features, self.indices)
        self.assertIs(y.indices, x.indices)
        y = self.guide.without_replacing(self.features, self.indices)
        self.assertEqual(y.features.shape[1], 16)
        neighbours = self.guide.Neighbours(16)
        neighbours(y).features.sum().backward()
        self.assertIsNotNone(neighbours.weight.grad)
        x, y = self.guide.torchsparse(self.features, self.indices)
        self.assertIs(y.coords, x.coords)

    def test_layouts_and_mixed_precision(self):
        from tessera_torch import SparseConvTensor, spconv

        net = spconv.SubMConv3d(4, 4, 3, bias=False)
        self.guide.layouts(net, {"weight": torch.randn(3, 3, 3, 4, 4)})
        x = SparseConvTensor(self.features, self.indices, [41, 160, 140], 1)
        loss = self.guide.mixed_precision(net, x, torch.zeros(len(self.indices), dtype=torch.int64))
        self.assertTrue(bool(loss.isfinite()))
        self.assertEqual(net.weight.grad.dtype, torch.float32)


    def test_the_exported_network_gives_the_same(self):
        from tessera_torch import SparseConvTensor, spconv

        net = spconv.SparseSequential(spconv.SparseConv3d(4, 8, 3, 2, 1), torch.nn.BatchNorm1d(8))
        x = SparseConvTensor(self.features, self.indices, [41, 160, 140], 1)
        _, features, indices = self.guide.exported(net, x)
        y = net(x)
        self.assertTrue(torch.equal(features, y.features) and torch.equal(indices, y.indices))


class Benchmark(unittest.TestCase):
    def test_it_runs_in_small(self):
        done = subprocess.run([sys.executable, str(FOLDER / "benchmark.py"), "--tiny"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        for name in ("SECOND forward_ms", "CenterPoint training_ms", "MinkUNet training_ms", "host forward_us"):
            self.assertIn(name, done.stdout)


if __name__ == "__main__":
    unittest.main()
