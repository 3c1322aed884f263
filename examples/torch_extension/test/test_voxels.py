# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""spconv's voxel generators."""

import json
import unittest

import numpy as np
import torch

from support import DEVICE, read_safetensors, recorded, relative, uniform
from tessera_torch.voxels import Point2VoxelCPU2d, Point2VoxelCPU3d, PointToVoxel, gather_features_by_pc_voxel_id


class Voxels(unittest.TestCase):
    def test_recorded_voxels_are_reproduced(self):
        tensors, metadata = read_safetensors(recorded("golden/spconv/voxelize.safetensors"))
        for name, text in metadata.items():
            case = json.loads(text)
            with self.subTest(case=name):
                columns = tensors[name + ".mean"].shape[1]
                points = torch.from_numpy(np.fromfile(recorded("data/" + case["points"]), np.float32).reshape(-1, columns)).to(DEVICE)
                generator = PointToVoxel(case["voxel_size"], case["point_cloud_range"], columns, case["max_voxels"], case["max_points"],
                                         DEVICE)
                voxels, indices, counts, ids = generator.generate_voxel_with_id(points)
                self.assertTrue(torch.equal(indices, tensors[name + ".coords_zyx"].int()))
                self.assertTrue(torch.equal(counts, tensors[name + ".num_points"].int()))
                self.assertLess(relative(voxels.sum(1) / counts[:, None], tensors[name + ".mean"]), 1e-5)
                inside = ids >= 0
                full = torch.bincount(ids[inside], minlength=len(counts)).clamp(max=case["max_points"])
                self.assertTrue(torch.equal(full, counts.long()))

    def test_other_dimensions_follow_the_rule_of_three(self):
        points = uniform(300, 4, seed=4) * 6 - 1
        three = PointToVoxel([1, 1, 1], [0, 0, 0, 4, 4, 4], 4, 30, 3, DEVICE)
        for got, want in zip(three._by_sorting(points), three(points)):
            self.assertTrue(torch.equal(got, want))
        for dim in (1, 2, 4):
            voxels, indices, counts = PointToVoxel([1] * dim, [0] * dim + [4] * dim, 4, 30, 3, DEVICE)(points)
            self.assertEqual((voxels.shape[1:], indices.shape[1]), ((3, 4), dim))
            self.assertEqual(len(torch.unique(indices, dim=0)), len(indices))
            first = torch.floor(voxels[:, 0, :dim]).flip(1).int()
            self.assertTrue(torch.equal(first, indices))

    def test_half_a_cell_at_the_end_of_the_range_is_one(self):
        for dim in (1, 2, 3, 4):
            generator = PointToVoxel([1] * dim, [0] * dim + [2.5] * dim, 4, 30, 3, DEVICE)
            self.assertEqual(generator.grid_size, [3] * dim)
            _, indices, _, ids = generator.generate_voxel_with_id(torch.full((1, 4), 2.75))
            self.assertEqual((indices.tolist(), ids.tolist()), ([[2] * dim], [0]))

    def test_points_outside_have_no_voxel(self):
        points = torch.tensor([[0.5, 0.5, 0.5], [-1, 0, 0], [0, 9, 0], [1.5, 0, 0], [0.1, 0.1, 0.1], [2.5, 0, 0]])
        _, indices, _, ids = PointToVoxel([1, 1, 1], [0, 0, 0, 4, 4, 4], 3, 2, 1, DEVICE).generate_voxel_with_id(points)
        self.assertEqual(indices.tolist(), [[0, 0, 0], [0, 0, 1]])
        self.assertEqual(ids.tolist(), [0, -1, -1, 1, 0, -1])  # the last one's voxel is beyond the cap

    def test_empty_places_can_hold_the_mean(self):
        points = torch.rand(50, 3) * 4
        voxels, _, counts = PointToVoxel([2, 2, 2], [0, 0, 0, 4, 4, 4], 3, 8, 20, DEVICE)(points, empty_mean=True)
        for voxel, count in zip(voxels, counts.tolist()):
            if count < 20:
                self.assertLess(relative(voxel[count:], voxel[:count].mean(0).expand(20 - count, 3)), 1e-5)

    def test_the_generator_of_arrays_and_the_gathering_of_features(self):
        points = np.random.default_rng(0).uniform(0, 4, (50, 3)).astype(np.float32)
        voxels, indices, counts = Point2VoxelCPU3d([2, 2, 2], [0, 0, 0, 4, 4, 4], 3, 8, 20).point_to_voxel(points)
        self.assertEqual(voxels.numpy().shape[1:], (20, 3))
        features = gather_features_by_pc_voxel_id(torch.tensor([[1.0], [2.0]]), torch.tensor([1, -1, 0]), 7)
        self.assertEqual(features.view(-1).tolist(), [2, 7, 1])

    def refuses(self, words, call, *arguments, **named):
        with self.assertRaises((ValueError, TypeError)) as raised:
            call(*arguments, **named)
        self.assertIn(words, str(raised.exception))

    def test_points_that_do_not_fit_are_refused_in_any_number_of_dimensions(self):
        good = torch.rand(5, 4)
        for dim in (1, 2, 3, 4):
            with self.subTest(dim=dim):
                generator = PointToVoxel([0.5] * dim, [0] * dim + [1] * dim, 4, 8, 2, DEVICE)
                for points, words in (
                    (torch.zeros(5, 5), "not [n, 4]"), (torch.zeros(4), "not [n, 4]"), (good.double(), "float32"),
                    (good.int(), "float32"), (good.clone().requires_grad_(), "gradient"), (good.to("meta"), "points on meta"),
                    (good.cpu().numpy(), "a ndarray, not a dense tensor"), (good.tolist(), "a list, not a dense tensor"),
                    (good.to_sparse(), "not a dense tensor"),
                ):  # fmt: skip
                    for call in (generator, generator.generate_voxel_with_id):
                        self.refuses(words, call, points)
                for got, want in zip(generator(good.t().contiguous().t()), generator(good)):
                    self.assertTrue(torch.equal(got, want))  # columns in another order are read
                self.assertEqual([len(t) for t in generator.generate_voxel_with_id(good[:0])], [0] * 4)
                self.assertEqual(len(generator(good[:0], empty_mean=True)[0]), 0)

    def test_generators_that_cannot_be_meant_are_refused_in_any_number_of_dimensions(self):
        for dim in (1, 2, 3, 4):
            usual = dict(vsize_xyz=[1.0] * dim, coors_range_xyz=[0.0] * dim + [4.0] * dim, num_point_features=4,
                         max_num_voxels=8, max_num_points_per_voxel=2)  # fmt: skip
            for words, changed in (
                ("voxel size 0 on axis 0; it must be positive", dict(vsize_xyz=[0] * dim)),
                ("voxel size nan on axis 0", dict(vsize_xyz=[float("nan")] * dim)),
                ("is not a list of numbers", dict(vsize_xyz=1.0)),
                ("is not a list of numbers", dict(coors_range_xyz=["a"] * 2 * dim)),
                ("sizes of a voxel and", dict(vsize_xyz=[1.0] * (dim + 1))),
                ("sizes of a voxel and", dict(coors_range_xyz=[0.0] * dim)),
                ("the range 4 to 0 on axis 0 has -4 voxels", dict(coors_range_xyz=[4] * dim + [0] * dim)),
                ("has inf voxels", dict(coors_range_xyz=[0] * dim + [float("inf")] * dim)),
                ("there must be 1 to 2^30", dict(vsize_xyz=[1e-12] * dim)),
                ("0 voxels at most; it must be a whole number", dict(max_num_voxels=0)),
                ("2.5 voxels at most", dict(max_num_voxels=2.5)),
                ("1099511627776 voxels at most", dict(max_num_voxels=2**40)),
                ("-1 points per voxel", dict(max_num_points_per_voxel=-1)),
                ("0 points per voxel", dict(max_num_points_per_voxel=0)),
                ("None points per voxel", dict(max_num_points_per_voxel=None)),
                ("more than 2^20 numbers", dict(max_num_points_per_voxel=2**20)),
                ("0 columns of a point", dict(num_point_features=0)),
                *([(f"1 columns in {dim} dimensions", dict(num_point_features=1))] if dim > 1 else ()),
            ):
                with self.subTest(dim=dim, words=words):
                    self.refuses(words, PointToVoxel, **{**usual, **changed})
        self.refuses("3 sizes of a voxel, not 2", Point2VoxelCPU2d, [1] * 3, [0] * 3 + [1] * 3, 3, 1, 1)


if __name__ == "__main__":
    unittest.main()
