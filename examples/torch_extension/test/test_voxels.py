# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""spconv's voxel generators."""

import json
import unittest

import numpy as np
import torch

from support import read_safetensors, recorded, relative
from tessera_torch.voxels import Point2VoxelCPU3d, PointToVoxel, gather_features_by_pc_voxel_id


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

    def test_points_outside_have_no_voxel(self):
        points = torch.tensor([[0.5, 0.5, 0.5], [-1, 0, 0], [0, 9, 0], [1.5, 0, 0], [0.1, 0.1, 0.1], [2.5, 0, 0]])
        _, indices, _, ids = PointToVoxel([1, 1, 1], [0, 0, 0, 4, 4, 4], 3, 2, 1).generate_voxel_with_id(points)
        self.assertEqual(indices.tolist(), [[0, 0, 0], [0, 0, 1]])
        self.assertEqual(ids.tolist(), [0, -1, -1, 1, 0, -1])  # the last one's voxel is beyond the cap

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


if __name__ == "__main__":
    unittest.main()
