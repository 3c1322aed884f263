# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""TorchSparse's names: `from tessera_torch import torchsparse`, or `as_torchsparse()` for code that imports torchsparse
itself."""

from __future__ import annotations

import sys

from . import backends, backbones, nn, operators, tensor, utils
from .operators import cat, generative_add
from .tensor import PointTensor, SparseTensor
from .utils import collate, quantize, tensor_cache, to_dense

__version__ = "2.1.0"  # of TorchSparse, whose names and rules these are
__all__ = ["SparseTensor", "PointTensor", "as_torchsparse", "backends", "cat", "generative_add", "nn", "utils"]


def as_torchsparse():
    """From now on `import torchsparse` and what is below it mean this package. Refused where a real one is imported."""
    this = sys.modules[__name__]
    loaded = sys.modules.get("torchsparse")
    if loaded not in (None, this):
        raise ImportError(f"as_torchsparse: torchsparse is already imported, from {getattr(loaded, '__file__', 'somewhere')}; "
                          "call as_torchsparse() before anything imports it")  # fmt: skip
    for name, module in list(sys.modules.items()):
        if name == __name__ or name.startswith(__name__ + "."):
            sys.modules["torchsparse" + name[len(__name__) :]] = module
    return this
