# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""spconv's convolutions: SubMConv, SparseConv, SparseConvTranspose, SparseInverseConv in one to four dimensions."""

from __future__ import annotations

import math
import time
from typing import Optional

import torch
from torch import nn

from . import maps, ops
from .modules import SparseModule
from .tensor import ConvAlgo, PerAxis, SparseConvTensor, expand_nd, expect_fitting
from .weights import kernel_of

MAX_VOXELS = "max_num_voxels_during_training"  # spconv's name of the buffer


def record_voxel_count(module: nn.Module, rows: int) -> None:
    """The most rows that a layer with `record_voxel_count` has given."""
    if module.record_voxel_count:
        count = getattr(module, MAX_VOXELS)
        count.clamp_(min=rows)


class SparseConvolution(SparseModule):
    """All of them; the classes with a number of dimensions in the name are this one with fewer arguments.

    `weight` is [out, *kernel_size, in]. A kernel of one voxel (with stride 1, or of SubMConv) multiplies by its
    memory read as [in, out], as spconv does. `algo`, `fp32_accum`, `large_kernel_fast_algo` have no effect.
    """

    def __init__(self, ndim: int, in_channels: int, out_channels: int, kernel_size: PerAxis = 3, stride: PerAxis = 1,
                 padding: PerAxis = 0, dilation: PerAxis = 1, groups: int = 1, bias: bool = True, subm: bool = False,
                 output_padding: PerAxis = 0, transposed: bool = False, inverse: bool = False,
                 indice_key: Optional[str] = None, algo: Optional[ConvAlgo] = None, fp32_accum: Optional[bool] = None,
                 record_voxel_count: bool = False, act_type=None, act_alpha: float = 0, act_beta: float = 0,
                 large_kernel_fast_algo: bool = False, name: Optional[str] = None, device=None, dtype=None):  # fmt: skip
        super().__init__(name=name)
        if groups != 1:
            raise ValueError(f"{type(self).__name__}: {groups} groups; sparse convolutions have one")
        if in_channels < 1 or out_channels < 1:
            raise ValueError(f"{type(self).__name__}: {in_channels} -> {out_channels} channels; both must be at least 1")
        self.ndim = ndim
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = expand_nd(ndim, kernel_size)
        self.stride = expand_nd(ndim, stride)
        self.padding = expand_nd(ndim, padding)
        self.dilation = expand_nd(ndim, dilation)
        self.output_padding = expand_nd(ndim, output_padding)
        if min(self.kernel_size) < 1:
            raise ValueError(f"{type(self).__name__}: kernel size {self.kernel_size}; its weight has no such shape")
        self.groups = groups
        self.subm = subm
        self.transposed = transposed
        self.inverse = inverse
        self.conv1x1 = math.prod(self.kernel_size) == 1 and (subm or math.prod(self.stride) == 1)
        if self.conv1x1 and not subm and any(self.padding):
            raise ValueError(f"{type(self).__name__}: padding {self.padding} of a kernel of one voxel and stride 1")
        self.indice_key = indice_key
        self.algo = ConvAlgo.MaskImplicitGemm if algo is None else algo
        self.fp32_accum = fp32_accum
        self.act_type = _activation_name(act_type)
        self.act_alpha = act_alpha
        self.act_beta = act_beta
        self.record_voxel_count = record_voxel_count and not subm and not inverse
        self.weight_shape = [out_channels, *self.kernel_size, in_channels]
        self.weight = nn.Parameter(torch.empty(self.weight_shape, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype)) if bias else None
        if self.record_voxel_count:
            self.register_buffer(MAX_VOXELS, torch.zeros(1, dtype=torch.int32, device=device))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform within `1 / sqrt(in volume)`: PyTorch's own default of a dense convolution."""
        bound = 1 / math.sqrt(max(1, self.in_channels * math.prod(self.kernel_size)))
        for parameter in (self.weight, self.bias):
            if parameter is not None:
                nn.init.uniform_(parameter, -bound, bound)

    def is_inverseable(self) -> bool:
        return self.indice_key is not None and not self.subm

    def get_max_num_voxels(self) -> Optional[torch.Tensor]:
        return getattr(self, MAX_VOXELS, None)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        text += f", padding={self.padding}, dilation={self.dilation}"
        for name in ("indice_key", "act_type"):
            if getattr(self, name) is not None:
                text += f", {name}={getattr(self, name)}"
        return text + ("" if self.bias is not None else ", bias=False")

    def forward(self, input: SparseConvTensor, add_input: Optional[SparseConvTensor] = None) -> SparseConvTensor:
        if not isinstance(input, SparseConvTensor):
            raise TypeError(f"{type(self).__name__}: the input is a {type(input).__name__}, not a SparseConvTensor")
        expect_fitting(type(self).__name__, input, self.ndim)
        if input.features.shape[1] != self.in_channels:
            raise ValueError(f"{type(self).__name__}: {input.features.shape[1]} channels for a layer of {self.in_channels}")
        if input.is_quantized:
            raise TypeError(f"{type(self).__name__}: quantized features are not supported")
        if input.benchmark or input._timer.enable:
            return self._timed(input, add_input)
        return self._convolved(input, add_input)

    def _convolved(self, input: SparseConvTensor, add_input: Optional[SparseConvTensor]) -> SparseConvTensor:
        if self.conv1x1:
            kernel = self.weight.view(self.in_channels, self.out_channels)
            features = input.features @ kernel if self.bias is None else torch.addmm(self.bias, input.features, kernel)
            return input.replace_feature(self._activated(features, add_input))
        if self.subm:
            data, indice_dict = maps.submanifold(input, self)
            map, indices, shape = data.map, input.indices, input.spatial_shape
        elif self.inverse:
            data, indice_dict = maps.undone(input, self), input.indice_dict
            map, indices, shape = data.map.transposed(data.indices, data.spatial_shape), data.indices, data.spatial_shape
        else:
            kind = "expanding" if self.transposed else "strided"
            data, indice_dict = maps.outgoing(input, self, kind, self.output_padding)
            map, indices, shape = data.map, data.out_indices, data.out_spatial_shape
        features = ops.convolution(input.features.contiguous(), kernel_of(self.weight), self.bias, map)
        record_voxel_count(self, indices.shape[0])
        return input._on(self._activated(features, add_input), indices, shape, indice_dict)

    def _activated(self, features: torch.Tensor, add_input: Optional[SparseConvTensor]) -> torch.Tensor:
        """spconv's fused end of a layer: something added, then an activation, in inference."""
        if add_input is not None:
            features = features + add_input.features
        if self.act_type is None:
            return features
        if self.training:
            raise RuntimeError(f"{type(self).__name__}: an activation inside a convolution has no gradient; use it in "
                               "inference, after eval()")  # fmt: skip
        if self.act_type == "LeakyReLU":
            return nn.functional.leaky_relu(features, self.act_alpha)
        return torch.relu(features) if self.act_type == "ReLU" else torch.sigmoid(features)

    def _timed(self, input: SparseConvTensor, add_input: Optional[SparseConvTensor]) -> SparseConvTensor:
        name = self.name or self._sparse_unique_name
        if not name:
            raise ValueError(f"{type(self).__name__}: a timed layer needs a name: assign_name_for_sparse_modules(model)")
        begin = _now(input)
        with input._timer.record(name):
            output = self._convolved(input, add_input)
        if input.benchmark:
            layer = {key: getattr(self, key) for key in ("kernel_size", "stride", "padding", "dilation", "output_padding",
                                                         "subm", "transposed", "out_channels")}  # fmt: skip
            layer["input_channels"] = self.in_channels
            record = output.benchmark_record.setdefault(
                name, {"type": "SparseConvolution", "time": [], "num_points": [], "num_out_points": [], "params": layer})  # fmt: skip
            record["time"].append(_now(input) - begin)
            record["num_points"].append(input.features.shape[0])
            record["num_out_points"].append(output.features.shape[0])
        return output


def _now(input: SparseConvTensor) -> float:
    if input.benchmark and input.features.is_cuda:
        torch.cuda.synchronize(input.features.device)
    return time.time()


def _activation_name(act_type) -> Optional[str]:
    """spconv passes an enumerator of its own; any object whose name is one of these is taken."""
    name = getattr(act_type, "name", act_type)
    if name in (None, "None_"):
        return None
    if name not in ("ReLU", "Sigmoid", "LeakyReLU"):
        raise ValueError(f"the activation '{name}' is none of ReLU, Sigmoid and LeakyReLU")
    return name


class _SubMConv(SparseConvolution):
    """Onto the rows that it reads; padding and stride have no effect."""

    dimensions: int

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True,
                 indice_key=None, algo=None, fp32_accum=None, large_kernel_fast_algo=False, name=None, **factory):  # fmt: skip
        super().__init__(self.dimensions, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, subm=True,
                         indice_key=indice_key, algo=algo, fp32_accum=fp32_accum,
                         large_kernel_fast_algo=large_kernel_fast_algo, name=name, **factory)  # fmt: skip


class _SparseConv(SparseConvolution):
    """Onto every output that its kernel reaches."""

    dimensions: int

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True,
                 indice_key=None, algo=None, fp32_accum=None, record_voxel_count=False, large_kernel_fast_algo=False,
                 name=None, **factory):  # fmt: skip
        super().__init__(self.dimensions, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
                         indice_key=indice_key, algo=algo, fp32_accum=fp32_accum, record_voxel_count=record_voxel_count,
                         large_kernel_fast_algo=large_kernel_fast_algo, name=name, **factory)  # fmt: skip


class _SparseConvTranspose(SparseConvolution):
    """Onto new rows `stride in - padding + d dilation`."""

    dimensions: int

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True,
                 indice_key=None, algo=None, fp32_accum=None, record_voxel_count=False, large_kernel_fast_algo=False,
                 name=None, **factory):  # fmt: skip
        super().__init__(self.dimensions, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
                         transposed=True, indice_key=indice_key, algo=algo, fp32_accum=fp32_accum,
                         record_voxel_count=record_voxel_count, large_kernel_fast_algo=large_kernel_fast_algo, name=name,
                         **factory)  # fmt: skip


class _SparseInverseConv(SparseConvolution):
    """Back onto the rows that the layer of `indice_key` led from; without a key, the layer of this kernel size that led to
    its input."""

    dimensions: int

    def __init__(self, in_channels, out_channels, kernel_size, indice_key=None, bias=True, algo=None,
                 fp32_accum=None, large_kernel_fast_algo=False, name=None, **factory):  # fmt: skip
        super().__init__(self.dimensions, in_channels, out_channels, kernel_size, bias=bias, inverse=True, indice_key=indice_key,
                         algo=algo, fp32_accum=fp32_accum, large_kernel_fast_algo=large_kernel_fast_algo, name=name,
                         **factory)  # fmt: skip


class SubMConv1d(_SubMConv):
    dimensions = 1


class SubMConv2d(_SubMConv):
    dimensions = 2


class SubMConv3d(_SubMConv):
    dimensions = 3


class SubMConv4d(_SubMConv):
    dimensions = 4


class SparseConv1d(_SparseConv):
    dimensions = 1


class SparseConv2d(_SparseConv):
    dimensions = 2


class SparseConv3d(_SparseConv):
    dimensions = 3


class SparseConv4d(_SparseConv):
    dimensions = 4


class SparseConvTranspose1d(_SparseConvTranspose):
    dimensions = 1


class SparseConvTranspose2d(_SparseConvTranspose):
    dimensions = 2


class SparseConvTranspose3d(_SparseConvTranspose):
    dimensions = 3


class SparseConvTranspose4d(_SparseConvTranspose):
    dimensions = 4


class SparseInverseConv1d(_SparseInverseConv):
    dimensions = 1


class SparseInverseConv2d(_SparseInverseConv):
    dimensions = 2


class SparseInverseConv3d(_SparseInverseConv):
    dimensions = 3


class SparseInverseConv4d(_SparseInverseConv):
    dimensions = 4
