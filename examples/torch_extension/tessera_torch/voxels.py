# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""spconv's voxel generators: `spconv.pytorch.utils.PointToVoxel`, `spconv.utils.Point2VoxelCPU3d`."""

from __future__ import annotations

import math
import numbers
from typing import Sequence, Union

import numpy as np
import torch

from . import ops


def _numbers(name: str, what: str, values: Sequence[float]) -> list[float]:
    try:
        return [float(v) for v in values]
    except (TypeError, ValueError):
        raise TypeError(f"{name}: the {what} {values!r} is not a list of numbers") from None


def _count(name: str, what: str, value: int) -> int:
    if not isinstance(value, numbers.Real) or not 1 <= value < 1 << 31 or int(value) != value:
        raise ValueError(f"{name}: {value!r} {what}; it must be a whole number from 1 to 2^31 - 1")
    return int(value)


def _cells_of(name: str, axis: int, lower: float, upper: float, size: float) -> int:
    """Of a grid's axis, in float32 and rounded as the library does: half a cell is one."""
    if not (size > 0 and math.isfinite(size)):
        raise ValueError(f"{name}: voxel size {size:g} on axis {axis}; it must be positive and finite")
    with np.errstate(all="ignore"):
        exact = float((np.float32(upper) - np.float32(lower)) / np.float32(size))
    cells = math.floor(exact + 0.5) if math.isfinite(exact) else exact
    if not 1 <= cells <= 1 << 30:
        raise ValueError(f"{name}: the range {lower:g} to {upper:g} on axis {axis} has {cells:g} voxels of {size:g}; there "
                         "must be 1 to 2^30")  # fmt: skip
    return int(cells)


class PointToVoxel:
    """Voxels of a point cloud, numbered by their first point: `max_num_voxels` at most, of each the first
    `max_num_points_per_voxel` points. In one to four dimensions; the same on every device.

    `vsize_xyz` the size of a voxel; `coors_range_xyz` the lower corner, then the upper one. The first columns of a
    point are its coordinates. Coordinates of voxels are in the opposite order, z y x.
    """

    def __init__(self, vsize_xyz: Sequence[float], coors_range_xyz: Sequence[float], num_point_features: int,
                 max_num_voxels: int, max_num_points_per_voxel: int, device: Union[torch.device, str] = "cpu"):  # fmt: skip
        name = type(self).__name__
        self._size = _numbers(name, "voxel size", vsize_xyz)
        self._range = _numbers(name, "range", coors_range_xyz)
        self.ndim = len(self._size)
        if not 1 <= self.ndim <= 4 or len(self._range) != 2 * self.ndim:
            raise ValueError(f"{name}: {self.ndim} sizes of a voxel and {len(self._range)} bounds; it takes 1 to 4 sizes "
                             "and two bounds for each")  # fmt: skip
        self.device = torch.device(device)
        self.num_point_features = _count(name, "columns of a point", num_point_features)
        self.max_num_voxels = _count(name, "voxels at most", max_num_voxels)
        self.max_num_points_per_voxel = _count(name, "points per voxel", max_num_points_per_voxel)
        if self.num_point_features < self.ndim:
            raise ValueError(f"{name}: points of {num_point_features} columns in {self.ndim} dimensions")
        if self.num_point_features * self.max_num_points_per_voxel > 1 << 20:
            raise ValueError(f"{name}: {max_num_points_per_voxel} points per voxel of {num_point_features} columns are more "
                             "than 2^20 numbers")  # fmt: skip
        grid = [_cells_of(name, axis, *v) for axis, v in enumerate(zip(self._range, self._range[self.ndim :], self._size))]
        self._grid_xyz = grid
        self.grid_size = grid[::-1]
        self.grid_stride = [math.prod(self.grid_size[i + 1 :]) for i in range(self.ndim)]
        self.vsize = self._size[::-1]
        self.coors_range = [*self._range[: self.ndim][::-1], *self._range[self.ndim :][::-1]]

    def __call__(self, pc: torch.Tensor, clear_voxels: bool = True, empty_mean: bool = False) -> tuple:
        """(voxels [v, max points, columns], indices int32 [v, ndim], points in each int32 [v])."""
        return self._voxels(pc, empty_mean)[:3]

    def generate_voxel_with_id(self, pc: torch.Tensor, clear_voxels: bool = True, empty_mean: bool = False) -> tuple:
        """As a call, and int64 [n], the voxel of each point, -1 where it has none. `empty_mean` fills the places
        after a voxel's last point with the mean of its points, else they are 0."""
        voxels, indices, counts = self._voxels(pc, empty_mean)
        cells, inside = self._cells(pc)
        first = cells.new_zeros((cells.shape[0], 1))
        queries = torch.cat([first, cells.flip(1)], 1).contiguous()
        rows = ops.find_rows(torch.cat([indices.new_zeros((indices.shape[0], 1)), indices], 1).contiguous(), queries)
        return voxels, indices, counts, torch.where(inside, rows.long(), -1)

    def _voxels(self, pc: torch.Tensor, empty_mean: bool) -> tuple:
        name = type(self).__name__
        if not isinstance(pc, torch.Tensor) or pc.layout != torch.strided:
            what = f"a tensor of layout {pc.layout}" if isinstance(pc, torch.Tensor) else f"a {type(pc).__name__}"
            raise TypeError(f"{name}: the points are {what}, not a dense tensor of PyTorch")
        if pc.dim() != 2 or pc.shape[1] != self.num_point_features:
            raise ValueError(f"{name}: points of shape {list(pc.shape)}, not [n, {self.num_point_features}]")
        if pc.device.type != self.device.type:
            raise ValueError(f"{name}: points on {pc.device}, the generator was made for {self.device}")
        if pc.dtype != torch.float32:
            raise ValueError(f"{name}: points are {pc.dtype}, they must be torch.float32")
        if pc.requires_grad:
            raise ValueError(f"{name}: points require a gradient, and voxels have none for them: points.detach()")
        with torch.no_grad():
            pc = pc.contiguous()
            if self.ndim == 3:
                voxels, indices, counts, means = ops.hard_voxelize(
                    pc, self._size, self._range, self.max_num_points_per_voxel, self.max_num_voxels)[:4]  # fmt: skip
                indices = indices[:, 1:].contiguous()
            else:
                voxels, indices, counts = self._by_sorting(pc)
                means = voxels.sum(1) / counts.clamp(min=1)[:, None]
            if empty_mean:
                empty = torch.arange(voxels.shape[1], device=pc.device)[None] >= counts[:, None]
                voxels = torch.where(empty[..., None], means[:, None], voxels)
        return voxels, indices, counts

    def _cells(self, pc: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(int32 [n, ndim] x y z, which points are in the grid)."""
        lower, size, grid = (pc.new_tensor(v) for v in (self._range[: self.ndim], self._size, self._grid_xyz))
        cells = torch.floor((pc[:, : self.ndim] - lower) / size)
        inside = ((cells >= 0) & (cells < grid)).all(1)
        return torch.where(inside[:, None], cells, 0).int(), inside

    def _by_sorting(self, pc: torch.Tensor) -> tuple:
        """The same voxels in any number of dimensions: the library's voxelizer has three."""
        cells, inside = self._cells(pc)
        points, cells = pc[inside], cells[inside]
        _, cell_of = torch.unique(cells, dim=0, return_inverse=True)
        number = torch.arange(points.shape[0], device=pc.device)
        count = int(cell_of.max()) + 1 if cell_of.numel() else 0
        first = number.new_full((count,), points.shape[0]).scatter_reduce(0, cell_of, number, "amin")
        by_first = first.argsort()
        voxel_of = torch.empty_like(by_first).scatter_(0, by_first, torch.arange(count, device=pc.device))[cell_of]
        order = voxel_of.argsort(stable=True)
        sizes = torch.zeros(count, dtype=torch.int64, device=pc.device).scatter_add_(0, voxel_of, torch.ones_like(number))
        place = number - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
        kept = (voxel_of[order] < self.max_num_voxels) & (place < self.max_num_points_per_voxel)
        rows = order[kept]
        count = min(count, self.max_num_voxels)
        voxels = pc.new_zeros((count, self.max_num_points_per_voxel, pc.shape[1]))
        voxels[voxel_of[rows], place[kept]] = points[rows]
        counts = sizes[:count].clamp(max=self.max_num_points_per_voxel).int()
        return voxels, cells[first[by_first][:count]].flip(1).contiguous(), counts


class _CPU(PointToVoxel):
    dimensions: int

    def __init__(self, vsize_xyz, coors_range_xyz, num_point_features, max_num_voxels, max_num_points_per_voxel):
        super().__init__(vsize_xyz, coors_range_xyz, num_point_features, max_num_voxels, max_num_points_per_voxel)
        if self.ndim != self.dimensions:
            raise ValueError(f"{type(self).__name__}: {self.ndim} sizes of a voxel, not {self.dimensions}")

    def point_to_voxel(self, pc, clear_voxels: bool = True):
        """Arrays of NumPy or tensors; the results have `.numpy()`."""
        return self(torch.as_tensor(pc, device=self.device), clear_voxels)

    def point_to_voxel_empty_mean(self, pc, clear_voxels: bool = True):
        return self(torch.as_tensor(pc, device=self.device), clear_voxels, empty_mean=True)


class Point2VoxelCPU1d(_CPU):
    dimensions = 1


class Point2VoxelCPU2d(_CPU):
    dimensions = 2


class Point2VoxelCPU3d(_CPU):
    dimensions = 3


class Point2VoxelCPU4d(_CPU):
    dimensions = 4


def gather_features_by_pc_voxel_id(seg_res_features: torch.Tensor, pc_voxel_id: torch.Tensor,
                                   invalid_value: Union[int, float] = 0) -> torch.Tensor:  # fmt: skip
    """What a network says of voxels, for every point; `invalid_value` for points without a voxel."""
    ids = pc_voxel_id.to(seg_res_features.device)
    missing = (ids < 0).view(-1, *[1] * (seg_res_features.dim() - 1))
    if seg_res_features.shape[0] == 0:
        return seg_res_features.new_full((ids.shape[0], *seg_res_features.shape[1:]), invalid_value)
    return torch.where(missing, invalid_value, seg_res_features[ids.clamp(min=0)]).to(seg_res_features.dtype)
