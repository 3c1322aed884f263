# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Input that does not fit, no rows at all, and the place of spconv."""

import subprocess
import sys
import unittest

import numpy as np
import torch
from torch import nn

from support import ON_CPU, SHAPE, tensor
from tessera_torch import SparseConvTensor, spconv
from tessera_torch.torchsparse import nn as spnn


class BadInput(unittest.TestCase):
    def test_tensors_that_do_not_fit_are_refused(self):
        f, c = torch.zeros(3, 4), torch.zeros(3, 4, dtype=torch.int32)
        for arguments, words in (
            ((f, c.long(), SHAPE, 1), "int32"),
            ((f, c, SHAPE[:2], 1), "columns"),
            ((f[0], c, SHAPE, 1), "dimensions"),
            ((f[:2], c, SHAPE, 1), "rows"),
            ((f, c.to("meta"), SHAPE, 1), "meta"),
            ((f, c, SHAPE, 0), "batch"),
            ((f, c, SHAPE, None), "a batch of None, which is not a whole number"),
            ((f, c, SHAPE, 1.5), "a batch of 1.5, which is not a whole number"),
            ((f, c, [9.5, 8, 7], 1), "neither a whole number nor one for each of 3 axes"),
            ((f, c, 9, 1), "the spatial shape 9 is not a list"),
            ((f, c, "abc", 1), "neither a whole number nor one for each of 3 axes"),
            ((f.cpu().numpy(), c, SHAPE, 1), "tensors"),
        ):
            with self.assertRaises((ValueError, TypeError)) as raised:
                SparseConvTensor(*arguments)
            self.assertIn(words, str(raised.exception))

    def test_layers_refuse_what_they_cannot_do(self):
        x = tensor()
        twice = SparseConvTensor(torch.zeros(2, 4), torch.zeros(2, 4, dtype=torch.int32), SHAPE, 1)
        outside = SparseConvTensor(torch.zeros(1, 4), torch.tensor([[0, 9, 0, 0]], dtype=torch.int32), SHAPE, 1)
        for call, words in (
            (lambda: spconv.SubMConv3d(5, 4, 3)(x), "channels"),
            (lambda: spconv.SubMConv3d(4, 4, 3)(x.features), "SparseConvTensor"),
            (lambda: spconv.SubMConv3d(4, 4, 3)(x.replace_feature(x.features.double())), "float"),
            *([(lambda: spconv.SubMConv3d(4, 4, 3)(twice), "unique")] if ON_CPU else []),  # see ops.check_coordinates()
            (lambda: spconv.SubMConv3d(4, 4, 1)(x.replace_feature(x.features[:5])), "features of shape [5, 4] on 111 rows"),
            (lambda: spconv.SubMConv3d(4, 4, 1)(x.replace_feature(x.features[:, 0])), "features of shape [111] on"),
            (lambda: spconv.SparseConv3d(4, 4, 3, 2)(x.replace_feature(x.features[:5])), "features of shape [5, 4] on"),
            (lambda: spconv.SparseMaxPool3d(2)(x.replace_feature(x.features[:5])), "features of shape [5, 4] on"),
            (lambda: spconv.SubMConv2d(4, 4, 1)(x), "a tensor of 3 axes for a layer of 2"),
            (lambda: spconv.SparseMaxPool2d(2)(x), "a tensor of 3 axes for a layer of 2"),
            (lambda: spconv.SparseConv3d(4, 4, 3)(outside), "outside"),
            (lambda: spconv.SparseConv3d(4, 4, 12)(x), "grid"),
            (lambda: spconv.SparseConv3d(4, 4, 3, groups=2), "groups"),
            (lambda: spconv.SparseConv3d(4, 4, [3, 3]), "axes"),
            (lambda: spconv.SparseConv3d(4, 4, 2.5), "2.5 is neither a whole number nor one for each of 3 axes"),
            (lambda: spconv.SparseMaxPool3d("3"), "'3' is neither"),
            (lambda: spconv.SubMConv3d(4, 4, 3)(x.replace_feature(x.features.to_sparse())), "it must be dense"),
            (lambda: spconv.SparseConv3d(4, 4, -1), "kernel size"),
            (lambda: spconv.SparseConv3d(4, 4, 1, padding=1), "padding"),
        ):
            with self.assertRaises((ValueError, TypeError, RuntimeError)) as raised:
                call()
            self.assertIn(words, str(raised.exception))

    def test_features_may_be_replaced_before_indices(self):
        x, more = tensor(), tensor(seed=2)
        y = x.replace_feature(torch.cat([x.features, more.features]))  # as VoxelNeXt merges scales
        y.indices = torch.cat([x.indices, more.indices + torch.tensor([2, 0, 0, 0], dtype=torch.int32)])
        self.assertEqual(len(spconv.SubMConv3d(4, 4, 1)(y).features), len(x.indices) + len(more.indices))

    def test_whole_numbers_of_every_kind_are_sizes(self):
        triple = (3, 3, 3)
        for size in (3, 3.0, np.int64(3), torch.tensor(3), np.array(triple), torch.tensor(triple), triple, torch.Size(triple)):
            self.assertEqual(spconv.SubMConv3d(4, 4, size).kernel_size, [3, 3, 3])
            self.assertEqual(spnn.Conv3d(4, 4, size).kernel_size, (3, 3, 3))
        x = tensor()
        y = SparseConvTensor(x.features, x.indices, np.array(SHAPE), np.int32(2))
        self.assertEqual((y.spatial_shape, y.batch_size), (SHAPE, 2))

    def test_columns_in_another_order_are_legal(self):
        x, net = tensor(), spconv.SubMConv3d(4, 4, 3)
        strided = torch.empty(x.indices.shape[1], len(x.indices), dtype=torch.int32).t().copy_(x.indices)
        features = torch.empty(4, len(x.indices)).t().copy_(x.features)
        y = net(SparseConvTensor(features, strided, SHAPE, 2))
        self.assertTrue(torch.equal(y.features, net(x).features))

    def test_no_rows_pass_through_every_layer(self):
        net = spconv.SparseSequential(
            spconv.SubMConv3d(4, 8, 3), nn.BatchNorm1d(8), nn.ReLU(), spconv.SparseConv3d(8, 8, 3, 2, 1, indice_key="d"),
            spconv.SparseMaxPool3d(2, indice_key="p"), spconv.SparseInverseConv3d(8, 8, 2, "p"),
            spconv.SparseInverseConv3d(8, 4, 3, "d"), spconv.SubMConv3d(4, 4, 1), spconv.SparseConvTranspose3d(4, 4, 2, 2))  # fmt: skip
        features = torch.zeros(0, 4, requires_grad=True)
        y = net(SparseConvTensor(features, torch.zeros(0, 4, dtype=torch.int32), SHAPE, 1))
        self.assertEqual(list(y.features.shape), [0, 4])
        self.assertEqual(int(net[1].num_batches_tracked), 0)  # norms do not see it
        y.features.sum().backward()
        self.assertEqual(float(y.dense().abs().sum()), 0)
        self.assertEqual(spconv.SparseGlobalAvgPool()(y).tolist(), [[0, 0, 0, 0]])


class AsSpconv(unittest.TestCase):
    def run_python(self, program: str) -> str:
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_programs_that_import_spconv_get_this_package(self):
        self.run_python("""
import tessera_torch
tessera_torch.as_spconv()
tessera_torch.as_spconv()
import spconv, spconv.pytorch as sp
from spconv.core import ConvAlgo
from spconv.pytorch import functional, ops
from spconv.pytorch.core import SparseConvTensor, expand_nd
from spconv.pytorch.conv import SparseConvolution, SubMConv3d
from spconv.pytorch.modules import SparseModule, is_spconv_module
from spconv.pytorch.utils import PointToVoxel
from spconv.utils import Point2VoxelCPU3d
import cumm.tensorview as tv
assert spconv.__version__ >= "2.0.0" and sp.SubMConv3d is SubMConv3d is tessera_torch.spconv.SubMConv3d
assert ops.get_conv_output_size([41], [3], [2], [1], [1]) == [21]
import importlib.util
assert importlib.util.find_spec("spconv") is not None
try:
    import spconv.pytorch.quantization
except ModuleNotFoundError:
    pass
else:
    raise AssertionError
""")

    def test_mmdetection3d_s_registry_needs_no_import_of_its_own_and_no_mmengine_before(self):
        self.run_python("""
import sys, types
import tessera_torch
assert not {"mmengine", "mmdet3d", "tessera_torch.mmdet3d"} & set(sys.modules)
class MODELS:
    layers = {}
    def register_module(name, force, module):
        MODELS.layers[name] = module
sys.modules.update({"mmengine": types.ModuleType("mmengine"), "mmcv": None})
sys.modules["mmengine.registry"] = types.SimpleNamespace(MODELS=MODELS)
assert tessera_torch.mmdet3d.register() == ["mmengine.MODELS"]
assert MODELS.layers["SubMConv3d"] is tessera_torch.spconv.SubMConv3d
assert callable(tessera_torch.convert.main)
assert not hasattr(tessera_torch, "mmdet4d")
""")

    def test_a_spconv_that_is_imported_already_is_not_replaced(self):
        out = self.run_python("""
import sys, types
sys.modules["spconv"] = types.ModuleType("spconv")
import tessera_torch
try:
    tessera_torch.as_spconv()
except ImportError as error:
    print(error)
""")
        self.assertIn("already imported", out)


if __name__ == "__main__":
    unittest.main()
