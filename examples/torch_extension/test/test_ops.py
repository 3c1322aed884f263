# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""The operators against dense definitions, PyTorch's own checks, recorded layers, and bad input."""

import gc
import unittest
import weakref

import torch

import definitions
from definitions import scene
from support import ON_CPU, ROUNDING, WIDE, random, uniform
from tessera_torch import ops


def make_map(kind="submanifold", dim=3, extent=6, share=0.3, seed=0, **geometry):
    """(coordinates, map, shape, batch size) of a layer on a scene of two batch entries."""
    coordinates = scene(dim, extent, 2, share, seed)
    geometry.setdefault("kernel_size", 3)
    shape = (extent,) * dim
    return coordinates, ops.kernel_map(coordinates, kind, shape=shape, batch_size=2, **geometry), shape


def draw(*shape, dtype=WIDE, seed=1, grad=True):
    return random(*shape, seed=seed, dtype=dtype).requires_grad_(grad)


GEOMETRIES = [
    # kind, dim, size, stride, padding, dilation
    ("submanifold", 1, [3], [1], [1], [1]),
    ("submanifold", 2, [3, 5], [1, 1], [1, 2], [1, 1]),
    ("submanifold", 3, [3, 1, 3], [1, 1, 1], [2, 0, 1], [2, 1, 1]),
    ("submanifold", 4, [3, 1, 3, 1], [1] * 4, [1, 0, 1, 0], [1] * 4),
    ("strided", 1, [2], [2], [0], [1]),
    ("strided", 2, [3, 2], [2, 3], [1, 0], [1, 2]),
    ("strided", 3, [3, 3, 2], [2, 1, 2], [1, 0, 0], [1, 2, 1]),
    ("strided", 4, [2, 2, 2, 2], [2, 2, 2, 1], [0] * 4, [1] * 4),
    ("expanding", 1, [4], [2], [1], [1]),
    ("expanding", 2, [3, 2], [2, 2], [1, 0], [1, 1]),
    ("expanding", 3, [3, 2, 3], [2, 1, 2], [1, 0, 1], [1, 1, 1]),
    ("expanding", 4, [2, 2, 1, 1], [2, 1, 1, 1], [0] * 4, [1] * 4),
]


class KernelMaps(unittest.TestCase):
    def test_maps_of_every_kind_and_number_of_axes_are_those_of_their_definition(self):
        for seed, (kind, dim, size, stride, padding, dilation) in enumerate(GEOMETRIES):
            with self.subTest(kind=kind, dim=dim, seed=seed):
                extent = 6 if dim < 4 else 4
                coordinates = scene(dim, extent, 2, 0.3, seed)
                shape = [extent] * dim
                made = ops.kernel_map(
                    coordinates, kind, size, stride, padding, dilation, shape=shape, batch_size=2
                )
                rule = definitions.expanding if kind == "expanding" else definitions.strided
                expected = definitions.entries(coordinates, made.coordinates, size, rule(stride, padding, dilation))
                self.assertTrue(torch.equal(made.out_in, expected))
                self.assertEqual(made.num_in, len(coordinates))
                if kind == "submanifold":
                    self.assertIs(made.coordinates, coordinates)
                else:  # all outputs inside the grid that something reaches, once, in order
                    everything = scene(dim, max(made.shape), 2, 1.0, 0)
                    inside = (everything[:, 1:] < torch.tensor(made.shape)).all(1)
                    everything = everything[inside]
                    all_entries = definitions.entries(coordinates, everything, size, rule(stride, padding, dilation))
                    reached = sorted(everything[(all_entries >= 0).any(1)].tolist())
                    self.assertEqual(made.coordinates.tolist(), reached)

    def test_a_generative_map_pairs_centred_offsets(self):
        coordinates, made, _ = make_map("generative", dim=2, kernel_size=[3, 2], stride=2)
        rows = {tuple(c): i for i, c in enumerate(coordinates.tolist())}
        for o, (batch, *out) in enumerate(made.coordinates.tolist()):
            for k, digits in enumerate(definitions.offsets((3, 2))):
                scaled = [v - s // 2 + d for v, d, s in zip(out, digits, (3, 2))]
                place = [v // 2 for v in scaled] if all(v % 2 == 0 for v in scaled) else None
                row = rows.get((batch, *place), -1) if place else -1
                self.assertEqual(made.out_in[o, k].item(), row)
        self.assertEqual(made.shape, (12, 12))

    def test_a_transposed_map_swaps_the_pairs(self):
        for kind in ("submanifold", "strided"):
            _, made, _ = make_map(kind, stride=2 if kind == "strided" else 1)
            back = made.transposed()
            expected = torch.full_like(back.out_in, -1)
            for o, row in enumerate(made.out_in.tolist()):
                for k, i in enumerate(row):
                    if i >= 0:
                        expected[i, k] = o
            self.assertTrue(torch.equal(back.out_in, expected))
            again = back.transposed()
            self.assertIs(again.out_in, made.out_in)
            self.assertIs(again.coordinates, made.coordinates)
            self.assertEqual(again.shape, made.shape)
            self.assertIs(made.transposed().out_in, back.out_in)  # made once

    def test_a_map_s_memory_goes_with_it_without_a_garbage_collection(self):
        gc.disable()
        try:
            _, made, _ = make_map("strided", stride=2)
            made.transposed().transposed()
            kept = [weakref.ref(made), weakref.ref(made._derived)]
            del made
            self.assertEqual([ref() for ref in kept], [None, None])
        finally:
            gc.enable()

    def test_a_map_between_two_sets_has_the_pairs_of_a_strided_one(self):
        coordinates = scene(3, 6, 2, 0.3, 5)
        coarse = scene(3, 3, 2, 0.8, 6)
        for kmap, padding in (("hashmap_on_the_fly", [0, 1, 0]), ("hashmap", [1, 1, 1])):
            made = ops.pair_map(coordinates, coarse, 3, 2, [0, 1, 0], kmap=kmap)
            rule = definitions.strided([2] * 3, padding, [1] * 3)
            self.assertTrue(torch.equal(made.out_in, definitions.entries(coordinates, coarse, [3] * 3, rule)))

    def test_the_rules_of_torchsparse_and_of_minkowski_are_followed(self):
        coordinates = scene(2, 7, 1, 0.4, 3)
        floors = ops.kernel_map(coordinates, "strided", 3, 2, kmap="hashmap", downsample="minkowski")
        expected = sorted({(0, a // 2, b // 2) for _, a, b in coordinates.tolist()})
        self.assertEqual(floors.coordinates.tolist(), [list(c) for c in expected])
        even = ops.kernel_map(coordinates, "submanifold", [2, 3], rules="torchsparse")
        rule = definitions.strided([1, 1], [0, 0], [1, 1])  # no axis is centred where the volume is even
        self.assertTrue(torch.equal(even.out_in, definitions.entries(coordinates, coordinates, [2, 3], rule)))

    def test_the_centre_and_the_symmetry_of_a_map_are_what_its_entries_say(self):
        coordinates = scene(3, 5, 1, 0.9, 2)
        cases = [(kind, size, dilation, padding, rules, kmap) for kind in ("submanifold", "strided", "expanding")
                 for size in (1, 2, 3) for dilation in (1, 2) for padding in (0, 1)
                 for rules in ops.RULES for kmap in ("hashmap_on_the_fly", "hashmap")]  # fmt: skip
        for kind, size, dilation, padding, rules, kmap in cases:
            with self.subTest(kind=kind, size=size, dilation=dilation, padding=padding, rules=rules, kmap=kmap):
                made = ops.kernel_map(
                    coordinates, kind, size, 1, padding, dilation, shape=(5, 5, 5), batch_size=1, rules=rules, kmap=kmap
                )
                rows = torch.arange(len(coordinates), dtype=torch.int32)
                same = made.coordinates.shape == coordinates.shape and torch.equal(made.coordinates, coordinates)
                centres = [k for k in range(made.volume) if same and torch.equal(made.out_in[:, k], rows)]
                self.assertEqual([made.centre] if made.centre >= 0 else [], centres)
                if made.symmetric:
                    self.assertTrue(torch.equal(made.transposed().out_in, made.out_in.flip(1)))

    def test_output_shapes_are_those_of_the_kernel_maps(self):
        coordinates = scene(2, 4, 1, 1.0, 0)
        self.assertEqual(ops.output_shape("strided", (7, 8), 3, 2, 1), (4, 4))
        self.assertEqual(ops.output_shape("strided", (7, 8), 3, 2, downsample="minkowski"), (4, 4))
        self.assertEqual(ops.output_shape("expanding", (4, 4), 3, 2, 1, 2), (9, 9))
        self.assertEqual(ops.output_shape("expanding", (4, 4), 3, 2, 1, 2, rules="spconv"), (7, 7))
        self.assertEqual(ops.output_shape("generative", (4, 4), 3, 2), (8, 8))
        for kind, rules in (("strided", "tessera"), ("expanding", "tessera"), ("expanding", "spconv"),
                            ("generative", "tessera"), ("generative", "torchsparse")):  # fmt: skip
            made = ops.kernel_map(coordinates, kind, 2, 2, shape=(4, 4), batch_size=1, rules=rules)
            reached = made.coordinates[:, 1:].max(0).values + 1
            self.assertEqual(tuple(reached.tolist()), made.shape)


class Convolutions(unittest.TestCase):
    def compare(self, made, features, weight, bias, expected, **how):
        y = ops.convolution(features, weight, bias, made, **how)
        self.assertEqual(y.shape, expected.shape)
        inputs = [x for x in (features, weight, bias) if x is not None]
        grad = random(*y.shape, seed=9, dtype=y.dtype)
        got = torch.autograd.grad(y, inputs, grad)
        want = torch.autograd.grad(expected, inputs, grad)
        for a, b in [(y, expected), *zip(got, want)]:
            self.assertTrue(torch.allclose(a, b, rtol=ROUNDING, atol=ROUNDING), (a - b).abs().max())

    def test_every_kind_agrees_with_dense_convolutions_and_their_gradients(self):
        for seed, (kind, dim, size, stride, padding, dilation) in enumerate(GEOMETRIES):
            with self.subTest(kind=kind, dim=dim, seed=seed):
                extent = 6 if dim < 4 else 4
                coordinates, made, shape = make_map(
                    kind, dim, extent, seed=seed, kernel_size=size, stride=stride, padding=padding, dilation=dilation
                )
                features, weight = draw(len(coordinates), 5), draw(made.volume, 5, 4, seed=2)
                bias = draw(4, seed=3) if seed % 2 else None
                if dim < 4:
                    expected = definitions.dense_convolution(
                        features, coordinates, weight, bias, made.coordinates, (size, stride, padding, dilation),
                        shape, 2, kind == "expanding",
                    )  # fmt: skip
                else:
                    expected = definitions.convolution(features, weight, bias, made.out_in)
                self.compare(made, features, weight, bias, expected)

    def test_inverse_convolutions_and_their_gradients(self):
        coordinates, made, shape = make_map("strided", stride=2, padding=1, seed=4)
        back = made.transposed(coordinates, shape)
        features, weight, bias = draw(made.num_out, 3), draw(27, 3, 6, seed=2), draw(6, seed=3)
        self.compare(back, features, weight, bias, definitions.convolution(features, weight, bias, back.out_in))
        self.assertIs(back.coordinates, coordinates)

    def test_every_dataflow_and_conv_mode_computes_the_same(self):
        flows = [ops.Dataflow.of_conv_mode(mode) for mode in (0, 1, 2)]
        flows += [ops.Dataflow("gather_scatter"), ops.Dataflow("fetch_on_demand")]
        coordinates, made, _ = make_map("strided", stride=2, seed=5)
        features, weight, bias = draw(len(coordinates), 3), draw(27, 3, 4, seed=2), draw(4, seed=3)
        for flow in flows:
            expected = definitions.convolution(features, weight, bias, made.out_in)
            self.compare(made, features, weight, bias, expected, dataflow=flow)

    def test_weights_are_read_in_any_strides(self):
        coordinates, made, _ = make_map(seed=6)
        features = draw(len(coordinates), 3, dtype=torch.float32)
        krsc = draw(4, 3, 3, 3, 3, dtype=torch.float32, seed=2)
        view = krsc.flatten(1, -2).permute(1, 2, 0)
        self.assertFalse(view.is_contiguous())
        a, b = ops.convolution(features, view, None, made), ops.convolution(features, view.contiguous(), None, made)
        self.assertTrue(torch.equal(a, b))
        grads = [torch.autograd.grad(y.square().sum(), [features, krsc]) for y in (a, b)]
        for one, other in zip(*grads):
            self.assertTrue(torch.equal(one, other))

    def test_the_gradient_of_a_weight_has_its_strides(self):
        coordinates, made, _ = make_map()
        x, dy = draw(len(coordinates), 4, grad=False), draw(len(coordinates), 5, seed=3, grad=False)
        plain = draw(27, 4, 5, seed=2, grad=False)
        views = [plain, plain.permute(2, 0, 1).contiguous().permute(1, 2, 0), plain.transpose(0, 1).contiguous().transpose(0, 1)]
        gaps = torch.zeros(27, 4, 10, dtype=plain.dtype)[..., ::2]
        gradients = [
            torch.ops.tessera.convolution_backward(
                dy, x, weight, made.out_in, None, [3, 3, 3], 13, True, [], [], *ops.Dataflow(), [False, True, False]
            )[1]
            for weight in (*views, gaps)
        ]
        for gradient, weight in zip(gradients, (*views, plain)):
            self.assertEqual(gradient.stride(), weight.stride())
            self.assertTrue(torch.equal(gradient, gradients[0]))

    def test_a_parameter_takes_its_gradient_without_a_copy(self):
        coordinates, made, _ = make_map()
        x, parameter = draw(len(coordinates), 4, grad=False), draw(5, 3, 3, 3, 4)
        seen = []
        view = parameter.flatten(1, -2).permute(1, 2, 0)
        view.register_hook(lambda grad: seen.append(grad.data_ptr()))
        ops.convolution(x, view, None, made).sum().backward()
        self.assertEqual(parameter.grad.stride(), parameter.stride())
        self.assertEqual([parameter.grad.data_ptr()], seen)

    def test_a_map_keeps_its_pairs(self):
        _, made, _ = make_map("strided", stride=2)
        inputs, outputs, begins = torch.ops.tessera.pair_list(made.out_in, made.num_in)
        for k in range(made.volume):
            (rows,) = torch.nonzero(made.out_in[:, k] >= 0, as_tuple=True)
            begin, end = begins[k], begins[k + 1]
            self.assertEqual(outputs[begin:end].tolist(), rows.tolist())
            self.assertEqual(inputs[begin:end].tolist(), made.out_in[rows, k].tolist())
        half = draw(2, 2, dtype=torch.float16, grad=False)
        self.assertEqual(made.pairs(half.float()), [])
        self.assertEqual(len(made.pairs(half)), 0 if ON_CPU else 3)
        for one, other in zip(made.pairs(half), made.transposed().transposed().pairs(half)):
            self.assertIs(one, other)

    def test_halfs_round_once(self):
        coordinates, made, _ = make_map(seed=7)
        for dtype, unit in ((torch.float16, 2.0**-11), (torch.bfloat16, 2.0**-8)):
            features, weight = draw(len(coordinates), 6, dtype=dtype), draw(27, 6, 5, dtype=dtype, seed=2)
            bias = draw(5, dtype=dtype, seed=3)
            y = ops.convolution(features, weight, bias, made)
            self.assertEqual(y.dtype, dtype)
            wide = [x.detach().double().requires_grad_() for x in (features, weight, bias)]
            expected = definitions.convolution(*wide, made.out_in)
            grad = draw(*y.shape, dtype=dtype, seed=4, grad=False)
            got = torch.autograd.grad(y, [features, weight, bias], grad)
            want = torch.autograd.grad(expected, wide, grad.double())
            for a, b in [(y, expected), *zip(got, want)]:
                self.assertEqual(a.dtype, dtype)
                self.assertLess(((a.double() - b).abs() / (b.abs() + 1)).max().item(), 1.05 * unit)

    def test_a_convolution_of_no_rows_has_no_rows_and_zero_gradients(self):
        coordinates = torch.empty((0, 4), dtype=torch.int32)
        for kind, stride in (("submanifold", 1), ("strided", 2)):
            made = ops.kernel_map(coordinates, kind, 3, stride, shape=(4, 4, 4), batch_size=1)
            features, weight, bias = draw(0, 3), draw(27, 3, 2), draw(2)
            y = ops.convolution(features, weight, bias, made)
            self.assertEqual(y.shape, (0, 2))
            y.sum().backward()
            self.assertEqual(features.grad.shape, (0, 3))
            self.assertEqual(weight.grad.abs().max().item(), 0)
            self.assertEqual(bias.grad.abs().max().item(), 0)

    def test_only_the_gradients_that_are_wanted_are_computed(self):
        coordinates, made, _ = make_map()
        x, w, b = draw(len(coordinates), 2), draw(27, 2, 3), draw(3)
        y = torch.ones(len(coordinates), 3, dtype=WIDE)
        for wanted in ([True, False, False], [False, True, False], [False, False, True]):
            grads = torch.ops.tessera.convolution_backward(
                y, x, w, made.out_in, None, [3, 3, 3], made.centre, True, [], [], *ops.Dataflow(), wanted
            )
            self.assertEqual([g.numel() > 0 for g in grads], wanted)

    def test_results_own_their_memory_and_can_be_changed_in_place(self):
        coordinates, made, _ = make_map()
        x, w = draw(len(coordinates), 2), draw(27, 2, 3)
        y = ops.convolution(x, w, None, made)
        self.assertFalse(y._is_view())
        torch.relu_(y).sum().backward()
        self.assertGreater(x.grad.abs().max().item(), 0)
        pooled = ops.pool(x, made, "max")
        self.assertFalse(pooled._is_view())
        torch.relu_(pooled)


class Pools(unittest.TestCase):
    def expected(self, features, out_in, mode, from_zero):
        rows = features[out_in.clamp(min=0).long()]  # [out, volume, channels]
        there = (out_in >= 0).unsqueeze(-1)
        if mode == "max":
            result = rows.masked_fill(~there, float("-inf")).amax(1)
            return result.clamp(min=0) if from_zero else result
        total = (rows * there).sum(1)
        return total / there.sum(1) if mode == "average" else total

    def test_pools_and_their_gradients(self):
        for dtype in (WIDE, torch.float32):
            coordinates, made, _ = make_map("strided", stride=2, padding=1, share=0.5, seed=8)
            for mode, from_zero in (("max", False), ("max", True), ("average", False), ("sum", False)):
                with self.subTest(mode=mode, from_zero=from_zero, dtype=dtype):
                    features = draw(len(coordinates), 5, dtype=dtype)
                    y = ops.pool(features, made, mode, from_zero)
                    expected = self.expected(features, made.out_in, mode, from_zero)
                    grad = draw(*y.shape, dtype=dtype, seed=2, grad=False)
                    (got,) = torch.autograd.grad(y, features, grad)
                    (want,) = torch.autograd.grad(expected, features, grad)
                    self.assertTrue(torch.allclose(y, expected, rtol=1e-5, atol=1e-6), mode)
                    self.assertTrue(torch.allclose(got, want, rtol=1e-5, atol=1e-6), mode)

    def test_the_first_of_equal_rows_gets_the_gradient_of_a_maximum(self):
        coordinates = torch.tensor([[0, 1], [0, 0]], dtype=torch.int32)
        made = ops.kernel_map(coordinates, "strided", 2, 2)
        features = torch.ones((2, 1), requires_grad=True)
        ops.pool(features, made, "max").sum().backward()
        self.assertEqual(features.grad.tolist(), [[0.0], [1.0]])  # the first offset's

    def test_global_pools_and_their_gradients(self):
        coordinates = scene(3, 4, 3, 0.4, 9)
        coordinates = coordinates[coordinates[:, 0] != 1].contiguous()  # an entry without rows
        for mode in ("max", "average"):
            features = draw(len(coordinates), 4)
            y = ops.global_pool(features, coordinates, 3, mode)
            rows = [features[coordinates[:, 0] == b] for b in (0, 2)]
            some = [r.amax(0) if mode == "max" else r.mean(0) for r in rows]
            expected = torch.stack([some[0], torch.zeros(4, dtype=WIDE), some[1]])
            grad = draw(3, 4, seed=2, grad=False)
            self.assertTrue(torch.allclose(y, expected))
            self.assertTrue(
                torch.allclose(*(torch.autograd.grad(v, features, grad)[0] for v in (y, expected)))
            )


class DenseTensors(unittest.TestCase):
    def test_dense_and_sparse_undo_each_other_with_gradients(self):
        for dim in (1, 2, 3, 4):
            for channels_first in (True, False):
                coordinates = scene(dim, 4, 2, 0.4, dim)
                features = draw(len(coordinates), 3)
                shape = (4,) * dim
                full = ops.dense(features, coordinates, shape, 2, channels_first)
                expected = definitions.to_dense(features, coordinates, shape, 2)
                expected = expected if channels_first else expected.movedim(1, -1)
                self.assertTrue(torch.equal(full, expected))
                grad = draw(*full.shape, seed=2, grad=False)
                self.assertTrue(
                    torch.equal(*(torch.autograd.grad(v, features, grad)[0] for v in (full, expected)))
                )
                leaf = full.detach().clone().requires_grad_()
                values, rows = ops.sparse(leaf, channels_first)
                order = sorted(range(len(coordinates)), key=lambda i: coordinates[i].tolist())
                self.assertTrue(torch.equal(rows, coordinates[order]))
                self.assertTrue(torch.equal(values, features[order]))
                upstream = draw(*values.shape, seed=3, grad=False)
                (back,) = torch.autograd.grad(values, leaf, upstream)
                self.assertTrue(torch.equal(back, ops.dense(upstream, rows, shape, 2, channels_first)))

    def test_no_rows_give_zeros(self):
        empty = torch.empty((0, 4), dtype=torch.int32)
        self.assertEqual(ops.dense(draw(0, 2), empty, (2, 2, 2), 1).abs().sum().item(), 0)
        values, rows = ops.sparse(torch.zeros(1, 2, 2, 2, 3))
        self.assertEqual((values.shape, rows.shape), ((0, 3), (0, 4)))


class Voxels(unittest.TestCase):
    size, span = (0.5, 0.5, 1.0), (0.0, -1.0, 0.0, 2.0, 1.0, 2.0)

    def points(self, count=200, seed=0):
        scale, corner = torch.tensor([2.6, 2.6, 2.6, 1, 1]), torch.tensor([0.3, 1.3, 0.3, 0, 0])
        return uniform(count, 5, seed=seed) * scale - corner

    def cells(self, points):
        cell = torch.floor((points[:, :3] - torch.tensor(self.span[:3])) / torch.tensor(self.size)).int()
        grid = torch.tensor([4, 4, 2])
        return cell, ((cell >= 0) & (cell < grid)).all(1)

    def test_hard_voxels_are_numbered_by_their_first_point(self):
        points = self.points()
        batch = (torch.arange(len(points)) % 2).int()
        for order in ("zyx", "xyz"):
            voxels, coordinates, counts, means = ops.hard_voxelize(
                points, self.size, self.span, 3, 20, batch, 2, order
            )
            cell, inside = self.cells(points)
            kept = [{}, {}]
            for i in range(len(points)):
                if inside[i]:
                    own = kept[batch[i]]
                    key = tuple(cell[i].tolist())
                    if key in own or len(own) < 20:
                        own.setdefault(key, []).append(i)
            rows = [(b, key, found) for b in (0, 1) for key, found in kept[b].items()]
            self.assertEqual(len(rows), len(coordinates))
            for v, (b, key, found) in enumerate(rows):
                self.assertEqual(coordinates[v].tolist(), [b, *(key[::-1] if order == "zyx" else key)])
                self.assertEqual(counts[v].item(), min(3, len(found)))
                few = points[found[:3]]
                self.assertTrue(torch.equal(voxels[v, : len(few)], few))
                self.assertEqual(voxels[v, len(few) :].abs().sum().item(), 0)
                self.assertTrue(torch.allclose(means[v], few.mean(0), atol=1e-6))

    def test_dynamic_voxels_reduce_all_points(self):
        points = self.points(seed=1)
        cell, inside = self.cells(points)
        for reduce in ("mean", "sum", "max", "first"):
            features, coordinates, inverse = ops.dynamic_voxelize(points, self.size, self.span, reduce)
            self.assertEqual(coordinates.tolist(), sorted(coordinates.tolist()))
            self.assertTrue(torch.equal(inverse >= 0, inside))
            for i in torch.nonzero(inside).flatten().tolist():
                self.assertEqual(coordinates[inverse[i]].tolist(), [0, *cell[i].flip(0).tolist()])
            for v in range(len(coordinates)):
                own = points[inverse == v]
                value = {"mean": own.mean(0), "sum": own.sum(0), "max": own.amax(0), "first": own[0]}[reduce]
                self.assertTrue(torch.allclose(features[v], value, atol=1e-6))

    def test_no_points_give_no_voxels(self):
        none = torch.empty((0, 4))
        self.assertEqual([len(t) for t in ops.hard_voxelize(none, self.size, self.span, 3, 9)], [0] * 4)
        self.assertEqual([len(t) for t in ops.dynamic_voxelize(none, self.size, self.span)], [0] * 3)


class Coordinates(unittest.TestCase):
    def test_a_union_says_whose_rows_it_has_and_sums_have_gradients(self):
        a, b = scene(3, 4, 2, 0.3, 1), scene(3, 4, 2, 0.3, 2)
        both, rows = ops.unite(a, b)
        self.assertEqual([tuple(c) for c in both.tolist()], sorted({tuple(c) for c in a.tolist() + b.tolist()}))
        joined = torch.cat([a, b])
        for u in range(len(both)):
            for column, source in enumerate((a, b)):
                there = both[u].tolist() in source.tolist()
                self.assertEqual(rows[u, column].item() >= 0, there)
                if there:
                    self.assertEqual(joined[rows[u, column]].tolist(), both[u].tolist())
        fa, fb = draw(len(a), 3), draw(len(b), 3, seed=2)
        total, _ = ops.add_by_coordinate(fa, a, fb, b)
        shape = (4, 4, 4)
        dense = definitions.to_dense(fa, a, shape, 2) + definitions.to_dense(fb, b, shape, 2)
        self.assertTrue(torch.allclose(total, definitions.at(dense, both)))
        total.sum().backward()
        self.assertTrue(torch.equal(fa.grad, torch.ones_like(fa)) and torch.equal(fb.grad, torch.ones_like(fb)))

    def test_rows_are_found_by_coordinate(self):
        a = scene(2, 8, 2, 0.3, 1)
        queries = scene(2, 8, 2, 1.0, 2)
        known = {tuple(c): i for i, c in enumerate(a.tolist())}
        self.assertEqual(ops.find_rows(a, queries).tolist(), [known.get(tuple(q), -1) for q in queries.tolist()])

    def test_coordinates_outside_and_duplicates_are_told(self):
        a = scene(2, 8, 2, 0.3, 1)
        ops.check_coordinates(a, (8, 8), 2)
        with self.assertRaisesRegex((RuntimeError, ValueError), "outside"):
            ops.check_coordinates(a, (4, 8), 2)
        with self.assertRaisesRegex((RuntimeError, ValueError), "two rows hold the same coordinate"):
            ops.check_coordinates(torch.cat([a, a[:1]]))


if __name__ == "__main__":
    unittest.main()
