# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Points and voxels."""

from __future__ import annotations

from typing import Optional

import torch

_BASIS, _PRIME = -3750763034362895579, 1099511628211  # FNV's, the first as a signed number


def sphash(coords: torch.Tensor, offsets: Optional[torch.Tensor] = None) -> torch.Tensor:
    """int64 [n], FNV-1a over the 32-bit columns (batch, x, y, z); with `offsets` int32 [k, 3] int64 [k, n], of the
    coordinates moved by each."""
    if offsets is not None:
        moved = coords[None].repeat(len(offsets), 1, 1)
        moved[..., 1:] += offsets[:, None].to(coords)
        return sphash(moved.view(-1, coords.shape[1])).view(len(offsets), len(coords))
    hashed = torch.full_like(coords[:, 0], 0, dtype=torch.int64) + _BASIS
    for column in coords.long().t():
        hashed = (hashed ^ (column & 0xFFFFFFFF)) * _PRIME
    return hashed


def sphashquery(queries: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """int32, of each query the lowest index of an equal reference, or -1."""
    if references.numel() == 0:
        return torch.full_like(queries, -1, dtype=torch.int32)
    known, order = torch.sort(references.view(-1), stable=True)
    flat = queries.reshape(-1)
    place = torch.searchsorted(known, flat).clamp(max=known.numel() - 1)
    return torch.where(known[place] == flat, order[place], -1).int().view(queries.shape)


def spcount(idx: torch.Tensor, num: int) -> torch.Tensor:
    """int32 [num], how often each number occurs; negative ones do not count."""
    return torch.bincount(idx[idx >= 0].long(), minlength=int(num))[: int(num)].int()


def spvoxelize(feats: torch.Tensor, idx: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """[voxels, channels], the mean of each voxel's points: `sum over i with idx[i] = v of feats[i] / counts[v]`, added
    in the order of the points."""
    idx = idx.long()
    if len(counts) == 0 or len(feats) == 0:
        return torch.cat([feats[:0], feats.new_zeros((len(counts), feats.shape[1]))])
    kept = ((idx >= 0) & (idx < len(counts))).nonzero(as_tuple=True)[0]
    order = kept[torch.argsort(idx[kept], stable=True)]
    voxel = idx[order]
    lengths = torch.bincount(voxel, minlength=len(counts))
    parts = feats[order] / counts[voxel].clamp(min=1).to(feats.dtype)[:, None]
    return torch.segment_reduce(parts, "sum", lengths=lengths, axis=0, initial=0)


def calc_ti_weights(coords: torch.Tensor, idx_query: torch.Tensor, scale: float = 1) -> torch.Tensor:
    """[n, 8], trilinear weights of a point's eight corners (lower before upper, z fastest) over those that exist;
    `coords` [n, 3] are x, y, z."""
    with torch.no_grad():
        cells = coords[:, :3] / scale
        upper = cells - cells.floor()
        sides = torch.stack([1 - upper, upper], 2)  # [n, axis, lower or upper]
        weights = torch.einsum("ni,nj,nk->nijk", *sides.unbind(1)).reshape(-1, 8)
        weights = torch.where(idx_query < 0, 0, weights)
        return weights / (weights.sum(1, keepdim=True) + 1e-8)


def spdevoxelize(feats: torch.Tensor, idx: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """[n, channels], `sum over k of weights[i, k] feats[idx[i, k]]`, absent corners counting as 0."""
    if feats.shape[0] == 0:
        if bool((idx >= 0).any()):
            raise IndexError("spdevoxelize: corners of voxels, of which there are none")
        feats = torch.cat([feats, feats.new_zeros((1, feats.shape[1]))])
    corners = torch.where((idx < 0)[..., None], 0, feats[idx.clamp(min=0).long()])
    return (corners * weights.to(feats.dtype)[..., None]).sum(1)
