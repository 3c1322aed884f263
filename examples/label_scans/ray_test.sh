#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
#
# Builds label_scans, installs Ray from PyPI into build/ray and runs ray_test.py; takes some minutes. Skipped where Ray
# cannot be installed.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tests/support/setup.sh
set_up
if ! { python3 -m venv build/ray && build/ray/bin/pip install -q 'ray[data]' pyftpdlib; } >&2; then
  echo "skipped: label_scans on Ray: ray[data] and pyftpdlib cannot be installed"
  echo "0 passed, 0 failed, 1 skipped"
  exit 0
fi
cmake -S . -B build/ray/programs -DTESSERA_BUILD_TESTS=OFF -DTESSERA_ENABLE_CUDA=OFF >&2
cmake --build build/ray/programs --parallel "$jobs" --target label_scans simulate_scans >&2
bin=build/ray/programs/bin
test=examples/label_scans/ray_test.py
if ! build/ray/bin/python $test "$bin/label_scans" "$bin/simulate_scans" build/ray/scratch; then
  echo "0 passed, 1 failed, 0 skipped"
  exit 1
fi
