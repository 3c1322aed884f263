# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Batches of scans."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..tensor import SparseTensor


def sparse_collate(inputs: list[SparseTensor]) -> SparseTensor:
    """One tensor of several scans: coords [n, 3] get a batch column in front, numbered by their place in the list."""
    if not inputs:
        raise ValueError("sparse_collate: there are no tensors")
    strides = {x.stride for x in inputs}
    if len(strides) != 1:
        raise ValueError(f"sparse_collate: tensors of strides {sorted(strides)}")
    coords, feats = [], []
    for entry, x in enumerate(inputs):
        c, f = (torch.as_tensor(v) for v in (x.coords, x.feats))
        if c.dim() != 2 or c.shape[1] != 3:
            raise ValueError(f"sparse_collate: coords of shape {list(c.shape)}, not [n, 3]: without a batch column")
        coords.append(torch.cat([c.new_full((c.shape[0], 1), entry), c], 1).int())
        feats.append(f)
    return SparseTensor(torch.cat(feats), torch.cat(coords), stride=inputs[0].stride)


def sparse_collate_fn(inputs: list[Any]) -> Any:
    """For a DataLoader: dictionaries entry by entry, arrays stacked, sparse tensors collated."""
    first = inputs[0]
    if not isinstance(first, dict):
        return inputs
    output = {}
    for name, value in first.items():
        values = [x[name] for x in inputs]
        if isinstance(value, dict):
            output[name] = sparse_collate_fn(values)
        elif isinstance(value, np.ndarray):
            output[name] = torch.stack([torch.tensor(v) for v in values])
        elif isinstance(value, torch.Tensor):
            output[name] = torch.stack(values)
        elif isinstance(value, SparseTensor):
            output[name] = sparse_collate(values)
        else:
            output[name] = values
    return output
