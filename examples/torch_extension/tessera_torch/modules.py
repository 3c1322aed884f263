# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Containers, norms and activations that take a SparseConvTensor, with spconv's names."""
from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from .tensor import SparseConvTensor
from .weights import load_weight


class SparseModule(nn.Module):
    """A module that SparseSequential gives the tensor itself, not its features.

    mmdetection3d assigns `_version` and `_load_from_state_dict` of this class, so both are here and not in the
    convolutions.
    """

    _version = 2

    def __init__(self, name: str | None = None):
        super().__init__()
        self.name = name
        self._sparse_unique_name = ""

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs):
        key = prefix + "weight"
        if hasattr(self, "weight_shape") and isinstance(state_dict.get(key), torch.Tensor):
            try:
                state_dict[key] = load_weight(state_dict[key], self)
            except ValueError as error:
                error_msgs.append(f"{key}: {error}")
                return
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)


class TakesTensor:
    """Mixed into a module of PyTorch: SparseSequential gives it the tensor itself too."""


def is_spconv_module(module: nn.Module) -> bool:
    return isinstance(module, (SparseModule, TakesTensor))


def assign_name_for_sparse_modules(module: nn.Module) -> None:
    for name, child in module.named_modules():
        if isinstance(child, SparseModule):
            child._sparse_unique_name = name


class SparseSequential(SparseModule):
    """Modules one after the other: those of PyTorch get the features, sparse ones the tensor."""

    def __init__(self, *args, **kwargs):
        super().__init__()
        if len(args) == 1 and isinstance(args[0], OrderedDict):
            named = list(args[0].items())
        else:
            named = [(str(i), module) for i, module in enumerate(args)]
        for name, module in [*named, *kwargs.items()]:
            if name in self._modules:
                raise ValueError(f"SparseSequential: two modules are called '{name}'")
            self.add_module(name, module)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return type(self)(OrderedDict(list(self._modules.items())[index]))
        if not -len(self) <= index < len(self):
            raise IndexError(f"SparseSequential: module {index} of {len(self)}")
        return list(self._modules.values())[index]

    def __len__(self):
        return len(self._modules)

    def __iter__(self):
        return iter(self._modules.values())

    def add(self, module: nn.Module, name: str | None = None) -> None:
        name = str(len(self._modules)) if name is None else name
        if name in self._modules:
            raise KeyError(f"SparseSequential: a module is already called '{name}'")
        self.add_module(name, module)

    def forward(self, input):
        for module in self._modules.values():
            if isinstance(input, SparseConvTensor) and not is_spconv_module(module):
                if input.indices.shape[0] != 0:  # norms refuse no rows
                    input = input.replace_feature(module(input.features))
            else:
                input = module(input)
        return input


class _OnFeatures(TakesTensor):
    """Mixed into a module of PyTorch: applied to the features of a SparseConvTensor, or to a Tensor."""

    def forward(self, input):
        if isinstance(input, SparseConvTensor):
            return input.replace_feature(super().forward(input.features))
        return super().forward(input)


class SparseBatchNorm(_OnFeatures, nn.BatchNorm1d):
    pass


class SparseSyncBatchNorm(_OnFeatures, nn.SyncBatchNorm):
    pass


class SparseReLU(_OnFeatures, nn.ReLU):
    pass


class SparseLeakyReLU(_OnFeatures, nn.LeakyReLU):
    pass


class SparseIdentity(_OnFeatures, nn.Identity):
    pass


class SparseGroupNorm(TakesTensor, nn.GroupNorm):
    """Each batch entry by itself over its own rows, as TorchSparse's group norm."""

    def forward(self, input):
        if not isinstance(input, SparseConvTensor):
            return super().forward(input)
        if input.indices.shape[0] == 0:
            return input
        features, batch = input.features, input.indices[:, 0]
        normed = torch.empty_like(features)
        for entry in range(input.batch_size):
            rows = (batch == entry).nonzero(as_tuple=True)[0]
            if rows.numel():
                normed[rows] = super().forward(features[rows].t().unsqueeze(0)).squeeze(0).t().to(normed.dtype)
        return input.replace_feature(normed)


class Identity(nn.Module):
    def forward(self, input):
        return input

    def input_spatial_size(self, out_size):
        return out_size


class ToDense(SparseModule):
    """The dense tensor [batch, channels, *spatial_shape]."""

    def forward(self, x: SparseConvTensor) -> torch.Tensor:
        return x.dense()


class RemoveGrid(SparseModule):
    """There is no grid to remove; kept for programs that name it."""

    def forward(self, x: SparseConvTensor) -> SparseConvTensor:
        x.grid = None
        return x


class PrintTensorMeta(nn.Module):
    def forward(self, x):
        values = x.features if isinstance(x, SparseConvTensor) else x
        print(*(f(values) if values.numel() else None for f in (torch.min, torch.max, torch.mean)))
        return x


def _same_rows(tensors: list[SparseConvTensor], name: str) -> None:
    if not tensors:
        raise ValueError(f"{name}: there are no tensors")
    first = tensors[0]
    for other in tensors[1:]:
        if (other.spatial_shape, other.batch_size) != (first.spatial_shape, first.batch_size):
            raise ValueError(f"{name}: tensors of grids {first.spatial_shape} and {other.spatial_shape}, batches of "
                             f"{first.batch_size} and {other.batch_size}")
        if other.indices.shape[0] != first.indices.shape[0]:
            raise ValueError(f"{name}: tensors of {first.indices.shape[0]} and {other.indices.shape[0]} rows; "
                             "AddTableMisaligned adds tensors of other coordinates")


class JoinTable(SparseModule):
    """Concatenates the channels of tensors on the same rows."""

    def forward(self, input: list[SparseConvTensor]) -> SparseConvTensor:
        _same_rows(input, "JoinTable")
        return input[0].replace_feature(torch.cat([x.features for x in input], 1))

    def input_spatial_size(self, out_size):
        return out_size


class AddTable(SparseModule):
    """Adds tensors on the same rows."""

    def forward(self, input: list[SparseConvTensor]) -> SparseConvTensor:
        _same_rows(input, "AddTable")
        return input[0].replace_feature(sum(x.features for x in input))

    def input_spatial_size(self, out_size):
        return out_size


class AddTableMisaligned(SparseModule):
    """Adds tensors by coordinate: the result has every coordinate that one of them has."""

    def forward(self, input: list[SparseConvTensor]) -> SparseConvTensor:
        from .functional import sparse_add
        return sparse_add(*input)

    def input_spatial_size(self, out_size):
        return out_size


class ConcatTable(SparseModule):
    """The results of its modules for the same input, as a list."""

    def forward(self, input) -> list:
        return [module(input) for module in self._modules.values()]

    def add(self, module: nn.Module) -> "ConcatTable":
        self.add_module(str(len(self._modules)), module)
        return self

    def input_spatial_size(self, out_size):
        return self._modules["0"].input_spatial_size(out_size)
