# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Voxels of points in NumPy."""

from __future__ import annotations

from typing import Sequence, Union

import numpy as np


def sparse_quantize(coords, voxel_size: Union[float, Sequence[float]] = 1, *, return_index: bool = False,
                    return_inverse: bool = False):  # fmt: skip
    """`floor(coords / voxel_size)` without duplicates, int32 [voxels, 3] in lexicographic order; on request also the
    first point of each voxel and the voxel of each point."""
    if isinstance(voxel_size, (float, int)):
        voxel_size = (voxel_size,) * 3
    if len(voxel_size) != 3:
        raise ValueError(f"sparse_quantize: {len(voxel_size)} sizes of a voxel; there are three axes")
    cells = np.floor(np.asarray(coords) / np.asarray(voxel_size)).astype(np.int32)
    _, index, inverse = np.unique(cells, axis=0, return_index=True, return_inverse=True)
    results = [cells[index]] + [index] * return_index + [inverse.reshape(-1)] * return_inverse
    return results[0] if len(results) == 1 else results
