# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Small helpers, with TorchSparse's names."""

from __future__ import annotations

import torch

from ...tensor import expand_nd


def make_ntuple(x, ndim: int) -> tuple:
    """One number on every axis, or `ndim` numbers."""
    if isinstance(x, torch.Tensor) and x.dim() > 0:
        x = x.view(-1).tolist()
    return tuple(expand_nd(ndim, x))


def make_tensor(x: tuple, dtype: torch.dtype, device) -> torch.Tensor:
    return torch.tensor(x, dtype=dtype, device=device)


def make_divisible(x: int, divisor: int) -> int:
    """The next multiple of `divisor`."""
    return (x + divisor - 1) // divisor * divisor
