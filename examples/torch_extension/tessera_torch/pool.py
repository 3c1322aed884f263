# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""spconv's pools."""

from __future__ import annotations

import math
from typing import Optional

import torch

from . import maps, ops
from .conv import MAX_VOXELS, record_voxel_count
from .modules import SparseModule
from .tensor import ConvAlgo, PerAxis, SparseConvTensor, expand_nd, expect_fitting


class _Pool(SparseModule):
    mode: str

    def __init__(self, ndim: int, kernel_size: PerAxis = 3, stride: Optional[PerAxis] = 1, padding: PerAxis = 0,
                 dilation: PerAxis = 1, indice_key: Optional[str] = None, subm: bool = False,
                 algo: Optional[ConvAlgo] = None, record_voxel_count: bool = False, name: Optional[str] = None):  # fmt: skip
        super().__init__(name=name)
        self.ndim = ndim
        self.kernel_size = expand_nd(ndim, kernel_size)
        self.stride = list(self.kernel_size) if stride is None else expand_nd(ndim, stride)
        self.padding = expand_nd(ndim, padding)
        self.dilation = expand_nd(ndim, dilation)
        self.subm = subm
        self.indice_key = indice_key
        self.algo = ConvAlgo.MaskImplicitGemm if algo is None else algo
        self.record_voxel_count = record_voxel_count and not subm
        if self.record_voxel_count:
            self.register_buffer(MAX_VOXELS, torch.zeros(1, dtype=torch.int32))

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}"

    def get_max_num_voxels(self) -> Optional[torch.Tensor]:
        return getattr(self, MAX_VOXELS, None)

    def forward(self, input: SparseConvTensor) -> SparseConvTensor:
        if not isinstance(input, SparseConvTensor):
            raise TypeError(f"{type(self).__name__}: the input is a {type(input).__name__}, not a SparseConvTensor")
        expect_fitting(type(self).__name__, input, self.ndim)
        if self.subm:
            data, indice_dict = maps.submanifold(input, self)
            indices, shape = input.indices, input.spatial_shape
        else:
            # That a kernel of one voxel ignores its padding is so in spconv's convolutions, not in its pools.
            rules = "tessera" if math.prod(self.kernel_size) == 1 else "spconv"
            data, indice_dict = maps.outgoing(input, self, "strided", [0] * self.ndim, rules)
            indices, shape = data.out_indices, data.out_spatial_shape
        features = ops.pool(input.features.contiguous(), data.map, self.mode, from_zero=self.mode == "max")
        record_voxel_count(self, indices.shape[0])
        return input._on(features, indices, shape, indice_dict)


class SparseMaxPool(_Pool):
    """The largest of the rows that exist and 0: spconv begins at 0, and networks were trained so."""

    mode = "max"


class SparseAvgPool(_Pool):
    """The mean of the rows that exist; its gradient is that of a mean, which spconv's is not."""

    mode = "average"


class _GlobalPool(SparseModule):
    def __init__(self, is_mean: bool, name: Optional[str] = None):
        super().__init__(name=name)
        self.is_mean = is_mean

    def forward(self, input: SparseConvTensor) -> torch.Tensor:
        """[batch_size, channels]; 0 for a batch entry without rows."""
        return ops.global_pool(input.features.contiguous(), input.indices, input.batch_size,
                               "average" if self.is_mean else "max")  # fmt: skip


class SparseGlobalAvgPool(_GlobalPool):
    """Every channel; spconv gives the first alone."""

    def __init__(self, name: Optional[str] = None):
        super().__init__(is_mean=True, name=name)


class SparseGlobalMaxPool(_GlobalPool):
    def __init__(self, name: Optional[str] = None):
        super().__init__(is_mean=False, name=name)


class _DefaultStride:
    """The stride is the kernel size unless it is given."""

    dimensions: int

    def __init__(self, kernel_size, stride=None, padding=0, dilation=1, indice_key=None, algo=None,
                 record_voxel_count=False, name=None):  # fmt: skip
        super().__init__(self.dimensions, kernel_size, stride, padding, dilation, indice_key=indice_key, algo=algo,
                         record_voxel_count=record_voxel_count, name=name)  # fmt: skip


class SparseMaxPool1d(_DefaultStride, SparseMaxPool):
    dimensions = 1


class SparseMaxPool2d(_DefaultStride, SparseMaxPool):
    dimensions = 2


class SparseMaxPool3d(_DefaultStride, SparseMaxPool):
    dimensions = 3


class SparseMaxPool4d(_DefaultStride, SparseMaxPool):
    dimensions = 4


class SparseAvgPool1d(_DefaultStride, SparseAvgPool):
    dimensions = 1


class SparseAvgPool2d(_DefaultStride, SparseAvgPool):
    dimensions = 2


class SparseAvgPool3d(_DefaultStride, SparseAvgPool):
    dimensions = 3


class SparseAvgPool4d(_DefaultStride, SparseAvgPool):
    dimensions = 4
