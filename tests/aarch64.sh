#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
#
#   tests/aarch64.sh           all host headers and one small way through every stage, compiled for aarch64 by Debian's
#                              cross compiler and run under qemu-user; a few minutes
#   tests/aarch64.sh --full    every test of the host
#
# Where neither is there and neither can be installed, that is printed and counted as skipped.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
. tests/support/setup.sh

if ! set_up g++-aarch64-linux-gnu:/usr/bin/aarch64-linux-gnu-g++ qemu-user:/usr/bin/qemu-aarch64; then
  echo "skipped: aarch64: there is no cross compiler or no qemu-user"
  echo "0 passed, 0 failed, 1 skipped"
  exit 0
fi

export TESSERA_TEST_EMULATED=1 # what qemu-user cannot do is skipped
if [ "${1:-}" = "--full" ]; then
  exec tests/run.sh --preset aarch64
fi
exec tests/run.sh --preset aarch64 --only '^(headers\.cxx20\.host|unit\.stages)$' test_stages --
