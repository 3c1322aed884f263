# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
from . import functional, utils
from .modules import (BatchNorm, Conv3d, GlobalAvgPool, GlobalMaxPool, GroupNorm, InstanceNorm, LeakyReLU, ReLU, SiLU,
                      SparseCrop)  # fmt: skip

__all__ = ["BatchNorm", "Conv3d", "GlobalAvgPool", "GlobalMaxPool", "GroupNorm", "InstanceNorm", "LeakyReLU", "ReLU",
           "SiLU", "SparseCrop", "functional", "utils"]  # fmt: skip
