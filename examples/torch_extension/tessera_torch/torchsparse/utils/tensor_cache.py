# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""What the layers of one scan share."""

from __future__ import annotations

import enum
from typing import Optional


class TensorCacheMode(enum.Enum):
    SEPARATE_TENSOR_CACHE = 0
    GLOBAL_TENSOR_CACHE = 1


class TensorCache:
    """`cmaps`: the first (coords, spatial_range) of each tensor stride. `kmaps`: kernel maps, by everything that
    tells them apart."""

    def __init__(self):
        self.cmaps: dict = {}
        self.kmaps: dict = {}
        self.hashmaps: dict = {}  # Tessera's tables live no longer than the building of a map


_mode = TensorCacheMode.SEPARATE_TENSOR_CACHE
_global: Optional[TensorCache] = None


def get_tensor_cache_mode() -> TensorCacheMode:
    return _mode


def set_tensor_cache_mode(mode: TensorCacheMode) -> None:
    global _mode
    if not isinstance(mode, TensorCacheMode):
        raise TypeError(f"set_tensor_cache_mode: {mode!r} is not a TensorCacheMode")
    _mode = mode


def get_global_tensor_cache() -> Optional[TensorCache]:
    return _global


def set_global_tensor_cache(cache: TensorCache) -> None:
    global _global
    _global = cache


def clear_global_tensor_cache() -> None:
    global _global
    _global = TensorCache()


def new_cache() -> TensorCache:
    """Of a tensor that was not made by a layer."""
    if _mode is TensorCacheMode.SEPARATE_TENSOR_CACHE:
        return TensorCache()
    if _global is None:
        clear_global_tensor_cache()
    return _global
