# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""How convolutions are computed: modes, dataflows, kernel maps."""

from __future__ import annotations

import enum
import threading
from typing import Optional, Union

from ... import ops
from .. import backends


class ConvMode(enum.Enum):
    mode0 = 0
    mode1 = 1
    mode2 = 2


class Dataflow(enum.IntEnum):
    ImplicitGEMM = 0
    GatherScatter = 1
    FetchOnDemand = 2
    CodedCSR = 3


class ConvConfig(dict):
    """Fields by name or as attributes."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name, value):
        self[name] = value


class _Modes(threading.local):
    conv_mode = ConvMode.mode0
    kmap_mode: Optional[str] = None
    downsample_mode: Optional[str] = None


_modes = _Modes()
_global_config: Optional[ConvConfig] = None
KMAP_MODES = ("hashmap_on_the_fly", "hashmap")
DOWNSAMPLE_MODES = ("spconv", "minkowski")


def get_default_conv_config(conv_mode: ConvMode = ConvMode.mode0, training: bool = False) -> ConvConfig:
    """A new configuration of a conv mode; changing it changes nothing else."""
    sort = conv_mode is not ConvMode.mode0
    return ConvConfig(dataflow=Dataflow.ImplicitGEMM, ifsort=sort, kmap_mode="hashmap_on_the_fly",
                      downsample_mode="spconv", split_mask_num=3 if conv_mode is ConvMode.mode2 else 1,
                      split_mask_num_bwd=3, epsilon=0.0, mm_thresh=0, FOD_fusion=True)  # fmt: skip


def get_global_conv_config() -> Optional[ConvConfig]:
    return _global_config


def set_global_conv_config(config: dict) -> None:
    """For every layer without a config of its own; fields that are not given have their defaults."""
    global _global_config
    unknown = set(config) - set(get_default_conv_config())
    if unknown:
        raise ValueError(f"set_global_conv_config: there is no field {sorted(unknown)}")
    _global_config = ConvConfig({**get_default_conv_config(), **config})


def clear_global_conv_config() -> None:
    global _global_config
    _global_config = None


def get_conv_mode() -> ConvMode:
    return _modes.conv_mode


def set_conv_mode(mode: Union[int, str, ConvMode]) -> None:
    """0: unsorted implicit GEMM; 1: sorted; 2: sorted, its offsets in three parts. Of the calling thread. The same
    numbers up to rounding."""
    _modes.conv_mode = _conv_mode(mode)


def _conv_mode(mode) -> ConvMode:
    if isinstance(mode, ConvMode):
        return mode
    for known in ConvMode:
        if mode in (known.value, known.name):
            return known
    raise ValueError(f"set_conv_mode: {mode!r} is none of 0, 1, 2")


def get_kmap_mode() -> str:
    return _modes.kmap_mode or "hashmap_on_the_fly"


def set_kmap_mode(mode: str) -> None:
    """"hashmap_on_the_fly" or "hashmap". Unlike TorchSparse's, which stores it and never looks, it acts."""
    if mode not in KMAP_MODES:
        raise ValueError(f"set_kmap_mode: '{mode}' is none of {', '.join(KMAP_MODES)}")
    _modes.kmap_mode = mode


def get_downsample_mode() -> str:
    return _modes.downsample_mode or "spconv"


def set_downsample_mode(mode: str) -> None:
    """"spconv" or "minkowski", of the kernel map mode "hashmap". It acts."""
    if mode not in DOWNSAMPLE_MODES:
        raise ValueError(f"set_downsample_mode: '{mode}' is none of {', '.join(DOWNSAMPLE_MODES)}")
    _modes.downsample_mode = mode


def config_of(layer_config: Optional[dict]) -> ConvConfig:
    """The layer's, else the global one, else that of the conv mode and the kernel map modes."""
    if layer_config:
        return ConvConfig({**get_default_conv_config(get_conv_mode()), **layer_config})
    if _global_config is not None:
        return _global_config
    config = get_default_conv_config(get_conv_mode())
    config.kmap_mode, config.downsample_mode = get_kmap_mode(), get_downsample_mode()
    return config


def dataflow_of(config: ConvConfig) -> ops.Dataflow:
    """As the operators take it."""
    names = {0: "implicit_gemm", 1: "gather_scatter", 2: "fetch_on_demand"}
    if int(config.dataflow) not in names:
        raise ValueError(f"conv3d: the dataflow {config.dataflow} is none of ImplicitGEMM, GatherScatter, FetchOnDemand")
    sort = bool(config.ifsort)
    return ops.Dataflow(names[int(config.dataflow)], sort, config.split_mask_num if sort else 1,
                        "tf32" if backends.allow_tf32 else "exact")  # fmt: skip
