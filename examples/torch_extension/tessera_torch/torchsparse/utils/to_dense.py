# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Dense tensors, channels last."""

from __future__ import annotations

import torch

from ... import ops
from .utils import make_ntuple


def to_dense(feats: torch.Tensor, coords: torch.Tensor, spatial_range) -> torch.Tensor:
    """[*spatial_range, channels] with `spatial_range` (batch, x, y, z); zero where there is no voxel."""
    batch_size, *shape = make_ntuple(spatial_range, coords.shape[1])
    return ops.dense(feats.contiguous(), coords.contiguous(), shape, batch_size, channels_first=False)
