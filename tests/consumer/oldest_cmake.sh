#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
#
# Builds the consumer projects, and configures everything else, with the oldest CMake that users may have: 3.22, from PyPI.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
. tests/support/setup.sh

stop() {
  say "$*"
  echo "0 passed, 1 failed, 0 skipped"
  exit 1
}

set_up doctest-dev:/usr/include/doctest/doctest.h || stop "the set-up failed"
tools=$PWD/build/oldest_cmake/tools
if [ ! -x "$tools/bin/cmake" ]; then
  python3 -m venv "$tools" && "$tools/bin/pip" install -q 'cmake==3.22.*' || stop "there is no CMake 3.22 to be had"
fi
PATH="$tools/bin:$PATH"
cmake --version | head -n 1
cmake --preset dev -B build/oldest_cmake/build || stop "the configuration failed"
ctest --test-dir build/oldest_cmake/build --verbose -R '^consumer\.' 2>&1 |
  awk -v allowed=tests/may_skip.txt -f tests/support/summary.awk
