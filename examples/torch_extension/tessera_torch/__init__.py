# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Sparse convolutions of Tessera in PyTorch.

`tessera_torch.spconv` has spconv's classes, `tessera_torch.torchsparse` TorchSparse's, `tessera_torch.ops` the
operators below both.
"""

from . import ops, spconv, torchsparse
from .spconv import SparseConvTensor, as_spconv
from .torchsparse import as_torchsparse
from .weights import weight_layout

__all__ = ["ops", "spconv", "torchsparse", "SparseConvTensor", "as_spconv", "as_torchsparse", "weight_layout"]
