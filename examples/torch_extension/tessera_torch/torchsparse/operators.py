# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Operations on several tensors."""

from __future__ import annotations

import torch

from .. import ops
from .tensor import SparseTensor
from .utils.tensor_cache import new_cache


def cat(inputs: list[SparseTensor]) -> SparseTensor:
    """Channels behind each other, of tensors on the same rows."""
    if not inputs:
        raise ValueError("cat: there are no tensors")
    first = inputs[0]
    for other in inputs[1:]:
        if other.coords.shape != first.coords.shape:
            raise ValueError(f"cat: {len(first.coords)} and {len(other.coords)} rows; they must be the same voxels")
    return first.like(torch.cat([x.feats for x in inputs], 1))


def generative_add(a: SparseTensor, b: SparseTensor) -> SparseTensor:
    """The sum by coordinate, absent voxels being 0; rows in lexicographic order."""
    feats, coords = ops.add_by_coordinate(a.feats.contiguous(), a.coords, b.feats.contiguous(), b.coords)
    ops.expect_rows_in_export(coords)
    larger = a if len(a.coords) >= len(b.coords) else b
    result = larger.like(feats, coords)
    result._caches = new_cache()
    return result
