# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""spconv's and TorchSparse's own test programs on this package.

They are run from checkouts that TESSERA_PEERS names: a folder with the repositories `spconv` and `torchsparse`. On the
CPU their device is changed; nothing else of them is.
"""

import importlib.util
import os
import pathlib
import sys
import types
import unittest

import tessera_torch
from support import ON_CPU


def checkout(name: str) -> pathlib.Path:
    folder = os.environ.get("TESSERA_PEERS")
    if not folder:
        raise unittest.SkipTest("TESSERA_PEERS does not name a folder with checkouts of spconv and torchsparse")
    path = pathlib.Path(folder) / name
    if not path.is_dir():
        raise unittest.SkipTest(f"there is no {name} below {folder}")
    return path


def load(path: pathlib.Path, name: str) -> types.ModuleType:
    """The file as module `name`, on the device of the tests."""
    source = path.read_text()
    if ON_CPU:
        source = source.replace("cuda:0", "cpu").replace("cpu:0", "cpu")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    exec(compile(source, str(path), "exec"), module.__dict__)
    return module


class Spconv(unittest.TestCase):
    """Convolution, transposed convolution, maximum pool and global maximum against dense layers."""

    @classmethod
    def setUpClass(cls):
        root = checkout("spconv")
        tessera_torch.as_spconv()
        load(root / "spconv" / "test_utils.py", "spconv.test_utils")
        cls.program = load(root / "test" / "test_conv.py", "spconv_test_conv")

    @classmethod
    def tearDownClass(cls):
        sys.modules.pop("spconv.test_utils", None)

    def test_convolutions_equal_dense_ones_with_their_gradients(self):
        self.program.test_spconv3d()

    def test_transposed_convolutions_equal_dense_ones_with_their_gradients(self):
        self.program.test_spdeconv3d()

    def test_maximum_pools_equal_dense_ones_with_their_gradients(self):
        self.program.test_spmaxpool3d()

    def test_global_maximum_pools_equal_dense_ones_with_their_gradients(self):
        self.program.test_spglobalmaxpool3d()


class TorchSparse(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        root = checkout("torchsparse") / "tests"
        tessera_torch.as_torchsparse()
        package = types.ModuleType("python")
        package.__path__ = [str(root / "python")]
        sys.modules["python"] = package
        for name in ("test_utils", "test_single_layer_conv", "test_to_dense"):
            module = load(root / "python" / f"{name}.py", f"python.{name}")
            package.__dict__.update({k: v for k, v in vars(module).items() if k.startswith("test_")})
        cls.program = load(root / "test.py", "torchsparse_test")

    @classmethod
    def tearDownClass(cls):
        tessera_torch.torchsparse.nn.functional.conv_config.clear_global_conv_config()
        for name in [name for name in sys.modules if name.split(".")[0] == "python"]:
            del sys.modules[name]

    def test_their_suite_passes(self):
        suite = unittest.defaultTestLoader.loadTestsFromModule(self.program)
        self.assertGreater(suite.countTestCases(), 0)
        result = unittest.TestResult()
        suite.run(result)
        self.assertEqual([text for _, text in result.failures + result.errors], [])


if __name__ == "__main__":
    unittest.main()
