# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Sums of tensors on different rows, with spconv's names."""

from __future__ import annotations

from . import ops
from .tensor import IndiceDict, SparseConvTensor


def sparse_add(*tensors: SparseConvTensor) -> SparseConvTensor:
    """The sum by coordinate: every row that one of them has, absent ones counting as 0. Rows are in lexicographic
    order; maps of the terms are left behind."""
    if not tensors:
        raise ValueError("sparse_add: there are no tensors to add")
    total = tensors[0]
    for other in tensors[1:]:
        if (other.spatial_shape, other.batch_size) != (total.spatial_shape, total.batch_size):
            raise ValueError(f"sparse_add: tensors of grids {total.spatial_shape} and {other.spatial_shape}, batches of "
                             f"{total.batch_size} and {other.batch_size}")  # fmt: skip
        if other.features.shape[1:] != total.features.shape[1:]:
            raise ValueError(f"sparse_add: tensors of {total.features.shape[1]} and {other.features.shape[1]} channels")
        if other.indices is total.indices:
            total = total + other
            continue
        features, indices = ops.add_by_coordinate(total.features.contiguous(), total.indices, other.features.contiguous(),
                                                  other.indices)  # fmt: skip
        ops.expect_rows_in_export(indices)
        total = total._on(features, indices, total.spatial_shape, IndiceDict())
    return total


sparse_add_hash_based = sparse_add
