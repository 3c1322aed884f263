#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
#
# Writes the API reference with doxygen in build/reference; a comment that doxygen warns of is a failure.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
. tests/support/setup.sh

set_up doxygen:/usr/bin/doxygen || exit 1
cmake -S . -B build/reference -DTESSERA_BUILD_TESTS=OFF -DTESSERA_BUILD_EXAMPLES=OFF >/dev/null &&
  cmake --build build/reference --target tessera_reference &&
  [ -e build/reference/reference/html/index.html ] || exit 1
echo "1 passed, 0 failed, 0 skipped"
