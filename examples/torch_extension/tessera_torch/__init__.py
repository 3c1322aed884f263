# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Sparse convolutions of Tessera in PyTorch.

`tessera_torch.spconv` has spconv's classes, `tessera_torch.torchsparse` TorchSparse's, `tessera_torch.ops` the
operators below both; `tessera_torch.mmdet3d` and `tessera_torch.convert` are imported when they are first named.
"""

import importlib

from . import ops, spconv, torchsparse
from .spconv import SparseConvTensor, as_spconv
from .torchsparse import as_torchsparse
from .weights import weight_layout

__all__ = ["ops", "spconv", "torchsparse", "SparseConvTensor", "as_spconv", "as_torchsparse", "weight_layout"]


def __getattr__(name: str):
    if name in ("convert", "mmdet3d"):
        return importlib.import_module("." + name, __name__)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
