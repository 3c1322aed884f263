#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
#
# examples/support/run.sh <program> <arguments>...: builds a program among the examples and runs it, on the GPU if there
# is one, else on the CPU. Arguments go to the program; results go to build/<program>/ unless --output says otherwise.
# What is missing on Debian or Ubuntu is installed.
set -eu
program=$1
shift
from=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tests/support/setup.sh

wanted=()
case $program in segment_scan | encode_bev | train_segmentation | complete_shape) wanted=(libpng-dev:/usr/include/png.h) ;; esac # else pictures are PPM
set_up ${wanted[@]+"${wanted[@]}"} || set_up
build=$PWD/build/examples
cmake -S . -B "$build" -DTESSERA_BUILD_TESTS=OFF "${configuration[@]}" >&2
cmake --build "$build" --parallel "$jobs" --target "$program" >&2

output=(--output "$PWD/build/$program")
for argument in "$@"; do
  case $argument in --output | --output=* | --help) output=() ;; esac
done
if [ "$program" = convert_checkpoint ]; then output=(); fi # which is told by its second argument
if [ ${#output[@]} -gt 0 ]; then mkdir -p "${output[1]}"; fi
cd "$from"
exec "$build/bin/$program" ${output[@]+"${output[@]}"} "$@"
