#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
#
# Builds encode_bev and runs it: on the GPU if there is one, else on the CPU; on the built-in scene if no scan is
# named. Arguments go to the program (`--help` lists them); results go to build/encode_bev/ unless --output says
# otherwise. What is missing on Debian or Ubuntu is installed.
set -eu
from=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tests/support/setup.sh

set_up
build=$PWD/build/examples
cmake -S . -B "$build" -DTESSERA_BUILD_TESTS=OFF "${configuration[@]}" >&2
cmake --build "$build" --parallel "$jobs" --target encode_bev >&2

output=(--output "$PWD/build/encode_bev")
for argument in "$@"; do
  case $argument in --output | --output=* | --help) output=() ;; esac
done
if [ ${#output[@]} -gt 0 ]; then mkdir -p "${output[1]}"; fi
cd "$from"
exec "$build/bin/encode_bev" ${output[@]+"${output[@]}"} "$@"
