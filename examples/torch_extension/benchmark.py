# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Tessera beside spconv from Python, in one run: SECOND's and CenterPoint's encoders and MinkUNet, forward and forward
with backward, and the host's time for one layer.

    python benchmark.py [--data FOLDER] [--out FILE.json] [--float32] [--steps 20] [--tiny]

spconv is measured where `import spconv` works (its wheels need a GPU). Without --data, clouds are made up. Milliseconds are
medians over steps in which the libraries take turns; a step makes its kernel maps anew.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import pathlib
import statistics
import sys
import time

import numpy as np
import torch
from torch import nn

# The installed package, whose sources without a library lie beside this file.
if "TESSERA_TORCH_LIBRARY" not in os.environ:
    here = pathlib.Path(__file__).resolve().parent
    sys.path[:] = [path for path in sys.path if pathlib.Path(path or ".").resolve() != here]

from tessera_torch import spconv as tessera  # noqa: E402


class Block(nn.Module):
    """Convolution, norm, activation."""

    def __init__(self, conv: nn.Module, relu: bool = True):
        super().__init__()
        self.conv, self.relu = conv, relu
        self.norm = nn.BatchNorm1d(conv.out_channels, eps=1e-3, momentum=0.01)

    def forward(self, x):
        x = self.conv(x)
        features = self.norm(x.features)
        return x.replace_feature(torch.relu_(features) if self.relu else features)


class Residual(nn.Module):
    def __init__(self, sp, cin: int, cout: int, key: str):
        super().__init__()
        self.first = Block(sp.SubMConv3d(cin, cout, 3, bias=False, indice_key=key))
        self.second = Block(sp.SubMConv3d(cout, cout, 3, bias=False, indice_key=key), relu=False)
        self.skip = None if cin == cout else Block(sp.SubMConv3d(cin, cout, 1, bias=False), relu=False)

    def forward(self, x):
        y = self.second(self.first(x))
        skip = x if self.skip is None else self.skip(x)
        return y.replace_feature(torch.relu_(y.features + skip.features))


def second(sp, channels: int) -> nn.Module:
    layers = [Block(sp.SubMConv3d(channels, 16, 3, bias=False, indice_key="subm1")),
              Block(sp.SubMConv3d(16, 16, 3, bias=False, indice_key="subm1"))]  # fmt: skip
    for level, (cin, cout, padding) in enumerate(((16, 32, 1), (32, 64, 1), (64, 64, (0, 1, 1))), 2):
        layers.append(Block(sp.SparseConv3d(cin, cout, 3, 2, padding, bias=False, indice_key=f"spconv{level}")))
        layers += [Block(sp.SubMConv3d(cout, cout, 3, bias=False, indice_key=f"subm{level}")) for _ in range(2)]
    layers.append(Block(sp.SparseConv3d(64, 128, (3, 1, 1), (2, 1, 1), 0, bias=False, indice_key="out")))
    return nn.Sequential(*layers)


def centerpoint(sp, channels: int) -> nn.Module:
    layers = [Block(sp.SubMConv3d(channels, 16, 3, bias=False, indice_key="subm1"))]
    for level, (width, wider, padding) in enumerate(((16, 32, 1), (32, 64, 1), (64, 128, (0, 1, 1)), (128, None, 0)), 1):
        layers += [Residual(sp, width, width, f"subm{level}") for _ in range(2)]
        if wider:
            layers.append(Block(sp.SparseConv3d(width, wider, 3, 2, padding, bias=False, indice_key=f"spconv{level}")))
    layers.append(Block(sp.SparseConv3d(128, 128, (3, 1, 1), (2, 1, 1), 0, bias=False, indice_key="out")))
    return nn.Sequential(*layers)


class MinkUNet(nn.Module):
    def __init__(self, sp, channels: int, classes: int = 19):
        super().__init__()
        c = (32, 32, 64, 128, 256, 256, 128, 96, 96)
        self.stem = nn.Sequential(Block(sp.SubMConv3d(channels, c[0], 3, bias=False, indice_key="s0")),
                                  Block(sp.SubMConv3d(c[0], c[0], 3, bias=False, indice_key="s0")))  # fmt: skip
        self.down, self.up, self.fuse = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for i in range(4):
            self.down.append(nn.Sequential(Block(sp.SparseConv3d(c[i], c[i], 2, 2, bias=False, indice_key=f"d{i}")),
                                           Residual(sp, c[i], c[i + 1], f"s{i + 1}"),
                                           Residual(sp, c[i + 1], c[i + 1], f"s{i + 1}")))  # fmt: skip
            self.up.append(Block(sp.SparseInverseConv3d(c[4 + i], c[5 + i], 2, indice_key=f"d{3 - i}", bias=False)))
            self.fuse.append(nn.Sequential(Residual(sp, c[5 + i] + c[3 - i], c[5 + i], f"s{3 - i}"),
                                           Residual(sp, c[5 + i], c[5 + i], f"s{3 - i}")))  # fmt: skip
        self.head = nn.Linear(c[8], classes)

    def forward(self, x):
        skips = [self.stem(x)]
        for down in self.down:
            skips.append(down(skips[-1]))
        x = skips[-1]
        for up, fuse, skip in zip(self.up, self.fuse, skips[-2::-1]):
            x = up(x)
            x = fuse(x.replace_feature(torch.cat([x.features, skip.features], 1)))
        return x.replace_feature(self.head(x.features))


NETWORKS = {"SECOND": (second, "kitti"), "CenterPoint": (centerpoint, "nuscenes"), "MinkUNet": (MinkUNet, "semkitti")}


def scan(points: np.ndarray, size, lower, shape) -> tuple:
    """The first point of each voxel: (coords int32 [n, 4] b z y x, features, shape)."""
    cells = np.floor((points[:, :3] - np.float32(lower)) / np.float32(size)).astype(np.int64)[:, ::-1]
    inside = ((cells >= 0) & (cells < shape)).all(1)
    cells, points = cells[inside], points[inside]
    _, first = np.unique(cells, axis=0, return_index=True)
    coords = np.concatenate([np.zeros((len(first), 1)), cells[first]], 1).astype(np.int32)
    return coords, np.ascontiguousarray(points[first]), list(shape)


def made_up(shape, rows: int, channels: int) -> tuple:
    """A rough ground and walls: voxels on a few surfaces."""
    rng = np.random.default_rng(1)
    z, y, x = shape
    ground = np.stack([rng.integers(0, max(1, z // 20), rows), rng.integers(0, y, rows), rng.integers(0, x, rows)], 1)
    walls = np.stack([rng.integers(0, z, rows), rng.integers(0, y, rows) // 40 * 40, rng.integers(0, x, rows)], 1)
    cells = np.unique(np.concatenate([ground, walls]), axis=0)
    coords = np.concatenate([np.zeros((len(cells), 1)), cells], 1).astype(np.int32)
    return coords, rng.standard_normal((len(coords), channels)).astype(np.float32), list(shape)


def scans(data: pathlib.Path | None, tiny: bool) -> dict:
    if tiny:
        return {name: made_up((25, 64, 64), 150, 4) for name in ("kitti", "nuscenes", "semkitti")}
    if data is None:
        return {"kitti": made_up((41, 1600, 1408), 20000, 4), "nuscenes": made_up((41, 1440, 1440), 40000, 5),
                "semkitti": made_up((200, 2000, 2000), 45000, 4)}  # fmt: skip
    points = np.fromfile(data / "semkitti_000000.bin", np.float32).reshape(-1, 4)
    raw = [(data / f"nuscenes_10sweep_{what}.tensor").read_bytes()[20:] for what in ("indices_bzyx", "features")]
    lower = points[:, :3].min(0)
    extent = [int(math.ceil(v / 0.05 / 16 + 1)) * 16 for v in (points[:, :3].max(0) - lower)[::-1]]
    return {"kitti": scan(points, (0.05, 0.05, 0.1), (0, -40, -3), (41, 1600, 1408)),
            "nuscenes": (np.frombuffer(raw[0], np.int32).reshape(-1, 4).copy(),
                         np.frombuffer(raw[1], np.float16).reshape(-1, 5).astype(np.float32), [41, 1440, 1440]),
            "semkitti": scan(points, (0.05,) * 3, lower, extent)}  # fmt: skip


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def medians(steps: dict, device: str, count: int) -> dict:
    """Milliseconds of each step function, taking turns."""
    times = {name: [] for name in steps}
    for turn in range(count + 3):
        for name, step in steps.items():
            wait(device)
            begin = time.perf_counter()
            step()
            wait(device)
            if turn >= min(3, count):
                times[name].append(1e3 * (time.perf_counter() - begin))
    return {name: statistics.median(values) for name, values in times.items()}


def network(name: str, libraries: dict, clouds: dict, device: str, dtype: torch.dtype, steps: int) -> dict:
    build, cloud = NETWORKS[name]
    coords, values, shape = clouds[cloud]
    coords, features = torch.from_numpy(coords).to(device), torch.from_numpy(values).to(device, dtype)
    forwards, trainings = {}, {}
    state = None
    for library, sp in libraries.items():
        torch.manual_seed(0)
        net = build(sp, features.shape[1]).to(device, dtype)
        state = net.state_dict() if state is None else state
        net.load_state_dict(state)  # spconv's numbers of parameters are these

        def forward(net=net.eval(), sp=sp):
            with torch.no_grad():
                return net(sp.SparseConvTensor(features, coords, shape, 1)).features

        trained = build(sp, features.shape[1]).to(device, dtype).train()

        def training(net=trained, sp=sp):
            net.zero_grad(set_to_none=True)
            net(sp.SparseConvTensor(features, coords, shape, 1)).features.float().square().mean().backward()

        forwards[library], trainings[library] = forward, training
    outputs = [forward().float() for forward in forwards.values()]
    result = {"voxels": len(coords), "forward_ms": medians(forwards, device, steps),
              "training_ms": medians(trainings, device, max(1, steps // 2))}  # fmt: skip
    if len(outputs) == 2 and outputs[0].shape == outputs[1].shape:
        norms = [float(o.norm()) for o in outputs]  # rows of spconv are in another order
        result["norm"] = norms
    return result


def host_time(libraries: dict, device: str, dtype: torch.dtype, layers: int = 50) -> dict:
    """Microseconds of the host for one submanifold layer whose map is there: forward, and forward with backward."""
    coords = torch.from_numpy(made_up((16, 64, 64), 64, 1)[0]).to(device)
    result = {}
    for library, sp in libraries.items():
        net = sp.SparseSequential(*(sp.SubMConv3d(16, 16, 3, bias=False, indice_key="k") for _ in range(layers)))
        net = net.to(device, dtype)
        features = torch.randn(len(coords), 16, device=device, dtype=dtype)
        with torch.no_grad():  # only for the map
            x = net(sp.SparseConvTensor(features, coords, [16, 64, 64], 1)).replace_feature(features)

        def forward():
            with torch.no_grad():
                net(x)

        def training():
            net(x).features.sum().backward()

        result[library] = {}
        for name, step in (("forward_us", forward), ("training_us", training)):
            times = []
            for _ in range(10):
                wait(device)
                begin = time.perf_counter()
                step()
                times.append(time.perf_counter() - begin)  # the device is not waited for
            result[library][name] = 1e6 * min(times) / layers
    return result


def run(arguments: list | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, help="folder of semkitti_000000.bin and nuscenes_10sweep_*.tensor")
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--float32", action="store_true", help="instead of float16")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--tiny", action="store_true", help="small clouds and one step: does it run?")
    options = parser.parse_args(arguments)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.float32 if options.float32 or device == "cpu" else torch.float16
    libraries = {"tessera": tessera}
    try:
        import spconv.pytorch

        if not getattr(spconv, "__tessera__", False):
            libraries["spconv"] = spconv.pytorch
    except ImportError as error:
        print(f"spconv is not measured: {error}")
    clouds = scans(options.data, options.tiny)
    results = {"torch": torch.__version__, "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
               "dtype": str(dtype), "host": host_time(libraries, device, dtype, 2 if options.tiny else 50)}  # fmt: skip
    print(f"{'':14}" + "".join(f"{library:>12}" for library in libraries))
    for quantity in ("forward_us", "training_us"):
        print(f"{'host ' + quantity:22}" + "".join(f"{results['host'][name][quantity]:12.1f}" for name in libraries))
    for name in NETWORKS:
        results[name] = network(name, libraries, clouds, device, dtype, 1 if options.tiny else options.steps)
        for quantity in ("forward_ms", "training_ms"):
            values = results[name][quantity]
            ratio = f"{values['spconv'] / values['tessera']:8.2f}x" if "spconv" in values else ""
            print(f"{name + ' ' + quantity:22}" + "".join(f"{values[library]:12.3f}" for library in libraries) + ratio)
    if options.out:
        options.out.write_text(json.dumps(results, indent=1))
    return results


if __name__ == "__main__":
    run()
