# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Fifty steps beside dense layers, half precision, torch.compile."""

import unittest

import torch
from torch import nn

from support import DEVICE, relative, tensor
from tessera_torch import spconv


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
                with torch.autocast(DEVICE.type, dtype=dtype):
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


if __name__ == "__main__":
    unittest.main()
