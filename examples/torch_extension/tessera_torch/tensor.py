# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""SparseConvTensor, with spconv's fields and methods, and the kernel maps that its layers share."""

from __future__ import annotations

import contextlib
import enum
import math
import time
from typing import Any, Optional, Sequence, Union

import torch

from . import ops

PerAxis = Union[int, Sequence[int]]


class ConvAlgo(enum.Enum):
    """spconv's algorithms: accepted everywhere, and without effect. Tessera computes all alike."""

    Native = 0
    MaskImplicitGemm = 1
    MaskSplitImplicitGemm = 2


class AlgoHint(enum.Enum):
    NoHint = 0
    Fowrard = 1  # spconv's spelling
    BackwardInput = 2
    BackwardWeight = 4


def whole(value) -> int:
    """As an int; a TypeError where that would be another number."""
    if isinstance(value, (str, bytes)) or int(value) != value:
        raise TypeError(f"{value!r} is not a whole number")
    return int(value)


def expand_nd(ndim: int, value: PerAxis) -> list[int]:
    """`value` on each of `ndim` axes, from one number or one number an axis."""
    try:
        is_one = not hasattr(value, "__len__") or getattr(value, "ndim", 1) == 0  # an array without axes is a number
        values = [whole(value)] * ndim if is_one else [whole(v) for v in value]
    except (TypeError, ValueError):
        raise TypeError(f"{value!r} is neither a whole number nor one for each of {ndim} axes") from None
    if len(values) != ndim:
        raise ValueError(f"{values} has {len(values)} numbers for {ndim} axes")
    return values


class IndiceData:
    """What a layer leaves under its indice_key: its kernel map, and what later layers compare."""

    __slots__ = ("map", "indices", "spatial_shape", "out_spatial_shape", "is_subm", "algo", "ksize", "stride",
                 "dilation", "padding", "voxel_num")  # fmt: skip

    def __init__(self, map: ops.KernelMap, indices, spatial_shape, out_spatial_shape, is_subm, algo, ksize, stride,
                 dilation, padding):  # fmt: skip
        self.map = map
        self.indices = indices
        self.spatial_shape = spatial_shape
        self.out_spatial_shape = out_spatial_shape
        self.is_subm = is_subm
        self.algo = algo
        self.ksize = ksize
        self.stride = stride
        self.dilation = dilation
        self.padding = padding
        self.voxel_num: Optional[Any] = None

    @property
    def out_indices(self) -> torch.Tensor:
        return self.map.coordinates

    @property
    def pair_fwd(self) -> torch.Tensor:
        """[volume, rows out]: the input row under each offset, or -1."""
        return self.map.out_in.t()

    @property
    def pair_bwd(self) -> torch.Tensor:
        """[volume, rows in]: the output row under each offset, or -1."""
        return self.map.transposed(self.indices, self.spatial_shape).out_in.t()

    @property
    def indice_pair_num(self) -> torch.Tensor:
        return (self.map.out_in >= 0).sum(0, dtype=torch.int32)

    @property
    def indice_pairs(self) -> torch.Tensor:
        """[2, volume, rows in]: input and output rows of each offset's pairs, then -1."""
        pairs = self.map.out_in.new_full((2, self.map.volume, self.map.num_in), -1)
        for k in range(self.map.volume):
            rows = (self.map.out_in[:, k] >= 0).nonzero(as_tuple=True)[0]
            pairs[0, k, : rows.numel()] = self.map.out_in[rows, k]
            pairs[1, k, : rows.numel()] = rows.int()
        return pairs


ImplicitGemmIndiceData = IndiceData


class IndiceDict(dict):
    """Indice data by indice_key. Beside them `maps`, shared by all copies: the same by geometry, so that layers
    without a key share too."""

    def __init__(self, entries=(), maps: Optional[dict] = None):
        super().__init__(entries)
        self.maps: dict = {} if maps is None else maps

    def copy(self) -> "IndiceDict":
        return IndiceDict(self, self.maps)


class CUDAKernelTimer:
    """Milliseconds of the layers of a tensor made with `enable_timer`, by name."""

    def __init__(self, enable: bool = False):
        self.enable = enable
        self._pairs: dict[str, tuple] = {}
        self._names: list[str] = []

    @contextlib.contextmanager
    def namespace(self, name: str):
        self._names.append(name)
        try:
            yield
        finally:
            self._names.pop()

    @contextlib.contextmanager
    def record(self, name: str, stream: int = 0):
        if not self.enable:
            yield
            return
        name = ".".join([*self._names, name])
        if torch.cuda.is_available():
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            yield
            end.record()
            self._pairs[name] = (begin, end)
        else:
            begin = time.perf_counter()
            yield
            self._pairs[name] = (begin, time.perf_counter())

    def get_all_pair_time(self) -> dict[str, float]:
        """Waits for the device."""
        times = {}
        for name, (begin, end) in self._pairs.items():
            if isinstance(begin, float):
                times[name] = 1e3 * (end - begin)
            else:
                end.synchronize()
                times[name] = begin.elapsed_time(end)
        return times


class SparseConvTensor:
    """Features on the cells of a grid.

    `features` [rows, channels]; `indices` int32 [rows, 1 + D], columns (batch entry, then the axes of
    `spatial_shape`), no two rows alike. Features are replaced, not assigned: `x = x.replace_feature(f(x.features))`.
    """

    def __init__(self, features: torch.Tensor, indices: torch.Tensor, spatial_shape: Sequence[int], batch_size: int,
                 grid: Optional[torch.Tensor] = None, voxel_num: Optional[torch.Tensor] = None,
                 indice_dict: Optional[dict] = None, benchmark: bool = False,
                 permanent_thrust_allocator: bool = False, enable_timer: bool = False,
                 force_algo: Optional[ConvAlgo] = None):  # fmt: skip
        _check(features, indices, spatial_shape, batch_size)
        self._features = features
        self.indices = indices if indices.is_contiguous() else indices.contiguous()
        self.spatial_shape = expand_nd(len(spatial_shape), spatial_shape)
        self.batch_size = int(batch_size)
        self.indice_dict = indice_dict if isinstance(indice_dict, IndiceDict) else IndiceDict(indice_dict or ())
        self.grid = torch.empty(0) if grid is None else grid  # neither it nor voxel_num has a use here
        self.voxel_num = voxel_num
        self.benchmark = benchmark
        self.benchmark_record: dict = {}
        self.thrust_allocator = None  # memory is PyTorch's
        self._timer = CUDAKernelTimer(enable_timer)
        self.force_algo = force_algo
        self.int8_scale = None

    def __repr__(self) -> str:
        return (f"SparseConvTensor[shape={list(self._features.shape)}, grid={self.spatial_shape}, "
                f"batch_size={self.batch_size}]")  # fmt: skip

    @property
    def features(self) -> torch.Tensor:
        return self._features

    @features.setter
    def features(self, value):
        raise ValueError("SparseConvTensor: features are not assigned; write x = x.replace_feature(features)")

    @property
    def spatial_size(self) -> int:
        return math.prod(self.spatial_shape)

    @property
    def sparity(self) -> float:
        """How much of the grid is there; spconv's spelling."""
        return self.indices.shape[0] / self.spatial_size / self.batch_size

    @property
    def is_quantized(self) -> bool:
        return self._features.dtype == torch.qint8

    def q_scale(self) -> float:
        if self.is_quantized:
            return self._features.q_scale()
        raise ValueError("SparseConvTensor: q_scale() of features that are not quantized")

    def dequantize(self) -> "SparseConvTensor":
        return self.replace_feature(self._features.dequantize())

    def shadow_copy(self) -> "SparseConvTensor":
        """Another tensor of the same members."""
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        return copy

    def replace_feature(self, feature: torch.Tensor) -> "SparseConvTensor":
        """The same rows with other features [rows, any channels]."""
        copy = self.shadow_copy()
        copy._features = feature
        return copy

    def _on(self, features: torch.Tensor, indices: torch.Tensor, spatial_shape: Sequence[int],
            indice_dict: Optional[IndiceDict] = None) -> "SparseConvTensor":  # fmt: skip
        """What a layer makes of this tensor: other rows of the same scans, and the same maps."""
        copy = self.shadow_copy()
        copy._features = features
        copy.indices = indices
        copy.spatial_shape = list(spatial_shape)
        if indice_dict is not None:
            copy.indice_dict = indice_dict
        return copy

    def select_by_index(self, valid_indices: torch.Tensor) -> "SparseConvTensor":
        """Some of the rows, by number or by mask. Maps of the others are left behind."""
        return self._on(self._features[valid_indices], self.indices[valid_indices], self.spatial_shape, IndiceDict())

    def minus(self) -> "SparseConvTensor":
        return self.replace_feature(-self._features)

    @classmethod
    def from_dense(cls, x: torch.Tensor) -> "SparseConvTensor":
        """The cells of a dense tensor [batch, *spatial_shape, channels] of which a channel is not zero."""
        features, indices = ops.sparse(x)
        return cls(features, indices, x.shape[1:-1], x.shape[0])

    def dense(self, channels_first: bool = True) -> torch.Tensor:
        """[batch, channels, *spatial_shape], or channels last; zero where there is no row."""
        if self._features.is_floating_point():
            features = self._features.contiguous()
            return ops.dense(features, self.indices, self.spatial_shape, self.batch_size, channels_first)
        full = self._features.new_zeros((self.batch_size, *self.spatial_shape, self._features.shape[1]))
        full[tuple(self.indices.long().t())] = self._features  # labels, masks
        return full.movedim(-1, 1).contiguous() if channels_first else full

    def find_indice_pair(self, key) -> Optional[IndiceData]:
        return None if key is None else self.indice_dict.get(key)

    def __add__(self, other: Union["SparseConvTensor", torch.Tensor]) -> "SparseConvTensor":
        """Row by row: both have the same rows in the same order."""
        return self.replace_feature(self._features + _features_of(other))

    __radd__ = __add__

    def __iadd__(self, other: Union["SparseConvTensor", torch.Tensor]) -> "SparseConvTensor":
        return self + other


def _features_of(value: Union[SparseConvTensor, torch.Tensor]) -> torch.Tensor:
    if isinstance(value, SparseConvTensor):
        return value._features
    if isinstance(value, torch.Tensor):
        return value
    raise TypeError(f"SparseConvTensor: cannot add a {type(value).__name__}")


def expect_fitting(name: str, x: SparseConvTensor, ndim: int) -> None:
    """replace_feature() takes any features, since programs change the indices after it; a layer looks."""
    if x.features.layout != torch.strided:
        raise TypeError(f"{name}: features have the layout {x.features.layout}; it must be dense")
    if x.features.dim() != 2 or x.features.shape[0] != x.indices.shape[0]:
        raise ValueError(f"{name}: features of shape {list(x.features.shape)} on {x.indices.shape[0]} rows of indices; they "
                         "must be [rows, channels]")  # fmt: skip
    if len(x.spatial_shape) != ndim:
        raise ValueError(f"{name}: a tensor of {len(x.spatial_shape)} axes for a layer of {ndim}")


def _check(features: torch.Tensor, indices: torch.Tensor, spatial_shape: Sequence[int], batch_size: int) -> None:
    if not isinstance(features, torch.Tensor) or not isinstance(indices, torch.Tensor):
        raise TypeError("SparseConvTensor: features and indices must be tensors of PyTorch")
    if not hasattr(spatial_shape, "__len__"):
        raise TypeError(f"SparseConvTensor: the spatial shape {spatial_shape!r} is not a list with one number an axis")
    if features.dim() != 2 or indices.dim() != 2:
        raise ValueError(f"SparseConvTensor: features have {features.dim()} and indices {indices.dim()} dimensions; "
                         "both must have 2: rows and columns")  # fmt: skip
    if indices.dtype != torch.int32:
        raise ValueError(f"SparseConvTensor: indices are {indices.dtype}, they must be torch.int32: indices.int()")
    if indices.shape[1] != len(spatial_shape) + 1:
        raise ValueError(f"SparseConvTensor: indices have {indices.shape[1]} columns for a grid of "
                         f"{len(spatial_shape)} axes; they need {len(spatial_shape) + 1}, batch entry first")  # fmt: skip
    if features.shape[0] != indices.shape[0]:
        raise ValueError(f"SparseConvTensor: {features.shape[0]} rows of features and {indices.shape[0]} of indices")
    if features.device != indices.device:
        raise ValueError(f"SparseConvTensor: features are on {features.device}, indices on {indices.device}")
    try:
        batch_size = whole(batch_size)
    except (TypeError, ValueError):
        raise TypeError(f"SparseConvTensor: a batch of {batch_size!r}, which is not a whole number") from None
    if batch_size <= 0:
        raise ValueError(f"SparseConvTensor: a batch of {batch_size}")
