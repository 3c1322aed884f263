# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""spconv's names: `from tessera_torch import spconv` in new code, `tessera_torch.as_spconv()` for code that imports
spconv itself."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
import types

import torch

from . import conv, functional, modules, pool, tensor, voxels
from .conv import *  # noqa: F403
from .conv import SparseConvolution
from .modules import (AddTable, AddTableMisaligned, ConcatTable, Identity, JoinTable, RemoveGrid, SparseBatchNorm,
                      SparseIdentity, SparseModule, SparseReLU, SparseSequential, ToDense,
                      assign_name_for_sparse_modules)  # fmt: skip
from .pool import *  # noqa: F403
from .pool import SparseGlobalAvgPool, SparseGlobalMaxPool
from .tensor import AlgoHint, ConvAlgo, SparseConvTensor

VERSION = "2.3.8"  # of spconv, whose names and rules these are


def _module(name: str, *sources, **names) -> types.ModuleType:
    """A module called `name` with the public names of `sources`, and `names`."""
    module = types.ModuleType(name)
    for source in sources:
        public = {k: v for k, v in vars(source).items() if not k.startswith("_") and k != "annotations"}
        module.__dict__.update({k: v for k, v in public.items() if not isinstance(v, types.ModuleType)})
    module.__dict__.update(names)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
    module.__path__ = []  # a submodule that is not here is a ModuleNotFoundError
    module.__tessera__ = True
    return module


def get_conv_output_size(input_size, kernel_size, stride, padding, dilation) -> list[int]:
    """Cells of the grid after a convolution; a kernel size of -1 covers its axis."""
    return [1 if k == -1 else (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(input_size, kernel_size, stride, padding, dilation)]  # fmt: skip


def get_deconv_output_size(input_size, kernel_size, stride, padding, dilation, output_padding) -> list[int]:
    """Cells of the grid after a transposed convolution. As spconv has it, dilation does not count."""
    return [(n - 1) * s - 2 * p + k + o
            for n, k, s, p, o in zip(input_size, kernel_size, stride, padding, output_padding)]  # fmt: skip


def _modules() -> dict[str, types.ModuleType]:
    this = sys.modules[__name__]
    numbers = [int(v) for v in VERSION.split(".")]
    sizes = dict(get_conv_output_size=get_conv_output_size, get_deconv_output_size=get_deconv_output_size)
    constants = _module("spconv.constants", ALL_WEIGHT_IS_KRSC=True, FILTER_HWIO=False, SPCONV_ALLOW_TF32=False,
                        SPCONV_DO_SORT=True, SAVED_WEIGHT_LAYOUT="")  # fmt: skip
    parts = {
        "core": _module("spconv.pytorch.core", tensor),
        "conv": _module("spconv.pytorch.conv", conv, expand_nd=tensor.expand_nd),
        "modules": _module("spconv.pytorch.modules", modules, is_sparse_conv=lambda m: isinstance(m, SparseConvolution)),
        "pool": _module("spconv.pytorch.pool", pool),
        "tables": _module("spconv.pytorch.tables", modules),
        "identity": _module("spconv.pytorch.identity", Identity=Identity),
        "functional": _module("spconv.pytorch.functional", functional),
        "ops": _module("spconv.pytorch.ops", ConvAlgo=ConvAlgo, **sizes),
        "utils": _module("spconv.pytorch.utils", PointToVoxel=voxels.PointToVoxel,
                         gather_features_by_pc_voxel_id=voxels.gather_features_by_pc_voxel_id),
        "constants": _module("spconv.pytorch.constants", constants, PYTORCH_VERSION=_numbers(torch.__version__)),
    }  # fmt: skip
    public = _module("spconv.pytorch", this, **parts)
    utils = _module("spconv.utils", voxels)
    core = _module("spconv.core", ConvAlgo=ConvAlgo, AlgoHint=AlgoHint)
    tools = _module("spconv.tools", CUDAKernelTimer=tensor.CUDAKernelTimer)
    top = _module("spconv", pytorch=public, utils=utils, core=core, constants=constants, tools=tools, ConvAlgo=ConvAlgo,
                  AlgoHint=AlgoHint, __version__=VERSION, SPCONV_VERSION_NUMBERS=numbers)  # fmt: skip
    found = {module.__name__: module for module in (top, public, utils, core, constants, tools, *parts.values())}
    if "cumm" not in sys.modules and importlib.util.find_spec("cumm") is None:
        found.update(_cumm())
    return found


def _cumm() -> dict[str, types.ModuleType]:
    """What OpenPCDet takes from spconv's array library to call the voxel generator: arrays become tensors."""
    view = _module("cumm.tensorview", from_numpy=torch.from_numpy, Tensor=torch.Tensor)
    return {"cumm": _module("cumm", tensorview=view), "cumm.tensorview": view}


def _numbers(version: str) -> list[int]:
    return [int("".join(c for c in part if c.isdigit()) or 0) for part in version.split("+")[0].split(".")[:3]]


def as_spconv() -> types.ModuleType:
    """From now on `import spconv`, `import spconv.pytorch` and what is below them mean this package.

    Call it before mmdetection3d, OpenPCDet or other code that imports spconv. Refused where a real spconv was
    imported already: its classes would be mixed with these.
    """
    loaded = sys.modules.get("spconv")
    if loaded is not None and not getattr(loaded, "__tessera__", False):
        raise ImportError(f"as_spconv: spconv is already imported, from {getattr(loaded, '__file__', 'somewhere')}; call "
                          "tessera_torch.as_spconv() before anything imports it")  # fmt: skip
    if loaded is None:
        sys.modules.update(_modules())
    return sys.modules["spconv"]
