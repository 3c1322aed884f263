# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Small helpers, with TorchSparse's names."""

from __future__ import annotations

from itertools import repeat

import torch


def make_ntuple(x, ndim: int) -> tuple:
    """One number on every axis, or `ndim` numbers."""
    if isinstance(x, torch.Tensor):
        x = x.view(-1).tolist()
    x = tuple(repeat(x, ndim)) if isinstance(x, int) else tuple(int(v) for v in x)
    if len(x) != ndim:
        raise ValueError(f"{x} has {len(x)} numbers for {ndim} axes")
    return x


def make_tensor(x: tuple, dtype: torch.dtype, device) -> torch.Tensor:
    return torch.tensor(x, dtype=dtype, device=device)


def make_divisible(x: int, divisor: int) -> int:
    """The next multiple of `divisor`."""
    return (x + divisor - 1) // divisor * divisor
