# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""What the tests share: the device they run on, recorded files, comparisons."""

import json
import os
import pathlib
import struct
import unittest

import numpy as np
import torch

from tessera_torch import SparseConvTensor, convert

ROOT = pathlib.Path(__file__).resolve().parents[3]
DATA = pathlib.Path(os.environ.get("TESSERA_TEST_DATA", ROOT.parent / "shared"))
SHAPE = [9, 8, 7]

# run.py sets it, once for each device that there is. What tests make without saying where is made there.
DEVICE = torch.device(os.environ.get("TESSERA_TORCH_TEST_DEVICE", "cpu"))
ON_CPU = DEVICE.type == "cpu"
WIDE = torch.float64 if ON_CPU else torch.float32  # the widest type that operators take
ROUNDING = 1e-9 if ON_CPU else 1e-5  # of sums in it, relative
torch.set_default_device(DEVICE)
torch.backends.cudnn.allow_tf32 = False  # dense layers are what sparse ones are compared with

cpu_only = unittest.skipUnless(ON_CPU, "of the CPU alone")


def recorded(name: str) -> pathlib.Path:
    """A file below the recorded data, or the test is skipped."""
    path = DATA / name
    if not path.exists():
        raise unittest.SkipTest(f"there is no {name} below {DATA} (TESSERA_TEST_DATA)")
    return path


def read_safetensors(path: pathlib.Path) -> tuple[dict, dict]:
    """(tensors on the device of the tests, metadata)"""
    tensors, metadata = convert.read_safetensors(path)
    return {name: value.to(DEVICE) for name, value in tensors.items()}, metadata


def random(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Normal numbers, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64, device="cpu").to(DEVICE, dtype)


def uniform(*shape: int, seed: int) -> torch.Tensor:
    """Numbers in [0, 1), the same on every device."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), device="cpu").to(DEVICE)


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
    return torch.from_numpy(np.lexsort(coords.cpu().numpy().T[::-1]).copy()).to(DEVICE)


def cloud(seed: int, rows: int, extent: list, batch_size: int) -> torch.Tensor:
    """Random coordinates int32 [at most rows, 1 + D] in random order, no two alike."""
    generator = torch.Generator().manual_seed(seed)
    columns = [torch.randint(0, n, (rows,), generator=generator, device="cpu") for n in (batch_size, *extent)]
    coords = torch.unique(torch.stack(columns, 1), dim=0).int()
    return coords[torch.randperm(len(coords), generator=generator, device="cpu")].to(DEVICE)


def tensor(channels=4, seed=1, rows=120, shape=SHAPE, batch_size=2, dtype=torch.float32) -> SparseConvTensor:
    coords = cloud(seed, rows, list(shape), batch_size)
    return SparseConvTensor(random(len(coords), channels, seed=seed, dtype=dtype), coords, shape, batch_size)
