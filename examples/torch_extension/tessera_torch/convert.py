# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Checkpoints of spconv, mmcv, TorchSparse and MinkowskiEngine for the layers of this package.

    python -m tessera_torch.convert IN OUT [--to spconv|torchsparse|tessera] [--add-prefix TEXT] [options]

IN is anything that torch.save() wrote, or safetensors. What its kernels' layouts are is told by the program
convert_checkpoint, which takes the other options (its --help lists them) and prints what it decided. OUT is

    --to spconv       .pth, {"state_dict": ...}: weight [out, *kernel_size, in], marked as of spconv 2, so that spconv,
                      mmdetection3d and this package load it
    --to torchsparse  .pth, {"state_dict": ...}: kernel [volume, in, out] in TorchSparse's order of offsets
    --to tessera      .safetensors: weight [volume, in, out], offsets row-major
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from collections import OrderedDict
from typing import Optional, Sequence

import numpy as np
import torch

from .weights import torchsparse_order

_TYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32, "I16": np.int16,
          "I8": np.int8, "U8": np.uint8, "BOOL": np.bool_}  # fmt: skip


def find_program() -> str:
    """The program convert_checkpoint: beside this file, $TESSERA_CONVERT_CHECKPOINT, or on the path."""
    candidates = [pathlib.Path(__file__).parent / "convert_checkpoint", os.environ.get("TESSERA_CONVERT_CHECKPOINT")]
    for candidate in candidates:
        if candidate and os.access(candidate, os.X_OK) and pathlib.Path(candidate).is_file():
            return str(candidate)
    found = shutil.which("convert_checkpoint")
    if found is None:
        raise FileNotFoundError("convert: there is no program convert_checkpoint beside tessera_torch, in "
                                "$TESSERA_CONVERT_CHECKPOINT or on the path; it is a target of Tessera's build")  # fmt: skip
    return found


def read_safetensors(path: pathlib.Path) -> tuple[dict, dict]:
    """(tensors by name, metadata)."""
    raw = path.read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + size])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        if entry["dtype"] == "BF16":
            values = torch.from_numpy(np.frombuffer(raw[begin:end], np.int16).copy()).view(torch.bfloat16)
        else:
            values = torch.from_numpy(np.frombuffer(raw[begin:end], _TYPES[entry["dtype"]]).copy())
        tensors[name] = values.reshape(entry["shape"])
    return tensors, metadata


def run_program(source: pathlib.Path, options: Sequence[str] = ()) -> tuple[dict, dict, set, str]:
    """(tensors in Tessera's layout, metadata, names of the kernels, report)."""
    with tempfile.TemporaryDirectory() as folder:
        target = pathlib.Path(folder) / "converted.safetensors"
        done = subprocess.run([find_program(), str(source), str(target), *options], capture_output=True, text=True)
        if done.returncode != 0:
            raise ValueError(f"convert: {(done.stderr or done.stdout).strip()}")
        tensors, metadata = read_safetensors(target)
    kernels = {m.group(1) for m in re.finditer(r"^[ !]*(\S+) .*\] -> \[", done.stdout, re.MULTILINE)}
    return tensors, metadata, kernels & tensors.keys(), done.stdout.replace(str(target), str(source))


def kernel_size(name: str, metadata: dict, volume: int) -> Optional[list[int]]:
    """What the program says of a kernel; None where it could not tell, or where offsets wait for a size."""
    text = metadata.get("tessera.kernel_size." + name, "")
    if text.startswith("[") and "first axis fastest" not in text and "unknown" not in text:
        return [int(v) for v in text[1 : text.index("]")].split(",")]
    return [1, 1, 1] if volume == 1 and not text else None


def convert(source, to: str = "spconv", options: Sequence[str] = (), add_prefix: str = "") -> tuple[OrderedDict, str]:
    """(the state_dict for layers with spconv's or TorchSparse's names, the program's report)."""
    if to not in ("spconv", "torchsparse"):
        raise ValueError(f"convert: '{to}' is neither spconv nor torchsparse")
    tensors, metadata, kernels, report = run_program(pathlib.Path(source), options)
    state = OrderedDict()
    for name, value in tensors.items():
        target = name
        if name in kernels:
            value = value[None] if value.dim() == 2 else value
            size = kernel_size(name, metadata, value.shape[0])
            if size is None:
                raise ValueError(f"convert: the file does not tell the kernel size of {name}, which has "
                                 f"{value.shape[0]} offsets; give it: --kernel-size {name}=AxBxC")  # fmt: skip
            value, target = (_for_spconv if to == "spconv" else _for_torchsparse)(name, value, size)
        state[add_prefix + target] = value
    state._metadata = OrderedDict((module, {"version": 2}) for module in _modules_of(state))
    return state, report


def _for_spconv(name: str, kernel: torch.Tensor, size: list[int]) -> tuple[torch.Tensor, str]:
    volume, cin, cout = kernel.shape
    if volume == 1:  # spconv reads the memory of such a kernel as [in, out]
        return kernel.reshape(cout, *size, cin), name
    return kernel.permute(2, 0, 1).reshape(cout, *size, cin).contiguous(), name


def _for_torchsparse(name: str, kernel: torch.Tensor, size: list[int]) -> tuple[torch.Tensor, str]:
    if name.endswith(".weight"):
        name = name[: -len("weight")] + "kernel"
    if kernel.shape[0] == 1:
        return kernel[0], name
    if len(size) == 3:
        kernel = kernel[torchsparse_order(size)]
    return kernel.contiguous(), name


def _modules_of(state) -> list[str]:
    modules = {""}
    for name in state:
        parts = name.split(".")[:-1]
        modules.update(".".join(parts[:i]) for i in range(1, len(parts) + 1))
    return sorted(modules)


def save(state: OrderedDict, target: str) -> None:
    """The file gets its name when it is complete; what had the name is there until then."""
    temporary = f"{target}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as file:
            torch.save({"state_dict": state}, file)
        os.replace(temporary, target)
    except (OSError, RuntimeError) as error:  # PyTorch's own where a disk is full
        with contextlib.suppress(OSError):
            os.remove(temporary)
        raise OSError(f"convert: {target} cannot be written: {getattr(error, 'strerror', None) or error}") from None


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tessera_torch.convert", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)  # fmt: skip
    parser.add_argument("source", metavar="IN")
    parser.add_argument("target", metavar="OUT")
    parser.add_argument("--to", choices=("spconv", "torchsparse", "tessera"), default="spconv")
    parser.add_argument("--add-prefix", default="", help="put before every name, e.g. middle_encoder.")
    known, options = parser.parse_known_args(arguments)
    try:
        if known.to == "tessera":
            return subprocess.run([find_program(), known.source, known.target, *options]).returncode
        state, report = convert(known.source, known.to, options, known.add_prefix)
        save(state, known.target)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(report, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
