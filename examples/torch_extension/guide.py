# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""The snippets of docs/python.md, each in a function that the tests call."""

# fmt: off
import torch
from torch import nn

from tessera_torch import spconv


def replaced_spconv(features, indices):
    # [as_spconv]
    import tessera_torch

    tessera_torch.as_spconv()  # before anything imports spconv

    import spconv.pytorch as spconv

    net = spconv.SparseSequential(
        spconv.SubMConv3d(4, 16, 3, bias=False, indice_key="subm1"), nn.BatchNorm1d(16), nn.ReLU(),
        spconv.SparseConv3d(16, 32, 3, stride=2, padding=1, indice_key="spconv2"), nn.ReLU(),
        spconv.SparseInverseConv3d(32, 16, 3, indice_key="spconv2"))
    x = spconv.SparseConvTensor(features, indices, spatial_shape=[41, 160, 140], batch_size=1)
    y = net(x)  # on the rows of x again
    # [as_spconv]
    return x, y


def without_replacing(features, indices):
    # [spconv]
    from tessera_torch import spconv

    net = spconv.SubMConv3d(4, 16, 3)
    y = net(spconv.SparseConvTensor(features, indices, [41, 160, 140], 1))
    # [spconv]
    return y


def mmdet3d():
    # [mmdet3d]
    import tessera_torch

    tessera_torch.mmdet3d.register()  # before mmdet3d is imported
    # [mmdet3d]


def layouts(model, state_dict):
    # [layouts]
    import tessera_torch

    with tessera_torch.weight_layout("rsck"):  # spconv 1's and mmcv's; "rskc" for spconv 2.0 and 2.1
        model.load_state_dict(state_dict)
    # [layouts]


def torchsparse(feats, coords):
    # [torchsparse]
    import tessera_torch

    tessera_torch.as_torchsparse()  # or: from tessera_torch import torchsparse

    import torchsparse
    from torchsparse import nn as spnn
    from torchsparse.nn import functional as F

    F.set_conv_mode(2)
    net = nn.Sequential(
        spnn.Conv3d(4, 16, 3), spnn.BatchNorm(16), spnn.ReLU(True),
        spnn.Conv3d(16, 32, 2, stride=2), spnn.BatchNorm(32), spnn.ReLU(True),
        spnn.Conv3d(32, 16, 2, stride=2, transposed=True))
    x = torchsparse.SparseTensor(feats, coords)  # coords: batch entry, x, y, z
    y = net(x)
    # [torchsparse]
    F.set_conv_mode(0)
    return x, y


def exported(net, x):
    # [export]
    class Scan(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net.eval()

        def forward(self, features, indices):  # an exported program takes tensors and gives tensors
            y = self.net(spconv.SparseConvTensor(features, indices, x.spatial_shape, x.batch_size))
            return y.features, y.indices

    rows = torch.export.Dim("rows", min=2)
    program = torch.export.export(Scan(), (x.features, x.indices), dynamic_shapes=({0: rows}, {0: rows}))
    features, indices = program.module()(x.features, x.indices)  # or torch.export.save(program, "net.pt2")
    # [export]
    return program, features, indices


# [own_layer]
class Neighbours(nn.Module):
    """The mean of the voxels around each voxel, through a weight of one's own."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.eye(channels))

    def forward(self, x):
        from tessera_torch import ops

        map = ops.kernel_map(x.indices, "submanifold", 3, shape=x.spatial_shape, batch_size=x.batch_size, rules="spconv")
        means = ops.pool(x.features, map, "average")  # gradients included
        return x.replace_feature(means @ self.weight)
# [own_layer]


def mixed_precision(net, x, labels):
    # [autocast]
    with torch.autocast(x.features.device.type, dtype=torch.bfloat16):
        y = net(x)  # features and weights in bfloat16, sums in float32
        loss = nn.functional.cross_entropy(y.features.float(), labels)
    loss.backward()  # gradients of the weights are float32, as the weights
    # [autocast]
    return loss
