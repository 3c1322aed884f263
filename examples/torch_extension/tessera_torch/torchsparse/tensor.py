# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""SparseTensor, with TorchSparse's fields and methods."""

from __future__ import annotations

from typing import Any, Optional

import torch

from .utils.tensor_cache import TensorCache, new_cache
from .utils.to_dense import to_dense
from .utils.utils import make_ntuple

_allow_negative_coordinates = False


def get_allow_negative_coordinates() -> bool:
    return _allow_negative_coordinates


def set_allow_negative_coordinates(value: bool) -> None:
    """Kept for programs that call it: negative coordinates are always legal."""
    global _allow_negative_coordinates
    _allow_negative_coordinates = bool(value)


class SparseTensor:
    """`feats` [n, channels] on `coords` int32 [n, 4], batch entry first, in units of the tensor's own `stride`.

    `spatial_range` (batch, x, y, z) bounds the grid; without it strided layers follow TorchSparse's rule for the
    border.
    """

    def __init__(self, feats, coords, stride=1, spatial_range: Optional[tuple] = None):
        if isinstance(feats, torch.Tensor) and isinstance(coords, torch.Tensor) and feats.device != coords.device:
            raise ValueError(f"SparseTensor: feats are on {feats.device}, coords on {coords.device}")
        rows = [v.shape[0] if hasattr(v, "shape") else len(v) for v in (feats, coords)]  # len() is a constant to a trace
        if rows[0] != rows[1]:
            raise ValueError(f"SparseTensor: {rows[0]} rows of feats and {rows[1]} of coords")
        self.feats = feats
        self.coords = coords
        self.stride = make_ntuple(stride, 3)
        self.spatial_range = None if spatial_range is None else tuple(int(v) for v in spatial_range)
        self._caches: TensorCache = new_cache()

    def __repr__(self) -> str:
        return f"SparseTensor(feats={list(self.feats.shape)}, stride={self.stride}, spatial_range={self.spatial_range})"

    @property
    def F(self):
        return self.feats

    @F.setter
    def F(self, feats) -> None:
        self.feats = feats

    @property
    def C(self):
        return self.coords

    @C.setter
    def C(self, coords) -> None:
        self.coords = coords

    @property
    def s(self) -> tuple:
        return self.stride

    @s.setter
    def s(self, stride) -> None:
        self.stride = make_ntuple(stride, 3)

    def cpu(self) -> "SparseTensor":
        return self.to("cpu", non_blocking=False)

    def cuda(self) -> "SparseTensor":
        return self.to("cuda", non_blocking=False)

    def half(self) -> "SparseTensor":
        self.feats = self.feats.half()
        return self

    def detach(self) -> "SparseTensor":
        self.coords, self.feats = self.coords.detach(), self.feats.detach()
        return self

    def to(self, device, non_blocking: bool = True) -> "SparseTensor":
        self.coords = self.coords.to(device, non_blocking=non_blocking)
        self.feats = self.feats.to(device, non_blocking=non_blocking)
        return self

    def dense(self) -> torch.Tensor:
        """[batch, x, y, z, channels]."""
        if self.spatial_range is None:
            raise ValueError("SparseTensor: dense() needs a spatial_range (batch, x, y, z)")
        return to_dense(self.feats, self.coords, self.spatial_range)

    @property
    def batch_size(self) -> int:
        """Of the range, or as many entries as the rows name, which waits for the device."""
        if self.spatial_range is not None:
            return self.spatial_range[0]
        return int(self.coords[:, 0].max()) + 1 if self.coords.shape[0] else 0

    def like(self, feats, coords=None, stride=None, spatial_range: Any = "same") -> "SparseTensor":
        """What a layer makes of this tensor; the cache is one and the same."""
        result = object.__new__(SparseTensor)
        result.feats = feats
        result.coords = self.coords if coords is None else coords
        result.stride = self.stride if stride is None else stride
        result.spatial_range = self.spatial_range if spatial_range == "same" else spatial_range
        result._caches = self._caches
        return result

    def __add__(self, other: "SparseTensor") -> "SparseTensor":
        """Row by row: both have the same rows in the same order."""
        if self.coords.shape != other.coords.shape:
            raise ValueError(f"SparseTensor: a sum of {len(self.coords)} and {len(other.coords)} rows; they must be the "
                             "same voxels")  # fmt: skip
        return self.like(self.feats + other.feats)


class PointTensor:
    """Points with features, and what is remembered of their voxels."""

    def __init__(self, feats, coords, idx_query: Optional[dict] = None, weights: Optional[dict] = None):
        self.F = feats
        self.C = coords
        self.idx_query = {} if idx_query is None else idx_query
        self.weights = {} if weights is None else weights
        self.additional_features: dict = {"idx_query": {}, "counts": {}}

    def cuda(self) -> "PointTensor":
        return self.to("cuda", non_blocking=False)

    def detach(self) -> "PointTensor":
        self.F, self.C = self.F.detach(), self.C.detach()
        return self

    def to(self, device, non_blocking: bool = True) -> "PointTensor":
        self.F, self.C = (v.to(device, non_blocking=non_blocking) for v in (self.F, self.C))
        return self

    def __add__(self, other: "PointTensor") -> "PointTensor":
        result = PointTensor(self.F + other.F, self.C, self.idx_query, self.weights)
        result.additional_features = self.additional_features
        return result
