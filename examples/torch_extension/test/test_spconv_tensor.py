# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""SparseConvTensor, containers, norms, tables."""

import unittest
from collections import OrderedDict

import torch
from torch import nn

from support import SHAPE, relative, tensor
from tessera_torch import SparseConvTensor, spconv
from tessera_torch.functional import sparse_add
from tessera_torch.modules import AddTableMisaligned, SparseGroupNorm


class Tensors(unittest.TestCase):
    def test_dense_and_back(self):
        x = tensor()
        dense = x.dense()
        self.assertEqual(list(dense.shape), [2, 4, *SHAPE])
        self.assertTrue(torch.equal(x.dense(channels_first=False), dense.permute(0, 2, 3, 4, 1)))
        back = SparseConvTensor.from_dense(dense.permute(0, 2, 3, 4, 1).contiguous())
        self.assertTrue(torch.equal(back.dense(), dense))
        labels = x.replace_feature(torch.ones(len(x.indices), 1, dtype=torch.int64))
        self.assertEqual(int(labels.dense().sum()), len(x.indices))

    def test_fields_and_arithmetic(self):
        x = tensor()
        self.assertEqual(x.spatial_size, 9 * 8 * 7)
        self.assertAlmostEqual(x.sparity, len(x.indices) / (9 * 8 * 7) / 2)
        self.assertTrue(torch.equal((x + x).features, 2 * x.features))
        self.assertTrue(torch.equal((x + x.features).features, 2 * x.features))
        self.assertTrue(torch.equal(x.minus().features, -x.features))
        self.assertEqual(len(x.select_by_index(x.indices[:, 0] == 1).indices), int((x.indices[:, 0] == 1).sum()))
        self.assertFalse(x.is_quantized)
        with self.assertRaisesRegex(ValueError, "replace_feature"):
            x.features = x.features
        self.assertIs(x.shadow_copy().indices, x.indices)

    def test_sums_by_coordinate(self):
        a, b = tensor(seed=1), tensor(seed=2)
        a._features.requires_grad_()
        total = sparse_add(a, b)
        self.assertLess(relative(total.dense(), a.dense() + b.dense()), 1e-6)
        total.features.sum().backward()
        self.assertTrue(bool((a.features.grad == 1).all()))
        self.assertEqual(len(AddTableMisaligned()([a, b]).indices), len(total.indices))
        with self.assertRaisesRegex(ValueError, "sparse_add: tensors of 4 and 3 channels"):
            sparse_add(a, tensor(channels=3, seed=2))

    def test_containers(self):
        x, conv = tensor(), spconv.SubMConv3d(4, 4, 3)
        net = spconv.SparseSequential(OrderedDict(conv=conv, relu=nn.ReLU()), last=spconv.SubMConv3d(4, 2, 1))
        self.assertEqual([name for name, _ in net.named_children()], ["conv", "relu", "last"])
        self.assertEqual(len(net), 3)
        self.assertIs(net[0], conv)
        self.assertIs(net[-3], conv)
        self.assertEqual(net(x).features.shape[1], 2)
        branches = spconv.ConcatTable().add(conv).add(spconv.Identity())
        self.assertTrue(torch.equal(spconv.AddTable()(branches(x)).features, conv(x).features + x.features))
        self.assertEqual(spconv.JoinTable()(branches(x)).features.shape[1], 8)
        with self.assertRaisesRegex(ValueError, "rows"):
            spconv.AddTable()([x, tensor(seed=2)])
        self.assertEqual(list(spconv.ToDense()(x).shape), [2, 4, *SHAPE])
        normed = SparseGroupNorm(2, 4)(x)
        self.assertLess(float(normed.features[x.indices[:, 0] == 0].mean().abs()), 1e-5)
        self.assertLess(relative(spconv.SparseBatchNorm(4)(x).features, nn.BatchNorm1d(4)(x.features)), 1e-6)

    def test_voxel_counts_timers_and_fused_ends(self):
        x, layer = tensor(), spconv.SparseConv3d(4, 4, 3, 2, 1, record_voxel_count=True)
        y = layer(x)
        self.assertEqual(int(layer.get_max_num_voxels()), len(y.indices))
        net = spconv.SparseSequential(spconv.SubMConv3d(4, 4, 3))
        spconv.assign_name_for_sparse_modules(net)
        timed = SparseConvTensor(x.features, x.indices, SHAPE, 2, enable_timer=True, benchmark=True)
        record = net(timed).benchmark_record["0"]
        self.assertEqual(record["num_points"], [len(x.indices)])
        self.assertIn("0", timed._timer.get_all_pair_time())
        fused = spconv.SparseConvolution(3, 4, 4, 3, subm=True, act_type="ReLU").eval()
        plain = spconv.SubMConv3d(4, 4, 3).eval()
        plain.load_state_dict(fused.state_dict())
        self.assertTrue(torch.equal(fused(x, add_input=x).features, torch.relu(plain(x).features + x.features)))
        with self.assertRaisesRegex(RuntimeError, "no gradient"):
            fused.train()(x)


if __name__ == "__main__":
    unittest.main()
