# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""The layers of this package in mmdetection3d's registry.

    import tessera_torch

    tessera_torch.mmdet3d.register()

before mmdet3d is imported. After it the names of mmdetection3d's configurations (SubMConv3d, SparseConv3d,
SparseInverseConv3d, TorchSparseConv3d, TorchSparseBatchNorm, ...) mean these layers, and mmdet3d's blocks and encoders,
which import spconv themselves, get this package for it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys

from . import conv, spconv
from .torchsparse import nn as torchsparse_nn

class GroupNorm(torchsparse_nn.GroupNorm):
    """As mmcv's build_norm_layer() calls what is not PyTorch's own: the channels first."""

    def __init__(self, num_channels: int, num_groups: int, **arguments):
        super().__init__(num_groups, num_channels, **arguments)


NAMES = {
    **{name: getattr(conv, name) for name in vars(conv) if name[-2:] in ("1d", "2d", "3d", "4d") and name[0] == "S"},
    "TorchSparseConv3d": torchsparse_nn.Conv3d,
    "TorchSparseBatchNorm": torchsparse_nn.BatchNorm,
    "TorchSparseBN": torchsparse_nn.BatchNorm,
    "TorchSparseGroupNorm": GroupNorm,
    "TorchSparseGN": GroupNorm,
    "TorchSparseReLU": torchsparse_nn.ReLU,
    "TorchSparseLeakyReLU": torchsparse_nn.LeakyReLU,
}


def register(as_spconv: bool = True) -> list[str]:
    """Returns the registries that have the layers now: mmengine's root, from which mmdet3d's scope inherits, and
    mmcv 1's CONV_LAYERS, where they are installed. `as_spconv=False` leaves `import spconv` as it is."""
    if as_spconv:
        blocks = sys.modules.get("mmdet3d.models.layers.spconv")
        if blocks is not None and not getattr(sys.modules.get("spconv"), "__tessera__", False):
            raise ImportError("tessera_torch.mmdet3d: mmdet3d.models is imported already, and its blocks are made for another "
                              "library's tensors; call register() before")  # fmt: skip
        spconv.as_spconv()
    # mmcv and mmdet3d register layers of these names when they are imported, once and without force.
    with contextlib.suppress(ImportError):
        import mmcv.ops  # noqa: F401
    if "torchsparse" in sys.modules or importlib.util.find_spec("torchsparse") is not None:
        with contextlib.suppress(ImportError):
            import mmdet3d.models.layers.torchsparse  # noqa: F401
    registries = {}
    try:
        from mmengine.registry import MODELS

        registries["mmengine.MODELS"] = MODELS
    except ImportError:
        pass
    try:
        from mmcv.cnn import CONV_LAYERS

        registries["mmcv.CONV_LAYERS"] = CONV_LAYERS
    except ImportError:
        pass
    if not registries:
        raise ImportError("tessera_torch.mmdet3d: neither mmengine nor mmcv 1 is installed")
    for registry in registries.values():
        for name, layer in NAMES.items():
            registry.register_module(name=name, force=True, module=layer)
    return list(registries)
