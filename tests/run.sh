#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
#
# Builds the tests and runs them; the last line is `N passed, N failed, N skipped`.
#
#   tests/run.sh                 with CUDA where nvcc is found, for the GPU of this machine if there is one
#   tests/run.sh --preset ci     with a preset of CMakePresets.json
#   tests/run.sh -R unit         further arguments go to ctest
#
# What is missing on Debian or Ubuntu is installed. The build lies in build/tests, or in build/<preset>.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
. tests/support/setup.sh

stop() {
  say "$*"
  echo "0 passed, 1 failed, 0 skipped"
  exit 1
}

preset=""
if [ "${1:-}" = "--preset" ]; then
  preset=${2:?the name of a preset}
  shift 2
fi

set_up doctest-dev:/usr/include/doctest/doctest.h || stop "the set-up failed"
if [ -n "$preset" ]; then
  build=build/$preset
  cmake --preset "$preset" || stop "the configuration failed"
else
  build=build/tests
  cmake -S . -B "$build" "${configuration[@]}" || stop "the configuration failed"
fi
cmake --build "$build" --parallel "$jobs" -- -k 0 || stop "the build failed"

# CTest knows binaries; the cases in them are counted from the line that each unit.* binary ends with.
log=$build/tests.log
ctest --test-dir "$build" --parallel "$(nproc)" --verbose "$@" 2>&1 | tee "$log" | awk -f tests/support/summary.awk
