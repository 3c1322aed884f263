# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Runs all tests of this folder, on the CPU and, if there is one and the library has operators for it, on the GPU; the
last line is `N passed, N failed, N skipped`.

    python run.py [pattern]...

Each device has a process of its own; TESSERA_TORCH_TEST_DEVICE names one to run on alone.
"""

import os
import pathlib
import subprocess
import sys
import unittest

import torch

from tessera_torch import ops

VARIABLE = "TESSERA_TORCH_TEST_DEVICE"


def summary(passed: int, failed: int, skipped: int) -> int:
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or passed == 0 else 0


def run_here(patterns: list) -> int:
    folder = str(pathlib.Path(__file__).parent)
    print(f"PyTorch {torch.__version__} on {os.environ[VARIABLE]} with {ops.LIBRARY}", flush=True)
    suite = unittest.TestSuite(unittest.defaultTestLoader.discover(folder, pattern, folder) for pattern in patterns)
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    bad = {test.id().split(" ")[0] for test, _ in result.failures + result.errors}
    skipped = len(result.skipped)
    return summary(max(0, result.testsRun - len(bad) - skipped), len(bad), skipped)


def run_on(device: str) -> list:
    """[passed, failed, skipped] of a process; one that does not reach its last line has failed."""
    environment = {**os.environ, VARIABLE: device, "PYTHONUNBUFFERED": "1"}
    last = ""
    with subprocess.Popen([sys.executable, "-B", __file__, *sys.argv[1:]], env=environment, stdout=subprocess.PIPE,
                          text=True) as process:  # fmt: skip
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line
    counts = [int(word) for word in last.replace(",", "").split()[::2] if word.isdigit()]
    if len(counts) != 3 or (process.returncode != 0 and counts[1] == 0):
        print(f"the tests on {device} ended early, with {process.returncode}")
        return [0, 1, 0]
    return counts


def main() -> int:
    if VARIABLE in os.environ:
        return run_here(sys.argv[1:] or ["test_*.py"])
    devices = ["cpu"]
    if torch.cuda.is_available() and torch._C._dispatch_has_kernel_for_dispatch_key("tessera::convolution", "CUDA"):
        devices.append("cuda")
    return summary(*map(sum, zip(*map(run_on, devices))))


if __name__ == "__main__":
    sys.exit(main())
