# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Sparse convolutions of Tessera in PyTorch.

`tessera_torch.spconv` has spconv's classes, `tessera_torch.torchsparse` TorchSparse's, `tessera_torch.ops` the
operators below both.
"""

from . import ops, spconv
from .spconv import SparseConvTensor, as_spconv
from .weights import weight_layout

__all__ = ["ops", "spconv", "SparseConvTensor", "as_spconv", "weight_layout"]
