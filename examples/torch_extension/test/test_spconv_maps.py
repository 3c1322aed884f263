# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Which layers share a map: by indice_key, and without one."""

import gc
import unittest
import weakref
from unittest import mock

import torch

from support import SHAPE, by_coordinate, tensor
from tessera_torch import ops, spconv


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

    def test_a_pool_of_one_voxel_keeps_its_padding_and_moves_the_rows(self):
        for dim, padding in ((1, [1]), (2, [0, 2]), (3, [1, 2, 0]), (4, [0, 1, 0, 1])):
            x = tensor(3, rows=20, shape=[5, 4, 3, 2][:dim])
            for name in ("SparseMaxPool", "SparseAvgPool"):
                y = getattr(spconv, f"{name}{dim}d")(1, 1, padding)(x)
                order = by_coordinate(x.indices)
                self.assertTrue(torch.equal(y.indices, x.indices[order] + torch.tensor([0, *padding], dtype=torch.int32)))
                self.assertEqual(y.spatial_shape, [n + 2 * p for n, p in zip(x.spatial_shape, padding)])
                values = x.features[order]
                self.assertTrue(torch.equal(y.features, values.clamp(min=0) if "Max" in name else values))

    def test_indice_data_has_spconvs_pairs(self):
        x = tensor()
        data = spconv.SparseConv3d(4, 4, 2, 2, indice_key="d")(x).find_indice_pair("d")
        pairs, counts = data.indice_pairs, data.indice_pair_num
        for k in range(8):
            n = int(counts[k])
            self.assertTrue(bool((pairs[:, k, n:] == -1).all()))
            self.assertTrue(torch.equal(data.pair_fwd[k, pairs[1, k, :n].long()], pairs[0, k, :n]))
            self.assertTrue(torch.equal(data.pair_bwd[k, pairs[0, k, :n].long()], pairs[1, k, :n]))

    def test_the_maps_of_a_scan_go_with_its_tensors(self):
        net = spconv.SparseSequential(spconv.SubMConv3d(4, 4, 3), spconv.SparseConv3d(4, 4, 3, 2, 1, indice_key="d"),
                                      spconv.SparseInverseConv3d(4, 4, 3, "d"))  # fmt: skip
        gc.collect()
        gc.disable()  # memory of a GPU cannot wait for the collector of cycles
        try:
            x = tensor()
            x.features.requires_grad_()
            y = net(x)
            y.features.sum().backward()
            held = [weakref.ref(data.map) for data in y.indice_dict.maps.values()] + [weakref.ref(x.indices)]
            self.assertEqual(len(held), 3)
            del x, y
            self.assertEqual([ref() is None for ref in held], [True] * 3)
        finally:
            gc.enable()

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


if __name__ == "__main__":
    unittest.main()
