#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
#
# Builds the tests and runs them; the last line is `N passed, N failed, N skipped`.
#
#   tests/run.sh                 with CUDA where nvcc is found, for the GPU of this machine if there is one
#   tests/run.sh --preset ci     with a preset of CMakePresets.json
#   tests/run.sh --only '^unit\.(io|core)$' test_io test_core --
#                                builds these targets alone, and runs the tests whose names match
#   tests/run.sh -R unit         further arguments go to ctest
#
# What is missing on Debian or Ubuntu is installed. The build is in build/tests, or in build/<preset>.
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

targets=()
selection=()
if [ "${1:-}" = "--only" ]; then
  selection=(-R "${2:?a regular expression of tests}")
  shift 2
  while [ $# -gt 0 ] && [ "$1" != "--" ]; do
    targets+=(--target "$1")
    shift
  done
  shift
fi

# Without libpng the examples write other pictures, which are tested as well; without MPI its tests are skipped.
set_up doctest-dev:/usr/include/doctest/doctest.h libpng-dev:/usr/include/png.h openmpi-bin:/usr/bin/mpirun \
  libopenmpi-dev:/usr/bin/mpicxx ||
  set_up doctest-dev:/usr/include/doctest/doctest.h || stop "the set-up failed"
if [ -n "$preset" ]; then
  build=build/$preset
  cmake --preset "$preset" || stop "the configuration failed"
else
  build=build/tests
  cmake -S . -B "$build" -DTESSERA_TEST_GROUP=4 "${configuration[@]}" || stop "the configuration failed"
fi
cmake --build "$build" --parallel "$jobs" "${targets[@]}" -- -k 0 || stop "the build failed"

# What is not there, so that tests of it may be skipped: see tests/may_skip.txt.
missing=""
data=${TESSERA_TEST_DATA:-../shared}
for folder in golden golden/spconv data; do
  [ -d "$data/$folder" ] || missing+=" $folder"
done
{ have nvidia-smi && nvidia-smi -L 2>/dev/null | grep -q GPU; } || missing+=" gpu"
grep -q '^CMAKE_CUDA_COMPILER:[A-Z]*=/' "$build/CMakeCache.txt" || missing+=" nvcc"
grep -q '^MPI_CXX_HEADER_DIR:[A-Z]*=/' "$build/CMakeCache.txt" || missing+=" mpi"
[ -z "${TESSERA_TEST_SMALL:-}" ] || missing+=" small"
[ -z "${TESSERA_TEST_EMULATED:-}" ] || missing+=" emulated mpi"

# CTest knows binaries; the cases in them are counted from the line that each unit.* binary ends with.
log=$build/tests.log
ctest --test-dir "$build" --parallel "$(nproc)" --verbose "${selection[@]}" "$@" 2>&1 | tee "$log" |
  awk -v allowed=tests/may_skip.txt -v missing="$missing" -f tests/support/summary.awk
