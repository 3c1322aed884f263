# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""TorchSparse's functions."""

from __future__ import annotations

from typing import Optional

import torch
from torch.nn import functional as torch_functional

from ... import ops
from ...maps import version_of
from ..tensor import SparseTensor
from ..utils.utils import make_ntuple
from . import conv_config
from .conv_config import (ConvMode, Dataflow, get_conv_mode, get_downsample_mode, get_kmap_mode, set_conv_mode,
                          set_downsample_mode, set_kmap_mode)  # fmt: skip
from .points import calc_ti_weights, spcount, spdevoxelize, sphash, sphashquery, spvoxelize
from .utils import fapply

__all__ = ["ConvMode", "Dataflow", "calc_ti_weights", "conv3d", "conv_config", "get_conv_mode", "get_downsample_mode",
           "get_kmap_mode", "global_avg_pool", "global_max_pool", "leaky_relu", "relu", "set_conv_mode",
           "set_downsample_mode", "set_kmap_mode", "silu", "spcount", "spcrop", "spdevoxelize", "spdownsample", "sphash",
           "sphashquery", "spvoxelize"]  # fmt: skip


def relu(input: SparseTensor, inplace: bool = True) -> SparseTensor:
    return fapply(input, torch_functional.relu, inplace=inplace)


def silu(input: SparseTensor, inplace: bool = True) -> SparseTensor:
    return fapply(input, torch_functional.silu, inplace=inplace)


def leaky_relu(input: SparseTensor, negative_slope: float = 0.1, inplace: bool = True) -> SparseTensor:
    return fapply(input, torch_functional.leaky_relu, negative_slope=negative_slope, inplace=inplace)


def row_major(weight: torch.Tensor, size: tuple) -> torch.Tensor:
    """TorchSparse's kernel [volume, in, out] with offsets in the library's order. Odd volumes of more than one axis
    cost a copy of the kernel."""
    if weight.dim() == 2:
        return weight[None]
    if sum(n > 1 for n in size) <= 1 or size[0] * size[1] * size[2] % 2 == 0:
        return weight
    x, y, z = size
    return weight.view(z, y, x, *weight.shape[1:]).permute(2, 1, 0, 3, 4).reshape(weight.shape)


def _expect_fitting(input: SparseTensor) -> None:
    feats, coords, grid = input.feats, input.coords, input.spatial_range
    if not isinstance(feats, torch.Tensor) or not isinstance(coords, torch.Tensor):
        raise TypeError(f"conv3d: feats are a {type(feats).__name__}, coords a {type(coords).__name__}; both must be tensors")
    if feats.dim() != 2 or coords.dim() != 2 or coords.shape[1] != 4 or feats.shape[0] != coords.shape[0]:
        raise ValueError(f"conv3d: feats of shape {list(feats.shape)} on coords of shape {list(coords.shape)}; they must be "
                         "[n, channels] and [n, 4]")  # fmt: skip
    if grid is not None and len(grid) != 4:
        raise ValueError(f"conv3d: a spatial range of {len(grid)} numbers, not (batch, x, y, z)")


def conv3d(input: SparseTensor, weight: torch.Tensor, kernel_size, bias: Optional[torch.Tensor] = None, stride=1,
           padding=0, dilation=1, config: Optional[dict] = None, transposed: bool = False, generative: bool = False,
           training: bool = False) -> SparseTensor:  # fmt: skip
    """A convolution; `weight` [volume, in, out] in TorchSparse's order of offsets, [in, out] for one voxel.

    Stride 1 stays on the input's rows. A transposed one goes back to the rows that the layer of the same kernel size,
    stride and dilation came from. `training` has no effect: gradients are there when PyTorch asks for them.
    """
    size, steps, pad, spread = (make_ntuple(v, 3) for v in (kernel_size, stride, padding, dilation))
    config = conv_config.config_of(config)
    ones = (1, 1, 1)
    _expect_fitting(input)
    if size == steps == spread == ones:
        feats = input.feats @ weight if bias is None else torch.addmm(bias, input.feats, weight)
        output = input.like(feats)
    else:
        if transposed and generative:
            map, coords, grid, out_stride = _generative(input, size, steps, spread, config)
        elif transposed:
            map, coords, grid, out_stride = _backwards(input, size, steps, pad, spread, config)
        else:
            map = _forwards(input, size, steps, pad, spread, config)
            coords, out_stride = map.coordinates, tuple(a * b for a, b in zip(input.stride, steps))
            grid = None if input.spatial_range is None else (input.spatial_range[0], *map.shape)
        feats = ops.convolution(input.feats.contiguous(), row_major(weight, size), bias, map,
                                conv_config.dataflow_of(config))  # fmt: skip
        output = input.like(feats, coords, out_stride, grid)
    output._caches.cmaps.setdefault(output.stride, (output.coords, output.spatial_range))
    return output


def _key(coords, stride, size, steps, pad, spread, config, grid) -> tuple:
    return (stride, size, steps, spread, pad, config.kmap_mode, config.downsample_mode, grid, id(coords), version_of(coords))


def _shape(input: SparseTensor) -> tuple[tuple, int]:
    return ((), 0) if input.spatial_range is None else (input.spatial_range[1:4], input.spatial_range[0])


def _forwards(input: SparseTensor, size, steps, pad, spread, config) -> ops.KernelMap:
    key = _key(input.coords, input.stride, size, steps, pad, spread, config, input.spatial_range)
    entry = input._caches.kmaps.get(key)
    if entry is None:
        submanifold = max(steps) == 1
        shape, batch_size = _shape(input)
        map = ops.kernel_map(input.coords, "submanifold" if submanifold else "strided", size, steps,
                             0 if submanifold else pad, spread, 0, shape, batch_size, "torchsparse", config.kmap_mode,
                             config.downsample_mode)  # fmt: skip
        if not submanifold:
            ops.expect_rows_in_export(map.coordinates)
        entry = input._caches.kmaps[key] = (map, input.coords, input.spatial_range)
    return entry[0]


def _backwards(input: SparseTensor, size, steps, pad, spread, config) -> tuple:
    """The transposed map of the layer that led to these rows, or of a layer that could have."""
    target = tuple(a // b for a, b in zip(input.stride, steps))
    entries = [e for key, e in input._caches.kmaps.items() if key[:4] == (target, size, steps, spread)]
    found = [e for e in entries if e[0].coordinates is input.coords]
    found = found or [e for e in entries if e[0].num_out == input.coords.shape[0]]
    if found:
        map, coords, grid = found[-1]
        return map.transposed(coords, () if grid is None else grid[1:]), coords, grid, target
    if target not in input._caches.cmaps:
        raise ValueError(f"conv3d: a transposed convolution from stride {input.stride} to {target}, but no layer of this "
                         f"scan gave or took a tensor of stride {target}")  # fmt: skip
    coords, grid = input._caches.cmaps[target]
    map = ops.pair_map(coords, input.coords, size, steps, pad, spread, () if grid is None else grid[1:], _shape(input)[0],
                       0 if grid is None else grid[0], config.kmap_mode)  # fmt: skip
    input._caches.kmaps[_key(coords, target, size, steps, pad, spread, config, grid)] = (map, coords, grid)
    return map.transposed(coords, () if grid is None else grid[1:]), coords, grid, target


def _generative(input: SparseTensor, size, steps, spread, config) -> tuple:
    shape, batch_size = _shape(input)
    map = ops.kernel_map(input.coords, "generative", size, steps, 0, spread, 0, shape, batch_size, "torchsparse",
                         config.kmap_mode, config.downsample_mode)  # fmt: skip
    ops.expect_rows_in_export(map.coordinates)
    target = tuple(max(1, a // b) for a, b in zip(input.stride, steps))
    grid = None if input.spatial_range is None else (batch_size, *map.shape)
    input._caches.kmaps = {}
    input._caches.cmaps[target] = (map.coordinates, grid)
    return map, map.coordinates, grid, target


def spdownsample(coords: torch.Tensor, stride=2, kernel_size=2, padding=0, spatial_range=None,
                 downsample_mode: str = "spconv") -> torch.Tensor:  # fmt: skip
    """int32 [voxels, 4], the rows of a strided convolution in the kernel map mode "hashmap"."""
    shape, batch_size = ((), 0) if spatial_range is None else (tuple(spatial_range[1:4]), spatial_range[0])
    return ops.kernel_map(coords, "strided", make_ntuple(kernel_size, 3), make_ntuple(stride, 3), make_ntuple(padding, 3),
                          1, 0, shape, batch_size, "torchsparse", "hashmap", downsample_mode).coordinates  # fmt: skip


def _pooled(input: SparseTensor, mode: str) -> torch.Tensor:
    return ops.global_pool(input.feats.contiguous(), input.coords, input.batch_size, mode)


def global_avg_pool(input: SparseTensor) -> torch.Tensor:
    """[batch, channels]; 0 for a batch entry without voxels."""
    return _pooled(input, "average")


def global_max_pool(input: SparseTensor) -> torch.Tensor:
    return _pooled(input, "max")


def spcrop(input: SparseTensor, coords_min: Optional[tuple] = None, coords_max: Optional[tuple] = None) -> SparseTensor:
    """The rows with `coords_min <= (x, y, z) < coords_max`, in their order."""
    xyz, kept = input.coords[:, 1:], torch.ones_like(input.coords[:, 0], dtype=torch.bool)
    if coords_min is not None:
        kept &= (xyz >= xyz.new_tensor(coords_min)).all(1)
    if coords_max is not None:
        kept &= (xyz < xyz.new_tensor(coords_max)).all(1)
    return SparseTensor(input.feats[kept], input.coords[kept], input.stride)
