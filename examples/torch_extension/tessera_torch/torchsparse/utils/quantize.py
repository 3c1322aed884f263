# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Voxels of points in NumPy."""

from __future__ import annotations

from typing import Sequence, Union

import numpy as np
import torch


def _array(values) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def sparse_quantize(coords, voxel_size: Union[float, Sequence[float]] = 1, *, return_index: bool = False,
                    return_inverse: bool = False):  # fmt: skip
    """`floor(coords / voxel_size)` without duplicates, int32 [voxels, 3] in lexicographic order; on request also the
    first point of each voxel and the voxel of each point."""
    coords, size = _array(coords), _array(voxel_size)
    if size.ndim == 0:
        size = np.repeat(size, 3)
    if size.shape != (3,):
        raise ValueError(f"sparse_quantize: {len(size)} sizes of a voxel; there are three axes")
    if coords.ndim != 2 or coords.shape[1] != 3:
        raise ValueError(f"sparse_quantize: coords of shape {list(coords.shape)}, not [n, 3]")
    if not ((size > 0) & np.isfinite(size)).all():
        raise ValueError(f"sparse_quantize: voxels of {size.tolist()}; sizes must be positive and finite")
    with np.errstate(over="ignore", invalid="ignore"):
        cells = np.floor(coords / size)
    outside = ~(np.abs(cells) < 2.0**31).all(1)  # NaN too
    if outside.any():
        row = int(outside.argmax())
        raise ValueError(f"sparse_quantize: point {row} at {coords[row].tolist()} has no voxel: {int(outside.sum())} of "
                         f"{len(coords)} points are not finite or 2^31 voxels away")  # fmt: skip
    cells = cells.astype(np.int32)
    _, index, inverse = np.unique(cells, axis=0, return_index=True, return_inverse=True)
    results = [cells[index]] + [index] * return_index + [inverse.reshape(-1)] * return_inverse
    return results[0] if len(results) == 1 else results
