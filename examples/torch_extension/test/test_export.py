# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""torch.export and torch.compile of networks of layers."""

import io
import unittest

import torch
from torch import nn

from support import SHAPE, relative, tensor
from tessera_torch import SparseConvTensor, spconv, torchsparse
from tessera_torch.torchsparse import nn as spnn


class OfTensors(nn.Module):
    """A network from features and coordinates to all tensors of its result."""

    def __init__(self, net, make):
        super().__init__()
        self.net, self.make = net, make

    def forward(self, features, indices):
        y = self.net(self.make(features, indices))
        if isinstance(y, torch.Tensor):
            return (y,)
        return (y.features, y.indices) if isinstance(y, SparseConvTensor) else (y.feats, y.coords)


def of_spconv(*modules) -> nn.Module:
    return OfTensors(spconv.SparseSequential(*modules), lambda f, c: SparseConvTensor(f, c, SHAPE, 2)).eval()


def of_torchsparse(*modules) -> nn.Module:
    return OfTensors(nn.Sequential(*modules), lambda f, c: torchsparse.SparseTensor(f, c, spatial_range=(2, *SHAPE))).eval()


def strided_network() -> spconv.SparseSequential:
    return spconv.SparseSequential(
        spconv.SubMConv3d(4, 8, 3), nn.BatchNorm1d(8), nn.ReLU(), spconv.SparseConv3d(8, 8, 3, 2, 1, indice_key="d"),
        nn.BatchNorm1d(8), nn.ReLU(), spconv.SubMConv3d(8, 8, 3), spconv.SparseInverseConv3d(8, 4, 3, "d"),
        spconv.SparseConv3d(4, 4, 3, 2, 1), nn.BatchNorm1d(4))  # fmt: skip


def export(net: nn.Module) -> torch.export.ExportedProgram:
    x, rows = tensor(), torch.export.Dim("rows", min=2)
    return torch.export.export(net, (x.features, x.indices), dynamic_shapes=({0: rows}, {0: rows}))


class Export(unittest.TestCase):
    def test_exported_networks_give_the_same_for_any_number_of_rows(self):
        both = spconv.ConcatTable().add(spconv.SparseConv3d(4, 4, 3, 1, 1)).add(spconv.Identity())
        for name, net in {
            "strided and inverse": of_spconv(strided_network()),
            "dense": of_spconv(spconv.SparseConv3d(4, 4, 3, 2, 1), spconv.ToDense(), nn.Conv3d(4, 3, 3)),
            "pooled": of_spconv(spconv.SparseMaxPool3d(2), nn.BatchNorm1d(4), nn.Linear(4, 5), spconv.SparseGlobalAvgPool()),
            "expanding": of_spconv(spconv.SparseConvTranspose3d(4, 4, 2, 2), nn.Sequential(nn.BatchNorm1d(4), nn.ReLU())),
            "summed": of_spconv(both, spconv.AddTableMisaligned(), spconv.SparseBatchNorm(4)),
            "TorchSparse": of_torchsparse(spnn.Conv3d(4, 8, 2, stride=2), spnn.BatchNorm(8), spnn.Conv3d(8, 8, 1),
                                          spnn.Conv3d(8, 4, 2, stride=2, transposed=True), spnn.GlobalMaxPool()),
            "generative": of_torchsparse(spnn.Conv3d(4, 4, 2, stride=2, transposed=True, generative=True), spnn.BatchNorm(4)),
        }.items():  # fmt: skip
            with self.subTest(network=name):
                program = export(net).module()
                for seed, count in ((1, 120), (2, 60)):
                    x = tensor(seed=seed, rows=count)
                    for got, want in zip(program(x.features, x.indices), net(x.features, x.indices)):
                        self.assertTrue(torch.equal(got, want))

    def test_a_program_can_be_saved_and_loaded(self):
        net, file, x = of_spconv(strided_network()), io.BytesIO(), tensor(seed=3)
        torch.export.save(export(net), file)
        file.seek(0)
        program = torch.export.load(file).module()
        self.assertTrue(torch.equal(program(x.features, x.indices)[0], net(x.features, x.indices)[0]))

    def test_a_program_refuses_a_scan_of_which_a_strided_layer_keeps_nothing(self):
        net = of_spconv(spconv.SparseConv3d(4, 4, 1, 2), nn.BatchNorm1d(4))
        odd = torch.tensor([[0, 1, 1, 1], [1, 3, 3, 3]], dtype=torch.int32)
        self.assertEqual(list(net(torch.zeros(2, 4), odd)[0].shape), [0, 4])
        with self.assertRaisesRegex(RuntimeError, "assertion failed for expression"):
            export(net).module()(torch.zeros(2, 4), odd)


class Compile(unittest.TestCase):
    def test_compiled_networks_train_and_infer_alike(self):
        for backend in ("aot_eager", "inductor"):
            torch._dynamo.reset()
            net = strided_network()
            compiled = torch.compile(net, backend=backend)
            for training in (True, False):
                net.train(training)
                for x in (tensor(seed=1), tensor(seed=2, rows=60)):
                    results = []
                    for run in (net, compiled):
                        net.zero_grad()
                        y = run(x).features
                        y.square().sum().backward()
                        results.append([y, *(parameter.grad for parameter in net.parameters())])
                    for got, want in zip(*results):
                        self.assertLess(relative(got, want), 1e-4)
            nothing = SparseConvTensor(torch.zeros(0, 4), torch.zeros(0, 4, dtype=torch.int32), SHAPE, 2)
            self.assertEqual(list(compiled(nothing).features.shape), [0, 4])


if __name__ == "__main__":
    unittest.main()
