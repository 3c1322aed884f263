# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Weights of every layout, versions of state_dicts, copies of modules."""

import copy
import pickle
import unittest

import torch
from torch import nn

from support import relative, tensor
from tessera_torch import spconv, weight_layout


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

    def test_what_is_no_tensor_is_refused_as_pytorch_refuses_it(self):
        for entry in (None, "text"):
            with self.assertRaisesRegex(RuntimeError, "expected torch.Tensor"):
                spconv.SubMConv3d(4, 4, 3).load_state_dict({"weight": entry}, strict=False)

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


if __name__ == "__main__":
    unittest.main()
