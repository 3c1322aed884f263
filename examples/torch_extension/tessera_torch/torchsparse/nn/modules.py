# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""TorchSparse's layers."""

from __future__ import annotations

import math
from typing import Optional

import torch
from torch import nn

from ... import maps, ops
from ...modules import SparseModule, TakesTensor
from ...tensor import SparseConvTensor, expect_fitting
from ..tensor import SparseTensor
from ..utils.utils import make_ntuple
from . import functional as F
from .conv_config import config_of, dataflow_of
from .utils import fapply


class Conv3d(SparseModule):
    """`kernel` [volume, in, out] in TorchSparse's order of offsets, [in, out] for one voxel with stride 1.

    It also takes an SparseConvTensor: stride 1 is then SubMConv3d, any other SparseConv3d.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size=3, stride=1, padding=0, dilation=1,
                 bias: bool = False, transposed: bool = False, generative: bool = False, config: Optional[dict] = None,
                 indice_key: Optional[str] = None):  # fmt: skip
        super().__init__()
        if generative and not transposed:
            raise ValueError("Conv3d: a generative convolution is a transposed one: transposed=True")
        if in_channels < 1 or out_channels < 1:
            raise ValueError(f"Conv3d: {in_channels} -> {out_channels} channels; both must be at least 1")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = make_ntuple(kernel_size, 3)
        self.stride = make_ntuple(stride, 3)
        self.dilation = make_ntuple(dilation, 3)
        # An odd kernel of stride 1 is centred, whatever was asked for.
        self.padding = tuple((k - 1) // 2 if k % 2 == 1 and s == 1 else p
                             for k, s, p in zip(self.kernel_size, self.stride, make_ntuple(padding, 3)))  # fmt: skip
        self.transposed = transposed
        self.generative = generative
        self.config = config
        self.indice_key = indice_key
        self.kernel_volume = math.prod(self.kernel_size)
        shape = [in_channels, out_channels]
        if self.kernel_volume > 1 or max(self.stride) > 1:
            shape.insert(0, self.kernel_volume)
        self.kernel = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        channels = self.out_channels if self.transposed else self.in_channels
        bound = 1 / math.sqrt(max(1, channels * self.kernel_volume))
        for parameter in (self.kernel, self.bias):
            if parameter is not None:
                nn.init.uniform_(parameter, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        for name, usual in (("stride", (1, 1, 1)), ("dilation", (1, 1, 1)), ("transposed", False), ("generative", False)):
            if getattr(self, name) != usual:
                text += f", {name}={getattr(self, name)}"
        return text + ("" if self.bias is not None else ", bias=False")

    def _load_from_state_dict(self, *arguments):
        # Not what mmdetection3d assigns to SparseModule: that permutes kernels of spconv 1.
        nn.Module._load_from_state_dict(self, *arguments)

    def forward(self, input):
        if isinstance(input, SparseConvTensor):
            return self._as_spconv(input)
        if not isinstance(input, SparseTensor):
            raise TypeError(f"Conv3d: the input is a {type(input).__name__}, not a SparseTensor")
        if len(input.feats.shape) == 2 and input.feats.shape[1] != self.in_channels:
            raise ValueError(f"Conv3d: {input.feats.shape[1]} channels for a layer of {self.in_channels}")
        return F.conv3d(input, self.kernel, self.kernel_size, self.bias, self.stride, self.padding, self.dilation,
                        self.config, self.transposed, self.generative, self.training)  # fmt: skip

    def _as_spconv(self, input: SparseConvTensor) -> SparseConvTensor:
        expect_fitting("Conv3d", input, 3)
        if input.features.shape[1] != self.in_channels:
            raise ValueError(f"Conv3d: {input.features.shape[1]} channels for a layer of {self.in_channels}")
        layer = _Geometry(self)
        if self.kernel.dim() == 2:
            feats = input.features @ self.kernel
            return input.replace_feature(feats if self.bias is None else feats + self.bias)
        if self.transposed:
            data, indice_dict = maps.undone(input, layer), input.indice_dict
            map, indices, shape = data.map.transposed(data.indices, data.spatial_shape), data.indices, data.spatial_shape
        elif max(self.stride) == 1:
            data, indice_dict = maps.submanifold(input, layer)
            map, indices, shape = data.map, input.indices, input.spatial_shape
        else:
            data, indice_dict = maps.outgoing(input, layer, "strided", [0, 0, 0])
            map, indices, shape = data.map, data.out_indices, data.out_spatial_shape
        feats = ops.convolution(input.features.contiguous(), F.row_major(self.kernel, self.kernel_size), self.bias, map,
                                dataflow_of(config_of(self.config)))  # fmt: skip
        return input._on(feats, indices, shape, indice_dict)


class _Geometry:
    """A layer as `tessera_torch.maps` reads it: spconv's maps do not need a key, and a key may not fit TorchSparse's
    networks."""

    def __init__(self, layer: Conv3d):
        self.ndim = 3
        self.algo = None
        self.indice_key = layer.indice_key if layer.transposed or max(layer.stride) > 1 else None
        for name in ("kernel_size", "stride", "padding", "dilation"):
            setattr(self, name, list(getattr(layer, name)))


class BatchNorm(nn.BatchNorm1d):
    """Over the rows of all scans of the batch."""

    def forward(self, input):
        return _on_features(super().forward, input)


class GroupNorm(TakesTensor, nn.GroupNorm):
    """Each scan of the batch by itself, over its rows."""

    def forward(self, input):
        if isinstance(input, torch.Tensor):
            return super().forward(input)
        return _on_features(lambda feats: _by_entry(super(GroupNorm, self).forward, feats, input), input)


class InstanceNorm(TakesTensor, nn.InstanceNorm1d):
    """Each channel over the rows of its scan."""

    def forward(self, input):
        if isinstance(input, torch.Tensor):
            return super().forward(input)
        return _on_features(lambda feats: _by_entry(super(InstanceNorm, self).forward, feats, input), input)


class ReLU(nn.ReLU):
    def __init__(self, inplace: bool = True):
        super().__init__(inplace)

    def forward(self, input):
        return _on_features(super().forward, input)


class LeakyReLU(nn.LeakyReLU):
    def forward(self, input):
        return _on_features(super().forward, input)


class SiLU(nn.SiLU):
    def forward(self, input):
        return _on_features(super().forward, input)


class GlobalAvgPool(nn.Module):
    def forward(self, input: SparseTensor) -> torch.Tensor:
        return F.global_avg_pool(input)


class GlobalMaxPool(nn.Module):
    def forward(self, input: SparseTensor) -> torch.Tensor:
        return F.global_max_pool(input)


class SparseCrop(nn.Module):
    """The rows with `coords_min <= (x, y, z) < coords_max`."""

    def __init__(self, coords_min: Optional[tuple] = None, coords_max: Optional[tuple] = None):
        super().__init__()
        self.coords_min = coords_min
        self.coords_max = coords_max

    def forward(self, input: SparseTensor) -> SparseTensor:
        return F.spcrop(input, self.coords_min, self.coords_max)


def _on_features(fn, input):
    """A Tensor, a SparseTensor or spconv's tensor."""
    if isinstance(input, SparseTensor):
        return fapply(input, fn)
    if isinstance(input, SparseConvTensor):
        return input.replace_feature(fn(input.features))
    return fn(input)


def _by_entry(fn, feats: torch.Tensor, input) -> torch.Tensor:
    """`fn` of PyTorch on [1, channels, rows] of each scan."""
    if feats.shape[0] == 0:
        return feats
    batch = (input.coords if isinstance(input, SparseTensor) else input.indices)[:, 0]
    result = torch.empty_like(feats)
    for entry in range(input.batch_size):
        rows = (batch == entry).nonzero(as_tuple=True)[0]
        if rows.numel():
            result[rows] = fn(feats[rows].t()[None])[0].t().to(feats.dtype)
    return result
