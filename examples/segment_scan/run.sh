#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
#
# Builds segment_scan and runs it: on the GPU if there is one, else on the CPU; on the built-in scene if no scan is
# named. Arguments go to the program (`--help` lists them); results go to build/segment_scan/ unless --output says
# otherwise. What is missing on Debian or Ubuntu is installed.
set -eu
from=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tests/support/setup.sh

set_up
build=$PWD/build/examples
cmake -S . -B "$build" -DTESSERA_BUILD_TESTS=OFF "${configuration[@]}" >&2
cmake --build "$build" --parallel "$jobs" --target segment_scan >&2

output=(--output "$PWD/build/segment_scan")
for argument in "$@"; do
  case $argument in --output | --output=* | --help) output=() ;; esac
done
if [ ${#output[@]} -gt 0 ]; then mkdir -p "${output[1]}"; fi
cd "$from"
exec "$build/bin/segment_scan" ${output[@]+"${output[@]}"} "$@"
