# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Layouts of weights: which one a checkpoint has, and how a module reads it."""

from __future__ import annotations

import contextlib
from typing import Optional

import torch

_assumed: Optional[str] = None


@contextlib.contextmanager
def weight_layout(layout: str):
    """While it lasts, load_state_dict() takes weights of two possible layouts for this one: "rsck" of spconv 1 and
    mmcv, or "rskc" of spconv 2.0 and 2.1. Needed where a layer has as many channels going in as out."""
    global _assumed
    if layout not in ("rsck", "rskc"):
        raise ValueError(f"weight_layout: '{layout}' is neither 'rsck' nor 'rskc'")
    before, _assumed = _assumed, layout
    try:
        yield
    finally:
        _assumed = before


def load_weight(weight: torch.Tensor, module) -> torch.Tensor:
    """`weight` of a checkpoint as `module.weight`, [out, *kernel_size, in].

    | layout  | shape                     | of                                             |
    |---------|---------------------------|------------------------------------------------|
    | krsc    | [out, *kernel_size, in]   | spconv from 2.2 on, this package               |
    | rsck    | [*kernel_size, in, out]   | spconv 1, mmcv.ops                             |
    | rskc    | [*kernel_size, out, in]   | spconv 2.0 and 2.1, native algorithm           |
    | tessera | [volume, in, out]         | the program convert_checkpoint                 |

    A kernel of one voxel is [in, out] in memory whatever its shape says, as spconv multiplies by it.
    """
    size, cin, cout = list(module.kernel_size), module.in_channels, module.out_channels
    shape, krsc = list(weight.shape), list(module.weight_shape)
    if shape == krsc:
        return weight
    volume = weight.numel() // max(1, cin * cout)
    if shape == [volume, cin, cout] or (volume == 1 and shape == [cin, cout]):
        return _krsc(weight.reshape(volume, cin, cout), module)
    if volume == 1 and shape[0] == cout and shape[-1] == cin and getattr(module, "conv1x1", False):
        return weight.reshape(krsc)  # of another number of axes
    is_rsck, is_rskc = shape == [*size, cin, cout], shape == [*size, cout, cin]
    if is_rsck and is_rskc and not _assumed:
        raise ValueError(f"a weight of shape {shape} may be spconv 1's [.., in, out] or spconv 2.0's [.., out, in]; "
                         "say which: with tessera_torch.weight_layout('rsck'): model.load_state_dict(...)")  # fmt: skip
    if is_rsck and (not is_rskc or _assumed == "rsck"):
        return _krsc(weight.reshape(volume, cin, cout), module)
    if is_rskc:
        return _krsc(weight.reshape(volume, cout, cin).transpose(1, 2), module)
    return weight  # PyTorch's own message names the shapes


def _krsc(kernel: torch.Tensor, module) -> torch.Tensor:
    """[volume, in, out] as the parameter of `module`."""
    if getattr(module, "conv1x1", False):
        return kernel.reshape(module.weight_shape)
    return kernel.permute(2, 0, 1).reshape(module.weight_shape)


def kernel_of(weight: torch.Tensor) -> torch.Tensor:
    """[out, *kernel_size, in] as [volume, in, out]: a view."""
    return weight.reshape(weight.shape[0], -1, weight.shape[-1]).permute(1, 2, 0)


def torchsparse_order(size) -> list[int]:
    """Of each of TorchSparse's weight indices the row-major one: its first axis is fastest where the kernel's volume
    is odd, its last where it is even."""
    x, y, z = size
    if x * y * z % 2 == 0:
        return list(range(x * y * z))
    return [(i * y + j) * z + k for k in range(z) for j in range(y) for i in range(x)]
