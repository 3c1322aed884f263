# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""TorchSparse's two networks, with its names of parameters."""

from __future__ import annotations

import math

from torch import nn

from .nn import BatchNorm, Conv3d, ReLU
from .operators import cat
from .tensor import SparseTensor


class SparseConvBlock(nn.Sequential):
    def __init__(self, in_channels: int, out_channels: int, kernel_size, stride=1, dilation=1):
        super().__init__(Conv3d(in_channels, out_channels, kernel_size, stride=stride, dilation=dilation),
                         BatchNorm(out_channels), ReLU(True))  # fmt: skip


class SparseConvTransposeBlock(nn.Sequential):
    def __init__(self, in_channels: int, out_channels: int, kernel_size, stride=1, dilation=1):
        super().__init__(Conv3d(in_channels, out_channels, kernel_size, stride=stride, dilation=dilation, transposed=True),
                         BatchNorm(out_channels), ReLU(True))  # fmt: skip


class SparseResBlock(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, kernel_size, stride=1, dilation=1):
        super().__init__()
        self.main = nn.Sequential(
            Conv3d(in_channels, out_channels, kernel_size, dilation=dilation, stride=stride), BatchNorm(out_channels),
            ReLU(True), Conv3d(out_channels, out_channels, kernel_size, dilation=dilation),
            BatchNorm(out_channels))  # fmt: skip
        steps = math.prod(stride) if isinstance(stride, (tuple, list)) else stride
        self.shortcut = nn.Identity()
        if in_channels != out_channels or steps != 1:
            self.shortcut = nn.Sequential(Conv3d(in_channels, out_channels, 1, stride=stride), BatchNorm(out_channels))
        self.relu = ReLU(True)

    def forward(self, x: SparseTensor) -> SparseTensor:
        return self.relu(self.main(x) + self.shortcut(x))


class SparseResNet21D(nn.ModuleList):
    """Five stages, each at half the resolution of the one before; returns the tensors of all."""

    stages = ((3, 16, 3, 1), (3, 32, 3, 2), (3, 64, 3, 2), (3, 128, 3, 2), (1, 128, (1, 3, 1), (1, 2, 1)))

    def __init__(self, in_channels: int = 4, width_multiplier: float = 1.0):
        super().__init__()
        for blocks, channels, kernel_size, stride in self.stages:
            channels = int(channels * width_multiplier)
            stage = [SparseConvBlock(in_channels, channels, kernel_size, stride)]
            stage += [SparseResBlock(channels, channels, kernel_size) for _ in range(blocks - 1)]
            self.append(nn.Sequential(*stage))
            in_channels = channels

    def forward(self, x: SparseTensor) -> list[SparseTensor]:
        outputs = []
        for stage in self:
            x = stage(x)
            outputs.append(x)
        return outputs


class SparseResUNet42(nn.Module):
    """A U-Net of four levels; returns the five tensors on the way down and the four on the way up."""

    def __init__(self, in_channels: int = 4, width_multiplier: float = 1.0):
        super().__init__()
        stem, *widths = (int(c * width_multiplier) for c in (32, 32, 64, 128, 256, 256, 128, 96, 96))
        down, up = [stem, *widths[:4]], [widths[3], *widths[4:]]
        self.stem = nn.Sequential(Conv3d(in_channels, stem, 3), BatchNorm(stem), ReLU(True), Conv3d(stem, stem, 3),
                                  BatchNorm(stem), ReLU(True))  # fmt: skip
        self.encoders = nn.ModuleList(
            nn.Sequential(SparseConvBlock(a, a, 2, 2), SparseResBlock(a, b, 3), SparseResBlock(b, b, 3))
            for a, b in zip(down[:-1], down[1:]))  # fmt: skip
        self.decoders = nn.ModuleList(
            nn.ModuleDict({"upsample": SparseConvTransposeBlock(a, b, 2, 2),
                           "fuse": nn.Sequential(SparseResBlock(b + skip, b, 3), SparseResBlock(b, b, 3))})
            for a, b, skip in zip(up[:-1], up[1:], reversed(down[:-1])))  # fmt: skip

    def forward(self, x: SparseTensor) -> list[SparseTensor]:
        outputs = [self.stem(x)]
        for encoder in self.encoders:
            outputs.append(encoder(outputs[-1]))
        x, skips = outputs[-1], outputs[-2::-1]
        for decoder, skip in zip(self.decoders, skips):
            x = decoder["fuse"](cat([decoder["upsample"](x), skip]))
            outputs.append(x)
        return outputs
