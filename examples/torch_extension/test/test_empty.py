# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Tensors without rows, layers without channels, lists without tensors."""

import unittest

import torch
from torch import nn

from support import SHAPE, tensor
from tessera_torch import SparseConvTensor, spconv, torchsparse
from tessera_torch.functional import sparse_add
from tessera_torch.modules import PrintTensorMeta, SparseGroupNorm
from tessera_torch.torchsparse import nn as spnn
from tessera_torch.torchsparse.nn import functional as F
from tessera_torch.torchsparse.utils.collate import sparse_collate


def no_rows() -> torch.Tensor:
    return torch.zeros(0, 4, dtype=torch.int32)


class NoRows(unittest.TestCase):
    def check(self, layer, x, width: int, rows: int = 0):
        """Of what a layer gives and of the gradient of what it took."""
        y = layer(x)
        y = y.features if isinstance(y, SparseConvTensor) else y.feats if isinstance(y, torchsparse.SparseTensor) else y
        self.assertEqual(list(y.shape), [rows, width])
        self.assertEqual(float(y.detach().abs().sum()), 0)
        y.sum().backward()

    def test_torchsparse_s_layers(self):
        back = nn.Sequential(spnn.Conv3d(4, 8, 2, stride=2), spnn.Conv3d(8, 5, 2, stride=2, transposed=True))
        for spatial_range, entries in ((None, 0), ((2, *SHAPE), 2)):
            for layer, width, rows in (
                (spnn.GlobalAvgPool(), 4, entries), (spnn.GlobalMaxPool(), 4, entries), (spnn.BatchNorm(4), 4, 0),
                (spnn.GroupNorm(2, 4), 4, 0), (spnn.InstanceNorm(4), 4, 0), (spnn.SiLU(), 4, 0), (spnn.Conv3d(4, 5, 3), 5, 0),
                (spnn.Conv3d(4, 5, 1), 5, 0), (back, 5, 0),
            ):  # fmt: skip
                with self.subTest(layer=type(layer).__name__, spatial_range=spatial_range):
                    feats = torch.zeros(0, 4, requires_grad=True)
                    self.check(layer, torchsparse.SparseTensor(feats, no_rows(), spatial_range=spatial_range), width, rows)

    def test_spconv_s_layers(self):
        for layer, width in ((spconv.SubMConv3d(4, 5, 3, bias=False), 5), (spconv.SubMConv3d(4, 5, 1, bias=False), 5),
                             (SparseGroupNorm(2, 4), 4), (spconv.SparseBatchNorm(4), 4), (PrintTensorMeta(), 4)):  # fmt: skip
            for net in (layer, spconv.SparseSequential(layer)):
                with self.subTest(layer=type(layer).__name__):
                    self.check(net, SparseConvTensor(torch.zeros(0, 4, requires_grad=True), no_rows(), SHAPE, 2), width)

    def test_points_and_voxels(self):
        none, ids = torch.zeros(0, 3, requires_grad=True), torch.zeros(0, dtype=torch.int32)
        nowhere = torch.full((5, 8), -1)
        for got, shape in (
            (F.spdevoxelize(none, nowhere, torch.zeros(5, 8)), [5, 3]),
            (F.spdevoxelize(torch.ones(4, 3, requires_grad=True), nowhere[:0], torch.zeros(0, 8)), [0, 3]),
            (F.spvoxelize(none, ids, torch.zeros(2, dtype=torch.int32)), [2, 3]),
            (F.spvoxelize(none, ids, ids), [0, 3]),
            (F.spvoxelize(torch.ones(2, 3, requires_grad=True), torch.tensor([-1, -1]), ids), [0, 3]),
        ):
            self.assertEqual(list(got.shape), shape)
            self.assertEqual(float(got.detach().abs().sum()), 0)
            got.sum().backward()
        self.assertEqual(list(F.sphash(no_rows(), torch.zeros(2, 3, dtype=torch.int32)).shape), [2, 0])
        self.assertEqual(list(F.sphash(torch.zeros(3, 4, dtype=torch.int32), no_rows()[:, :3]).shape), [0, 3])
        with self.assertRaisesRegex(IndexError, "of which there are none"):
            F.spdevoxelize(none, torch.zeros(1, 8, dtype=torch.int64), torch.ones(1, 8))


class Nothing(unittest.TestCase):
    def test_layers_without_channels_are_refused(self):
        for layer in (spconv.SubMConv3d, spconv.SparseConv2d, spconv.SparseConvTranspose3d, spconv.SparseInverseConv3d,
                      spnn.Conv3d):  # fmt: skip
            for size in (1, 3):
                for cin, cout in ((0, 4), (4, 0), (-1, 4)):
                    with self.assertRaisesRegex(ValueError, f"{cin} -> {cout} channels; both must be at least 1"):
                        layer(cin, cout, size)

    def test_lists_without_tensors_are_refused(self):
        for call in (sparse_add, lambda: spconv.JoinTable()([]), lambda: spconv.AddTable()([]), lambda: torchsparse.cat([]),
                     lambda: spconv.AddTableMisaligned()([]), lambda: sparse_collate([])):  # fmt: skip
            with self.assertRaisesRegex(ValueError, "there are no tensors"):
                call()


class Norms(unittest.TestCase):
    def test_a_container_gives_norms_of_single_scans_the_tensor(self):
        x = tensor()
        for norm in (SparseGroupNorm(2, 4), spnn.GroupNorm(2, 4), spnn.InstanceNorm(4)):
            with self.subTest(norm=type(norm).__name__):
                y = spconv.SparseSequential(norm)(x).features
                for entry in (0, 1):
                    rows = x.indices[:, 0] == entry
                    of_scan = nn.GroupNorm(2, 4) if isinstance(norm, nn.GroupNorm) else nn.InstanceNorm1d(4)
                    self.assertTrue(torch.allclose(y[rows], of_scan(x.features[rows].t()[None])[0].t(), atol=1e-5))


if __name__ == "__main__":
    unittest.main()
