# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Checkpoints from the command line."""

import contextlib
import io
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
from collections import OrderedDict
from unittest import mock

import torch

from support import recorded, relative, tensor
from tessera_torch import convert, spconv, torchsparse


def quietly(*arguments) -> int:
    with contextlib.redirect_stdout(io.StringIO()):
        return convert.main([str(a) for a in arguments])


class Convert(unittest.TestCase):
    def setUp(self):
        try:
            convert.find_program()
        except FileNotFoundError as error:
            self.skipTest(str(error))
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def file(self, **tensors) -> pathlib.Path:
        path = self.folder / "in.pth"
        torch.save({"state_dict": OrderedDict((k.replace("__", "."), v) for k, v in tensors.items())}, path)
        return path

    def network(self):
        net = spconv.SparseSequential(spconv.SubMConv3d(4, 8, 3, bias=False), torch.nn.BatchNorm1d(8),
                                      spconv.SparseConv3d(8, 8, (3, 1, 1), (2, 1, 1), bias=False), torch.nn.BatchNorm1d(8),
                                      spconv.SubMConv3d(8, 6, 1, bias=False), torch.nn.BatchNorm1d(6))  # fmt: skip
        return net.eval()

    def source(self, net, layout) -> pathlib.Path:
        state = OrderedDict()
        for name, value in net.state_dict().items():
            if value.dim() == 5:
                size, (cout, *_, cin) = value.shape[1:-1], value.shape
                rsck = value.permute(1, 2, 3, 4, 0) if size.numel() > 1 else value.reshape(1, 1, 1, cin, cout)
                value = {"krsc": value, "rsck": rsck, "rskc": rsck.transpose(3, 4)}[layout].contiguous()
            state[name] = value
        path = self.folder / f"{layout}.pth"
        torch.save({"state_dict": state}, path)
        return path

    def test_every_layout_becomes_that_of_spconv_2(self):
        net = self.network()
        for layout in ("krsc", "rsck"):
            with self.subTest(layout=layout):
                target = self.folder / "out.pth"
                options = [] if layout == "krsc" else ["--layout", layout]
                self.assertEqual(quietly(self.source(net, layout), target, *options), 0)
                state = torch.load(target, weights_only=True)["state_dict"]
                self.assertEqual(state._metadata["0"], {"version": 2})
                other = self.network()
                other.load_state_dict(state)
                self.assertTrue(torch.equal(other(tensor()).features, net(tensor()).features))

    def test_torchsparse_gets_its_names_and_its_order_of_offsets(self):
        net = self.network()
        state, report = convert.convert(self.source(net, "krsc"), "torchsparse")
        self.assertIn("0.weight", report)
        spnn = torchsparse.nn
        other = torch.nn.Sequential(spnn.Conv3d(4, 8, 3), spnn.BatchNorm(8), spnn.Conv3d(8, 8, (3, 1, 1), (2, 1, 1)),
                                    spnn.BatchNorm(8), spnn.Conv3d(8, 6, 1), spnn.BatchNorm(6)).eval()  # fmt: skip
        other.load_state_dict(state)
        x = tensor()
        y = other(torchsparse.SparseTensor(x.features, x.indices, spatial_range=(2, *x.spatial_shape)))
        self.assertLess(relative(y.F, net(x).features), 1e-6)

    def test_a_prefix_is_put_back_with_its_versions(self):
        state, _ = convert.convert(self.source(self.network(), "krsc"), add_prefix="middle_encoder.")
        self.assertIn("middle_encoder.0.weight", state)
        self.assertEqual(state._metadata["middle_encoder.0"], {"version": 2})

    def test_for_cpp_the_program_writes_itself(self):
        target = self.folder / "out.safetensors"
        with mock.patch("subprocess.run", wraps=subprocess.run) as run:
            self.assertEqual(convert.main([str(self.source(self.network(), "krsc")), str(target), "--to", "tessera"]), 0)
        self.assertEqual(run.call_count, 1)
        tensors, metadata = convert.read_safetensors(target)
        self.assertEqual(metadata["tessera.layout"], "tessera")
        self.assertEqual(list(tensors["0.weight"].shape), [27, 4, 8])
        net = self.network()
        net.load_state_dict(tensors)  # the layers here read that layout as well

    def test_every_recorded_checkpoint_is_converted(self):
        for path in sorted(recorded("golden/spconv").glob("*.pth")):
            for to in ("spconv", "torchsparse"):
                with self.subTest(file=path.name, to=to):
                    state, _ = convert.convert(path, to)
                    self.assertGreater(len(state), 0)

    def test_what_cannot_be_told_or_read_is_a_sentence_and_a_status(self):
        kernel = self.file(conv__kernel=torch.randn(15, 4, 8), conv__bias=torch.randn(8))
        with self.assertRaisesRegex(ValueError, "--kernel-size conv.kernel=AxBxC"):
            convert.convert(kernel, options=["--layout", "torchsparse"])
        state, _ = convert.convert(kernel, options=["--layout", "torchsparse", "--kernel-size", "conv.kernel=3x5x1"])
        self.assertEqual(list(state["conv.kernel"].shape), [8, 3, 5, 1, 4])
        done = subprocess.run([sys.executable, "-m", "tessera_torch.convert", str(self.folder / "none.pth"), "out.pth"],
                              capture_output=True, text=True)  # fmt: skip
        self.assertEqual(done.returncode, 1)
        self.assertIn("none.pth", done.stderr)

    def test_a_file_that_cannot_be_written_is_a_sentence_and_leaves_what_was_there(self):
        state, _ = convert.convert(self.file(conv__weight=torch.randn(8, 3, 3, 3, 4)), options=["--layout", "krsc"])
        target = self.folder / "there.pth"
        target.write_text("what was there")
        with self.assertRaisesRegex(OSError, "missing/out.pth cannot be written: No such file"):
            convert.save(state, str(self.folder / "missing" / "out.pth"))
        for error in (OSError(28, "No space left on device"), RuntimeError("enforce fail")):
            with mock.patch.object(torch, "save", side_effect=error), self.assertRaisesRegex(OSError, "there.pth cannot be"):
                convert.save(state, str(target))
            self.assertEqual(target.read_text(), "what was there")
        self.assertEqual([path.name for path in self.folder.glob("there*")], ["there.pth"])
        convert.save(state, str(target))
        self.assertEqual(list(torch.load(target, weights_only=True)["state_dict"]), list(state))


class Program(unittest.TestCase):
    def test_a_missing_program_is_a_sentence(self):
        with mock.patch.dict(os.environ, {"PATH": ""}), mock.patch.object(convert, "__file__", "/nowhere/convert.py"):
            os.environ.pop("TESSERA_CONVERT_CHECKPOINT", None)
            with self.assertRaisesRegex(FileNotFoundError, "convert_checkpoint"):
                convert.find_program()


if __name__ == "__main__":
    unittest.main()
