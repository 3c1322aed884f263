# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Helpers of layers."""

from __future__ import annotations

import itertools
from typing import Callable

import torch

from ..tensor import SparseTensor
from ..utils.utils import make_ntuple


def fapply(input: SparseTensor, fn: Callable[..., torch.Tensor], *args, **kwargs) -> SparseTensor:
    """`fn` on the features; rows, range and cache stay."""
    return input.like(fn(input.feats, *args, **kwargs))


def get_kernel_offsets(size, stride=1, dilation=1, device="cpu") -> torch.Tensor:
    """int32 [volume, 3]: where a kernel's offsets are, in the order of the weights: first axis fastest for an odd
    volume, last axis for an even one."""
    size, stride, dilation = (make_ntuple(v, 3) for v in (size, stride, dilation))
    axes = [[o * s * d for o in range(1 - (n + 1) // 2, n // 2 + 1)] for n, s, d in zip(size, stride, dilation)]
    if size[0] * size[1] * size[2] % 2 == 1:
        offsets = [(x, y, z) for z, y, x in itertools.product(*reversed(axes))]
    else:
        offsets = list(itertools.product(*axes))
    return torch.tensor(offsets, dtype=torch.int32, device=device)
