# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Runs all tests of this folder; the last line is `N passed, N failed, N skipped`.

    python run.py [pattern]...
"""

import pathlib
import sys
import unittest

import torch

from tessera_torch import ops


def main() -> int:
    folder = str(pathlib.Path(__file__).parent)
    patterns = sys.argv[1:] or ["test_*.py"]
    print(f"PyTorch {torch.__version__} with {ops.LIBRARY}")
    suite = unittest.TestSuite(unittest.defaultTestLoader.discover(folder, pattern, folder) for pattern in patterns)
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    bad = {test.id().split(" ")[0] for test, _ in result.failures + result.errors}
    skipped = len(result.skipped)
    passed = max(0, result.testsRun - len(bad) - skipped)
    print(f"{passed} passed, {len(bad)} failed, {skipped} skipped")
    return 1 if bad or passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
