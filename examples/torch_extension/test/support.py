# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""What the tests share: recorded files, comparisons."""

import json
import os
import pathlib
import struct
import unittest

import numpy as np
import torch

from tessera_torch import SparseConvTensor
from tessera_torch.convert import read_safetensors  # noqa: F401  (for the tests)

ROOT = pathlib.Path(__file__).resolve().parents[3]
DATA = pathlib.Path(os.environ.get("TESSERA_TEST_DATA", ROOT.parent / "shared"))
SHAPE = [9, 8, 7]


def recorded(name: str) -> pathlib.Path:
    """A file below the recorded data, or the test is skipped."""
    path = DATA / name
    if not path.exists():
        raise unittest.SkipTest(f"there is no {name} below {DATA} (TESSERA_TEST_DATA)")
    return path


def read_metadata(path: pathlib.Path) -> dict:
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(size)).get("__metadata__", {})


def relative(got: torch.Tensor, want: torch.Tensor) -> float:
    """Largest difference over the largest magnitude."""
    got, want = got.detach().double(), want.detach().double()
    return float((got - want).abs().max() / want.abs().max().clamp(min=1e-12)) if want.numel() else 0.0


def distance(got: torch.Tensor, want: torch.Tensor) -> float:
    """`norm(got - want) / norm(want)`."""
    got, want = got.detach().double(), want.detach().double()
    return float((got - want).norm() / want.norm())


def by_coordinate(coords: torch.Tensor) -> torch.Tensor:
    """The order of rows that sorts coordinates lexicographically."""
    return torch.from_numpy(np.lexsort(coords.cpu().numpy().T[::-1]).copy())


def cloud(seed: int, rows: int, extent: list, batch_size: int) -> torch.Tensor:
    """Random coordinates int32 [at most rows, 1 + D] in random order, no two alike."""
    generator = torch.Generator().manual_seed(seed)
    columns = [torch.randint(0, n, (rows,), generator=generator) for n in (batch_size, *extent)]
    coords = torch.unique(torch.stack(columns, 1), dim=0).int()
    return coords[torch.randperm(len(coords), generator=generator)].contiguous()


def tensor(channels=4, seed=1, rows=120, shape=SHAPE, batch_size=2, dtype=torch.float32) -> SparseConvTensor:
    coords = cloud(seed, rows, list(shape), batch_size)
    features = torch.randn(len(coords), channels, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return SparseConvTensor(features, coords, shape, batch_size)
