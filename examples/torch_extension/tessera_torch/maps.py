# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Kernel maps for layers: by indice_key where one is given, else by geometry."""

from __future__ import annotations

from typing import Optional, Sequence

import torch

from . import ops
from .tensor import IndiceData, IndiceDict, SparseConvTensor


def version_of(indices: torch.Tensor) -> int:
    """Counts changes in place; tensors of inference mode do not count."""
    return 0 if indices.is_inference() else indices._version


def _shared(x: SparseConvTensor, kind: str, layer, stride, padding, output_padding, rules: str) -> IndiceData:
    """The map of a layer of this geometry on these indices, made once for all tensors that come from one."""
    key = (id(x.indices), version_of(x.indices), kind, tuple(layer.kernel_size), tuple(stride), tuple(padding),
           tuple(layer.dilation), tuple(output_padding), tuple(x.spatial_shape), rules)  # fmt: skip
    data = x.indice_dict.maps.get(key)
    if data is None:
        map = ops.kernel_map(x.indices, kind, layer.kernel_size, stride, padding, layer.dilation, output_padding,
                             x.spatial_shape, x.batch_size, rules)  # fmt: skip
        # `data` holds the indices, so their id stays theirs for as long as the entry.
        data = IndiceData(map, x.indices, x.spatial_shape, list(map.shape), kind == "submanifold", layer.algo,
                          list(layer.kernel_size), list(stride), list(layer.dilation), list(padding))  # fmt: skip
        x.indice_dict.maps[key] = data
    return data


@torch.compiler.disable
def submanifold(x: SparseConvTensor, layer) -> tuple[IndiceData, IndiceDict]:
    """spconv's rule: centred whatever the layer's padding, onto the same rows whatever its stride."""
    found = x.find_indice_pair(layer.indice_key)
    if found is not None:
        _check_submanifold(x, layer, found)
        return found, x.indice_dict
    data = _shared(x, "submanifold", layer, [1] * layer.ndim, [0] * layer.ndim, [0] * layer.ndim, "spconv")
    return data, _kept(x, layer.indice_key, data)


@torch.compiler.disable
def outgoing(x: SparseConvTensor, layer, kind: str, output_padding: Sequence[int],
             rules: str = "spconv") -> tuple[IndiceData, IndiceDict]:  # fmt: skip
    """Of a layer onto coordinates of its own: "strided" or "expanding"."""
    if x.find_indice_pair(layer.indice_key) is not None:
        raise ValueError(f"{type(layer).__name__}: another layer has the indice_key '{layer.indice_key}'; only "
                         "submanifold layers share one, and inverse convolutions name the layer that they undo")  # fmt: skip
    data = _shared(x, kind, layer, layer.stride, layer.padding, output_padding, rules)
    ops.expect_rows_in_export(data.out_indices)
    return data, _kept(x, layer.indice_key, data)


@torch.compiler.disable
def undone(x: SparseConvTensor, layer) -> IndiceData:
    """The layer that an inverse convolution undoes: the one of its key, or without a key the one of its kernel size
    that led to these rows."""
    name = type(layer).__name__
    if layer.indice_key is None:
        candidates = [d for d in x.indice_dict.maps.values()
                      if d.out_indices is x.indices and not d.is_subm and d.ksize == layer.kernel_size]  # fmt: skip
        if len(candidates) != 1:
            raise ValueError(f"{name}: {len(candidates)} layers of kernel size {layer.kernel_size} led to this tensor; "
                             "an indice_key says which one is undone")  # fmt: skip
        return candidates[0]
    data = x.find_indice_pair(layer.indice_key)
    if data is None:
        raise ValueError(f"{name}: no layer before this one has the indice_key '{layer.indice_key}'; there are "
                         f"{sorted(map(str, x.indice_dict))}")  # fmt: skip
    if data.is_subm:
        raise ValueError(f"{name}: '{layer.indice_key}' is the key of a submanifold layer, which stays where it is; "
                         "an inverse convolution undoes SparseConv or a pool")  # fmt: skip
    if data.ksize != layer.kernel_size:
        raise ValueError(f"{name}: the layer of '{layer.indice_key}' has kernel size {data.ksize}, this one "
                         f"{layer.kernel_size}")  # fmt: skip
    if list(data.out_spatial_shape) != x.spatial_shape or data.out_indices.shape[0] != x.indices.shape[0]:
        raise ValueError(f"{name}: the layer of '{layer.indice_key}' led to {data.out_indices.shape[0]} rows on the "
                         f"grid {list(data.out_spatial_shape)}, this tensor has {x.indices.shape[0]} on "
                         f"{x.spatial_shape}")  # fmt: skip
    return data


def _kept(x: SparseConvTensor, key: Optional[str], data: IndiceData) -> IndiceDict:
    """The dictionary with one more entry: a copy, since other branches of the network have theirs."""
    if key is None:
        return x.indice_dict
    with_key = x.indice_dict.copy()
    with_key[key] = data
    return with_key


def _check_submanifold(x: SparseConvTensor, layer, data: IndiceData) -> None:
    name, key = type(layer).__name__, layer.indice_key
    if not data.is_subm:
        raise ValueError(f"{name}: '{key}' is the key of a layer that leads to other rows; submanifold layers share "
                         "keys with each other")  # fmt: skip
    for what, theirs, ours in (("kernel size", data.ksize, layer.kernel_size),
                               ("dilation", data.dilation, layer.dilation),
                               ("grid", list(data.spatial_shape), x.spatial_shape),
                               ("rows", data.indices.shape[0], x.indices.shape[0])):  # fmt: skip
        if theirs != ours:
            raise ValueError(f"{name}: layers of the indice_key '{key}' must have the same {what}: {theirs} and {ours}")
