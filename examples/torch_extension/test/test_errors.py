# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""What cannot be done is an exception with a sentence."""

import unittest

import torch

from support import DEVICE, ON_CPU, cpu_only
from tessera_torch import ops
from test_ops import draw, make_map


class Errors(unittest.TestCase):
    def setUp(self):
        self.coordinates, self.map, self.shape = make_map()
        self.features = draw(len(self.coordinates), 4, dtype=torch.float32)
        self.weight = draw(27, 4, 3, dtype=torch.float32)

    def refuses(self, sentence, call, *arguments, **named):
        with self.assertRaisesRegex((RuntimeError, ValueError), sentence):
            call(*arguments, **named)

    def convolve(self, sentence, **changed):
        call = {"features": self.features, "weight": self.weight, "bias": None, "map": self.map, **changed}
        self.refuses(sentence, ops.convolution, **call)

    def test_wrong_types(self):
        self.refuses("type Float, not int32", ops.kernel_map, self.coordinates.float(), "strided", 3)
        self.refuses("type Long, not int32", ops.kernel_map, self.coordinates.long(), "strided", 3)
        self.convolve("features of type Int", features=self.features.int())
        self.convolve("the weight has elements of type Double, not float32", weight=self.weight.double())
        self.convolve("the bias has elements of type Half, not float32", bias=torch.zeros(3, dtype=torch.float16))
        self.refuses("type Double, not float32", ops.hard_voxelize, torch.rand(5, 4).double(), [1] * 3, [0] * 3 + [9] * 3, 1, 1)
        self.refuses("features of type Long", ops.pool, self.features.long(), self.map, "max")

    def test_wrong_shapes(self):
        self.refuses("1 numbers for 3 axes", ops.kernel_map, self.coordinates, "strided", [3])
        self.refuses("coordinates have 1 axes", ops.kernel_map, self.coordinates[0], "strided", 3)
        self.refuses("features have 1 axes", ops.pool, self.features[:, 0], self.map, "max")
        self.refuses("coordinates have 1 axes", ops.find_rows, self.coordinates[0], self.coordinates)
        self.refuses("0 axes; there are 1 to 4", ops.find_rows, self.coordinates[:, :1].contiguous(), self.coordinates)
        self.convolve("rows of features for a map", features=self.features[:5])
        self.convolve("8 offsets for a kernel map of 27", weight=draw(8, 4, 3, dtype=torch.float32))
        self.convolve("5 input channels for features of 4", weight=draw(27, 5, 3, dtype=torch.float32))
        self.convolve("2 axes, not", weight=draw(27, 4, dtype=torch.float32))
        self.convolve("0 channels; both must be at least 1", weight=draw(27, 4, 0, dtype=torch.float32))
        self.convolve("a bias of 4 numbers for 3 output channels", bias=torch.zeros(4))
        self.refuses("coordinates but", ops.dense, self.features[:3], self.coordinates, self.shape, 2)
        self.refuses("coordinates but", ops.global_pool, self.features[:3], self.coordinates, 2, "max")
        self.refuses("the first 3 are x, y, z", ops.hard_voxelize, torch.rand(5, 2), [1] * 3, [0] * 3 + [9] * 3, 1, 1)

    def test_what_is_no_tensor_and_no_map(self):
        c, f = self.coordinates, self.features
        for name, call, *arguments in (
            ("coordinates", ops.kernel_map, c.tolist(), "strided", 3), ("out_coordinates", ops.pair_map, c, None, 3),
            ("weight", ops.convolution, f, self.weight.detach().cpu().numpy(), None, self.map),
            ("bias", ops.convolution, f, self.weight, 1.0, self.map), ("features", ops.pool, None, self.map, "max"),
            ("features", ops.global_pool, f.tolist(), c, 2, "max"), ("coordinates", ops.dense, f, None, self.shape, 2),
            ("dense", ops.sparse, 3), ("points", ops.hard_voxelize, [[1.0]], [1] * 3, [0] * 3 + [9] * 3, 1, 1),
            ("b", ops.unite, c, "c"), ("queries", ops.find_rows, c, [0]), ("coordinates", ops.check_coordinates, None),
        ):  # fmt: skip
            with self.subTest(call=call.__name__, name=name):
                with self.assertRaisesRegex(TypeError, f"{call.__name__}: {name} must be a tensor of PyTorch, not a"):
                    call(*arguments)
        with self.assertRaisesRegex(TypeError, "the map is a Tensor, not a KernelMap"):
            ops.pool(f, self.map.out_in, "max")

    def test_tensors_without_memory_are_no_arguments_beside_others(self):
        meta = self.weight.detach().to("meta")
        self.convolve("weight on meta; there are operators for the CPU and for CUDA", weight=meta)
        self.convolve("features on meta", features=self.features.to("meta"))
        self.refuses("coordinates on meta", ops.dense, self.features, self.coordinates.to("meta"), self.shape, 2)
        call = (None, self.map.out_in, None, [3] * 3, 13, True, [], [], *ops.Dataflow())
        self.refuses(f"convolution: tensors on {DEVICE}.* and meta", torch.ops.tessera.convolution, self.features, meta, *call)
        self.refuses(f"pool: tensors on {DEVICE}.* and meta", torch.ops.tessera.pool, self.features.detach(),
                     self.map.out_in.to("meta"), None, "max", False)  # fmt: skip

    @cpu_only  # on a GPU nothing reads the entries before the kernels do
    def test_maps_with_entries_that_are_no_rows(self):
        for entry in (len(self.coordinates), 10**9, -2, -(2**31)):
            out_in = self.map.out_in.clone()
            out_in[-1, -1] = entry
            made = ops.KernelMap(self.coordinates, out_in, self.map.mask_keys, self.map.num_in, (3, 3, 3))
            for dataflow in ("implicit_gemm", "gather_scatter", "fetch_on_demand"):
                self.convolve("the kernel map has entries outside of", map=made, dataflow=ops.Dataflow(dataflow))
            self.refuses("the kernel map has entries outside of", ops.pool, self.features.detach(), made, "max")
            self.refuses("the kernel map has entries outside of", made.transposed)
            self.refuses("the transposed map has entries outside of", torch.ops.tessera.pool_backward, self.features.detach(),
                         self.features.detach(), self.map.out_in, out_in, "max", False)  # fmt: skip
        self.refuses("a kernel map of -1 input rows", torch.ops.tessera.transpose_map, self.map.out_in, -1)

    def test_maps_that_are_not_what_they_say(self):
        few = self.map.out_in[:5].contiguous()
        for told in (dict(centre=13), dict(symmetric=True)):
            made = ops.KernelMap(self.coordinates[:5], few, few.new_empty(0), self.map.num_in, (3, 3, 3), **told)
            self.convolve("a kernel map with a centre, or symmetric", map=made)
        made = ops.KernelMap(self.coordinates, self.map.out_in, few.new_empty(0), self.map.num_in, (3, 3, 3), centre=27)
        self.convolve("the centre 27 of 27 offsets", map=made)

    def test_tensors_that_are_not_contiguous(self):
        wide = draw(len(self.coordinates), 8, dtype=torch.float32)[:, ::2]
        self.convolve("not contiguous; call contiguous", features=wide)
        self.refuses("not contiguous", ops.pool, wide, self.map, "max")
        self.refuses("not contiguous", ops.dense, wide, self.coordinates, self.shape, 2)
        self.refuses("not contiguous", ops.kernel_map, self.coordinates.flip(1)[:, ::1].T.contiguous().T, "strided", 3)
        self.refuses("not contiguous", ops.hard_voxelize, torch.rand(4, 9).T, [1] * 3, [0] * 3 + [9] * 3, 1, 1)

    def test_features_that_begin_anywhere_are_read_or_refused(self):
        flat = torch.zeros(self.features.numel() + 1)
        flat[1:] = self.features.detach().flatten()
        moved = flat[1:].view_as(self.features)
        same = ops.convolution(self.features, self.weight, None, self.map)
        self.assertTrue(torch.equal(ops.convolution(moved, self.weight, None, self.map), same))
        self.refuses("multiple of 16 bytes; call clone", ops.pool, moved, self.map, "max")

    def test_names_that_do_not_exist_name_those_that_do(self):
        self.refuses('kind "subm" does not exist; choose "submanifold"', ops.kernel_map, self.coordinates, "subm", 3)
        self.refuses('rules "ours"', ops.kernel_map, self.coordinates, "strided", 3, rules="ours")
        self.refuses('kmap mode "x"', ops.kernel_map, self.coordinates, "strided", 3, kmap="x")
        self.refuses('downsample mode "x"', ops.kernel_map, self.coordinates, "strided", 3, downsample="x")
        self.refuses('dataflow "x"', ops.convolution, self.features, self.weight, None, self.map, ops.Dataflow("x"))
        self.refuses('mode "mean" does not exist', ops.pool, self.features, self.map, "mean")
        self.refuses('mode "sum" does not exist', ops.global_pool, self.features, self.coordinates, 2, "sum")
        self.refuses('order "yxz"', ops.hard_voxelize, torch.rand(5, 4), [1] * 3, [0] * 3 + [9] * 3, 1, 1, order="yxz")
        self.refuses("conv mode 3", ops.Dataflow.of_conv_mode, 3)

    def test_numbers_that_cannot_be_meant(self):
        self.refuses("kernel size .* must be at least 1", ops.kernel_map, self.coordinates, "strided", 0)
        self.refuses("stride .* must be 1", ops.kernel_map, self.coordinates, "submanifold", 3, 2)
        self.refuses("leave no output", ops.kernel_map, self.coordinates, "strided", 9, shape=self.shape, batch_size=2)
        self.refuses("0 splits", ops.convolution, self.features, self.weight, None, self.map, ops.Dataflow(splits=0))
        self.refuses("does not fit 32 bits", ops.kernel_map, self.coordinates, "strided", 2**40)
        self.refuses("must be positive", ops.dynamic_voxelize, torch.rand(5, 4), [0] * 3, [0] * 3 + [9] * 3)
        self.refuses("2 clouds, but it is not said", ops.dynamic_voxelize, torch.rand(5, 4), [1] * 3, [0] * 3 + [9] * 3,
                     batch_size=2)  # fmt: skip

    def test_coordinates_outside_of_the_grid_and_duplicates(self):
        self.refuses("outside", ops.kernel_map, self.coordinates, "strided", 3, shape=(4, 4, 4), batch_size=2)
        twice = torch.cat([self.coordinates, self.coordinates[:1]])
        self.refuses("two rows hold the same coordinate", ops.check_coordinates, twice)

    @cpu_only
    def test_on_the_cpu_every_call_sees_them(self):
        twice = torch.cat([self.coordinates, self.coordinates[:1]])
        for layer in (("submanifold", 3), ("strided", 3, 2)):
            self.refuses("two rows hold the same coordinate", ops.kernel_map, twice, *layer)
        self.refuses("batch entry outside of", ops.global_pool, self.features, self.coordinates, 1, "max")
        self.refuses("outside", ops.dense, self.features, self.coordinates, (3, 3, 3), 2)

    @unittest.skipIf(ON_CPU, "of GPUs alone")
    def test_where_nothing_waits_rows_outside_are_left_out(self):
        first = self.coordinates[:, 0] == 0
        pooled = ops.global_pool(self.features, self.coordinates, 1, "max")
        self.assertTrue(torch.equal(pooled, self.features[first].amax(0, keepdim=True)))
        inside = (self.coordinates[:, 1:] < 3).all(1)
        rows = self.features[inside], self.coordinates[inside]
        whole = ops.dense(self.features, self.coordinates, (3, 3, 3), 2)
        self.assertTrue(torch.equal(whole, ops.dense(*rows, (3, 3, 3), 2)))

    def test_points_that_require_a_gradient(self):
        points = torch.rand(5, 4, requires_grad=True)
        for call in (ops.hard_voxelize, ops.dynamic_voxelize):
            rest = (3, 3) if call is ops.hard_voxelize else ()
            self.refuses("no.* through voxels; call detach", call, points, [1] * 3, [0] * 3 + [9] * 3, *rest)

    @unittest.skipUnless(torch.cuda.is_available(), "no GPU")
    def test_tensors_on_two_devices(self):
        self.convolve("on another device", features=self.features.to("cuda" if ON_CPU else "cpu"))

    def test_an_older_pytorch_is_refused(self):
        for version in ("2.9.1", "2.9.0+cu128", "1.13.0", "2.8"):
            with self.assertRaisesRegex(ImportError, "too old; it needs 2.10 or later"):
                ops._check_version(version)
        for version in ("2.10.0", "2.11.0a0+git12", "3.0"):
            ops._check_version(version)


if __name__ == "__main__":
    unittest.main()
