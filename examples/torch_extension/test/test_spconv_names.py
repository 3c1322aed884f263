# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""spconv's names beyond what was recorded: keys, checkpoints, containers, half precision, voxels, bad input."""

import copy
import json
import pickle
import subprocess
import sys
import unittest
from collections import OrderedDict
from unittest import mock

import numpy as np
import torch
from torch import nn

from support import cloud, read_safetensors, recorded, relative
from tessera_torch import SparseConvTensor, ops, spconv, weight_layout
from tessera_torch.functional import sparse_add
from tessera_torch.modules import AddTableMisaligned, SparseGroupNorm
from tessera_torch.voxels import Point2VoxelCPU3d, PointToVoxel, gather_features_by_pc_voxel_id

SHAPE = [9, 8, 7]


def tensor(channels=4, seed=1, rows=120, shape=SHAPE, batch_size=2, dtype=torch.float32) -> SparseConvTensor:
    coords = cloud(seed, rows, list(shape), batch_size)
    features = torch.randn(len(coords), channels, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return SparseConvTensor(features, coords, shape, batch_size)


class Maps(unittest.TestCase):
    def count(self, net, x) -> int:
        with mock.patch.object(ops, "kernel_map", wraps=ops.kernel_map) as kernel_map:
            net(x)
        return kernel_map.call_count

    def test_layers_of_one_geometry_share_a_map_with_a_key_and_without(self):
        keyed = spconv.SparseSequential(*(spconv.SubMConv3d(4, 4, 3, indice_key="a") for _ in range(3)))
        keyless = spconv.SparseSequential(*(spconv.SubMConv3d(4, 4, 3) for _ in range(3)))
        self.assertEqual(self.count(keyed, tensor()), 1)
        self.assertEqual(self.count(keyless, tensor()), 1)
        mixed = spconv.SparseSequential(spconv.SparseConv3d(4, 4, 3, 2, 1, indice_key="d"),
                                        spconv.SparseInverseConv3d(4, 4, 3, "d"), spconv.SubMConv3d(4, 4, 3))  # fmt: skip
        x = tensor()
        keyless(x)
        self.assertEqual(self.count(mixed, x), 1)  # the submanifold map is there already

    def test_coordinates_changed_in_place_get_another_map(self):
        net, x = spconv.SubMConv3d(4, 4, 3), tensor()
        net(x)
        x.indices[:, 1:] = x.indices[:, 1:].clone()
        self.assertEqual(self.count(net, x), 1)

    def test_branches_do_not_see_each_others_keys(self):
        x = tensor()
        one, two = (spconv.SparseConv3d(4, 4, 3, 2, 1, indice_key="d") for _ in range(2))
        y = one(x)
        self.assertEqual(list(two(x).indice_dict), ["d"])
        self.assertEqual(list(x.indice_dict), [])
        self.assertIs(y.find_indice_pair("d").indices, x.indices)

    def test_an_inverse_convolution_without_a_key_finds_the_layer_that_it_undoes(self):
        x, down = tensor(), spconv.SparseConv3d(4, 8, 3, 2, 1, indice_key="d")
        keyed, keyless = spconv.SparseInverseConv3d(8, 4, 3, "d"), spconv.SparseInverseConv3d(8, 4, 3)
        keyless.load_state_dict(keyed.state_dict())
        y = down(x)
        self.assertTrue(torch.equal(keyed(y).features, keyless(y).features))
        self.assertIs(keyless(y).indices, x.indices)

    def test_a_pool_can_be_undone(self):
        y = spconv.SparseMaxPool3d(2, indice_key="p")(tensor())
        self.assertEqual(spconv.SparseInverseConv3d(4, 4, 2, "p")(y).spatial_shape, SHAPE)

    def test_indice_data_has_spconvs_pairs(self):
        x = tensor()
        data = spconv.SparseConv3d(4, 4, 2, 2, indice_key="d")(x).find_indice_pair("d")
        pairs, counts = data.indice_pairs, data.indice_pair_num
        for k in range(8):
            n = int(counts[k])
            self.assertTrue(bool((pairs[:, k, n:] == -1).all()))
            self.assertTrue(torch.equal(data.pair_fwd[k, pairs[1, k, :n].long()], pairs[0, k, :n]))
            self.assertTrue(torch.equal(data.pair_bwd[k, pairs[0, k, :n].long()], pairs[1, k, :n]))

    def test_keys_that_do_not_fit_are_refused(self):
        x = tensor()
        y = spconv.SubMConv3d(4, 4, 3, indice_key="a")(x)
        z = spconv.SparseConv3d(4, 4, 3, 2, 1, indice_key="d")(y)
        for call, words in (
            (lambda: spconv.SubMConv3d(4, 4, 5, indice_key="a")(y), "same kernel size"),
            (lambda: spconv.SubMConv3d(4, 4, 3, dilation=2, indice_key="a")(y), "same dilation"),
            (lambda: spconv.SubMConv3d(4, 4, 3, indice_key="a")(z), "same grid"),
            (lambda: spconv.SubMConv3d(4, 4, 3, indice_key="d")(z), "other rows"),
            (lambda: spconv.SparseConv3d(4, 4, 3, 2, 1, indice_key="d")(z), "indice_key 'd'"),
            (lambda: spconv.SparseInverseConv3d(4, 4, 3, "no")(z), "no layer before"),
            (lambda: spconv.SparseInverseConv3d(4, 4, 3, "a")(y), "submanifold"),
            (lambda: spconv.SparseInverseConv3d(4, 4, 2, "d")(z), "kernel size"),
            (lambda: spconv.SparseInverseConv3d(4, 4, 3, "d")(z.select_by_index(slice(3))), "no layer before"),
            (lambda: spconv.SparseInverseConv3d(4, 4, 3)(x), "0 layers"),
        ):  # fmt: skip
            with self.assertRaises(ValueError) as raised:
                call()
            self.assertIn(words, str(raised.exception))


class Checkpoints(unittest.TestCase):
    def state(self, layer, weight):
        return {"weight": weight, "bias": layer.bias.detach()}

    def test_weights_of_every_layout_load(self):
        layer = spconv.SparseConv3d(4, 6, (3, 1, 2))
        weight = layer.weight.detach().clone()
        kernel = weight.flatten(1, -2).permute(1, 2, 0)
        for stored in (weight, weight.permute(1, 2, 3, 4, 0), weight.permute(1, 2, 3, 0, 4), kernel):
            other = spconv.SparseConv3d(4, 6, (3, 1, 2))
            other.load_state_dict(self.state(layer, stored.contiguous()))
            self.assertTrue(torch.equal(other.weight, weight))

    def test_a_kernel_of_one_voxel_keeps_its_memory(self):
        layer = spconv.SubMConv3d(4, 6, 1)
        kernel = torch.randn(4, 6)
        for stored in (kernel, kernel[None], kernel.view(1, 1, 1, 4, 6), kernel.view(6, 1, 1, 1, 4)):
            layer.load_state_dict(self.state(layer, stored))
            x = tensor()
            self.assertLess(relative(layer(x).features, x.features @ kernel + layer.bias), 1e-6)

    def test_a_layout_that_shapes_do_not_tell_is_asked_for(self):
        layer = spconv.SubMConv3d(5, 5, 3, bias=False)
        rsck = torch.randn(3, 3, 3, 5, 5)
        with self.assertRaisesRegex(RuntimeError, "weight_layout"):
            layer.load_state_dict({"weight": rsck})
        with weight_layout("rsck"):
            layer.load_state_dict({"weight": rsck})
        self.assertTrue(torch.equal(layer.weight, rsck.permute(4, 0, 1, 2, 3)))
        with weight_layout("rskc"):
            layer.load_state_dict({"weight": rsck})
        self.assertTrue(torch.equal(layer.weight, rsck.permute(3, 0, 1, 2, 4)))

    def test_state_dicts_are_marked_as_of_spconv_2(self):
        net = spconv.SparseSequential(spconv.SubMConv3d(4, 4, 3))
        self.assertEqual(net.state_dict()._metadata["0"]["version"], 2)

    def test_the_loading_hook_of_sparse_module_can_be_assigned(self):
        seen, original = [], spconv.SparseModule._load_from_state_dict
        try:
            spconv.SparseModule._load_from_state_dict = lambda self, state, prefix, *rest: seen.append(prefix)
            spconv.SparseSequential(spconv.SubMConv3d(4, 4, 3)).load_state_dict({}, strict=False)
        finally:
            spconv.SparseModule._load_from_state_dict = original
        self.assertEqual(seen, ["", "0."])

    def test_modules_are_copied_and_pickled(self):
        net = spconv.SparseSequential(spconv.SubMConv3d(4, 4, 3), nn.BatchNorm1d(4), spconv.SparseMaxPool3d(2)).eval()
        for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            self.assertTrue(torch.equal(other(tensor()).features, net(tensor()).features))


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


class Training(unittest.TestCase):
    def test_fifty_steps_of_a_small_network_have_the_losses_of_dense_layers(self):
        torch.manual_seed(3)
        x = tensor(rows=200, shape=[8, 8, 8])
        b, *zyx = x.indices.long().t()
        net = spconv.SparseSequential(
            spconv.SubMConv3d(4, 8, 3, bias=False, indice_key="s"), nn.ReLU(),
            spconv.SparseConv3d(8, 12, 2, 2, bias=False, indice_key="d"), nn.ReLU(),
            spconv.SparseInverseConv3d(12, 8, 2, "d", bias=False), nn.ReLU(), spconv.SubMConv3d(8, 3, 1))  # fmt: skip
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.mul_(2)
        krsc = [net[i].weight.detach().clone() for i in (0, 2, 4)]
        first, down, up = (w.requires_grad_() for w in (krsc[0].permute(0, 4, 1, 2, 3).contiguous(),
                                                        krsc[1].permute(0, 4, 1, 2, 3).contiguous(),
                                                        krsc[2].permute(4, 0, 1, 2, 3).contiguous()))  # fmt: skip
        last, bias = (p.detach().clone().requires_grad_() for p in (net[6].weight.view(8, 3), net[6].bias))
        dense, occupied = x.dense(), torch.zeros(2, 1, 8, 8, 8)
        occupied[(b, 0, *zyx)] = 1
        labels = x.features[:, :3].argmax(1)

        def reference() -> torch.Tensor:
            y = torch.relu(nn.functional.conv3d(dense, first, padding=1) * occupied)
            y = torch.relu(nn.functional.conv3d(y, down, stride=2))
            y = torch.relu(nn.functional.conv_transpose3d(y, up, stride=2))
            return y[(b, slice(None), *zyx)] @ last + bias

        steps = []
        for outputs, parameters in ((lambda: net(x).features, list(net.parameters())), (reference, [first, down, up, last, bias])):
            optimizer = torch.optim.SGD(parameters, lr=0.3, momentum=0.9)
            losses = []
            for _ in range(50):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(outputs(), labels)
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
            steps.append(losses)
        self.assertLess(steps[0][-1], 0.7 * steps[0][0])
        self.assertLess(max(abs(a - c) for a, c in zip(*steps)), 1e-4)

    def test_autocast_casts_in_training_and_in_inference_alike(self):
        for dtype in (torch.bfloat16, torch.float16):
            net = spconv.SparseSequential(spconv.SubMConv3d(4, 8, 3), nn.BatchNorm1d(8), nn.ReLU(),
                                          spconv.SparseConv3d(8, 8, 3, 2, 1, indice_key="d"), spconv.SubMConv3d(8, 8, 1),
                                          spconv.SparseInverseConv3d(8, 4, 3, "d"))  # fmt: skip
            want = net(tensor()).features
            for mode in (True, False):
                net.train(mode)
                with torch.autocast("cpu", dtype=dtype):
                    y = net(tensor())
                self.assertEqual(y.features.dtype, dtype)
                if mode:
                    self.assertLess(relative(y.features, want), 0.05)
                    y.features.float().square().mean().backward()
                    for parameter in net.parameters():
                        self.assertEqual(parameter.grad.dtype, torch.float32)
                        self.assertTrue(bool(parameter.grad.isfinite().all()))

    def test_half_precision_networks(self):
        for dtype in (torch.bfloat16, torch.float16):
            net = spconv.SparseSequential(spconv.SubMConv3d(4, 8, 3), spconv.SparseMaxPool3d(2))
            want = net(tensor()).features
            self.assertLess(relative(net.to(dtype)(tensor(dtype=torch.float32).replace_feature(
                tensor().features.to(dtype))).features, want), 0.05)  # fmt: skip

    def test_torch_compile_gives_the_same(self):
        net = spconv.SparseSequential(spconv.SubMConv3d(4, 8, 3), nn.ReLU(), spconv.SparseConv3d(8, 8, 3, 2, 1)).eval()
        compiled = torch.compile(net, backend="aot_eager")
        for seed in (1, 2):
            with torch.no_grad():
                self.assertTrue(torch.equal(compiled(tensor(seed=seed)).features, net(tensor(seed=seed)).features))


class Voxels(unittest.TestCase):
    def test_recorded_voxels_are_reproduced(self):
        tensors, metadata = read_safetensors(recorded("golden/spconv/voxelize.safetensors"))
        for name, text in metadata.items():
            case = json.loads(text)
            with self.subTest(case=name):
                columns = tensors[name + ".mean"].shape[1]
                points = torch.from_numpy(np.fromfile(recorded("data/" + case["points"]), np.float32).reshape(-1, columns))
                generator = PointToVoxel(case["voxel_size"], case["point_cloud_range"], columns, case["max_voxels"], case["max_points"])
                voxels, indices, counts, ids = generator.generate_voxel_with_id(points)
                self.assertTrue(torch.equal(indices, tensors[name + ".coords_zyx"].int()))
                self.assertTrue(torch.equal(counts, tensors[name + ".num_points"].int()))
                self.assertLess(relative(voxels.sum(1) / counts[:, None], tensors[name + ".mean"]), 1e-5)
                inside = ids >= 0
                full = torch.bincount(ids[inside], minlength=len(counts)).clamp(max=case["max_points"])
                self.assertTrue(torch.equal(full, counts.long()))

    def test_other_dimensions_follow_the_rule_of_three(self):
        points = torch.rand(300, 4, generator=torch.Generator().manual_seed(4)) * 6 - 1
        three = PointToVoxel([1, 1, 1], [0, 0, 0, 4, 4, 4], 4, 30, 3)
        for got, want in zip(three._by_sorting(points), three(points)):
            self.assertTrue(torch.equal(got, want))
        for dim in (1, 2, 4):
            voxels, indices, counts = PointToVoxel([1] * dim, [0] * dim + [4] * dim, 4, 30, 3)(points)
            self.assertEqual((voxels.shape[1:], indices.shape[1]), ((3, 4), dim))
            self.assertEqual(len(torch.unique(indices, dim=0)), len(indices))
            first = torch.floor(voxels[:, 0, :dim]).flip(1).int()
            self.assertTrue(torch.equal(first, indices))

    def test_empty_places_can_hold_the_mean(self):
        points = torch.rand(50, 3) * 4
        voxels, _, counts = PointToVoxel([2, 2, 2], [0, 0, 0, 4, 4, 4], 3, 8, 20)(points, empty_mean=True)
        for voxel, count in zip(voxels, counts.tolist()):
            if count < 20:
                self.assertLess(relative(voxel[count:], voxel[:count].mean(0).expand(20 - count, 3)), 1e-5)

    def test_the_generator_of_arrays_and_the_gathering_of_features(self):
        points = np.random.default_rng(0).uniform(0, 4, (50, 3)).astype(np.float32)
        voxels, indices, counts = Point2VoxelCPU3d([2, 2, 2], [0, 0, 0, 4, 4, 4], 3, 8, 20).point_to_voxel(points)
        self.assertEqual(voxels.numpy().shape[1:], (20, 3))
        features = gather_features_by_pc_voxel_id(torch.tensor([[1.0], [2.0]]), torch.tensor([1, -1, 0]), 7)
        self.assertEqual(features.view(-1).tolist(), [2, 7, 1])

    def test_points_that_do_not_fit_are_refused(self):
        generator = PointToVoxel([1, 1, 1], [0, 0, 0, 4, 4, 4], 3, 8, 2)
        for points, words in ((torch.zeros(5, 4), "not [n, 3]"), (torch.zeros(5, 3).double(), "float32"),
                              (torch.zeros(5, 3, requires_grad=True), "gradient")):  # fmt: skip
            with self.assertRaises(ValueError) as raised:
                generator(points)
            self.assertIn(words, str(raised.exception))
        self.assertEqual(len(generator(torch.zeros(0, 3))[0]), 0)


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
            ((f.numpy(), c, SHAPE, 1), "tensors"),
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
            (lambda: spconv.SubMConv3d(4, 4, 3)(twice), "unique"),
            (lambda: spconv.SparseConv3d(4, 4, 3)(outside), "outside"),
            (lambda: spconv.SparseConv3d(4, 4, 12)(x), "grid"),
            (lambda: spconv.SparseConv3d(4, 4, 3, groups=2), "groups"),
            (lambda: spconv.SparseConv3d(4, 4, [3, 3]), "axes"),
            (lambda: spconv.SparseConv3d(4, 4, -1), "kernel size"),
            (lambda: spconv.SparseConv3d(4, 4, 1, padding=1), "padding"),
        ):
            with self.assertRaises((ValueError, TypeError, RuntimeError)) as raised:
                call()
            self.assertIn(words, str(raised.exception))

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
