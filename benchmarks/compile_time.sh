#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
#
# What programs cost to compile: a table of processor seconds and the largest process's memory.
#
#   benchmarks/compile_time.sh                       this source tree, for sm_90a
#   benchmarks/compile_time.sh --against d81e9e6     and a revision beside it, file by file in turn
#   benchmarks/compile_time.sh --rounds 3            the least of three runs of each
#   benchmarks/compile_time.sh --arch 80 examples/deploy.cu tests/plan/plan_test.cpp
#                                                    other architectures, other files
#
# Processor seconds are those of the compiler and all its children, user and system, so that other work on the machine
# counts little; it still costs caches, so compare only what ran in turn. No compiler cache is used.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
export CCACHE_DISABLE=1

arch=90a
against=""
rounds=1
files=()
while [ $# -gt 0 ]; do
  case $1 in
    --arch) arch=${2:?an architecture, as 90a}; shift ;;
    --against) against=${2:?a revision}; shift ;;
    --rounds) rounds=${2:?a number}; shift ;;
    -*) echo "compile_time.sh: no option $1" >&2; exit 2 ;;
    *) files+=("$1") ;;
  esac
  shift
done
if [ ${#files[@]} -eq 0 ]; then
  files=(tessera.hpp tessera.cuh examples/quickstart.cpp examples/quickstart_gpu.cu examples/deploy.cu
         tests/plan/plan_test.cpp tests/nn/fuse_test.cpp tests/models/golden_networks_half_test.cpp)
fi
[ -x /usr/bin/time ] || { echo "compile_time.sh: needs GNU time (apt-get install time)" >&2; exit 2; }
[ "$rounds" -ge 1 ] || { echo "compile_time.sh: at least 1 round" >&2; exit 2; }

scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
old=""
if [ -n "$against" ]; then
  old=$scratch/tree
  mkdir "$old"
  git archive "$against" | tar -x -C "$old" || exit 1
fi

# measure <tree> <compiled: yes or empty> <file>: "<seconds> <MB>", or "-" where it is not there or does not compile.
measure() {
  local tree=$1 compiled=$2 file=$3 best="" seconds memory command=() options=()
  if [ -n "$compiled" ] && [ ! -e "$tree/include/tessera/compiled.hpp" ]; then echo -; return; fi
  [ -n "$compiled" ] && options+=(-DTESSERA_COMPILED)
  case $file in
    tessera.*)
      printf '#include <tessera/%s>\nint main() {}\n' "$file" >"$scratch/alone.${file##*.}"
      file=$scratch/alone.${file##*.} ;;
    *) [ -e "$tree/$file" ] || { echo -; return; } ;;
  esac
  case $file in
    */tests/* | tests/*)  # as the build compiles them
      options=(-x cu -Itests -include=ostream)
      if [ -e "$tree/include/tessera/compiled.cuh" ]; then
        options+=(-DTESSERA_COMPILED -include=tessera/compiled.cuh)
      elif [ -e "$tree/tests/support/kernels/extern.cuh" ]; then
        options+=(-include=tests/support/kernels/extern.cuh)
      fi ;;
    *.cuh) options+=(-x cu) ;;
    *.hpp) options+=(-x c++) ;;
  esac
  case "$file ${options[*]-}" in
    *.cu* | *"-x cu"*)
      command=(nvcc -std=c++17 -O3 "--generate-code=arch=compute_$arch,code=[compute_$arch,sm_$arch]") ;;
    *) command=("${CXX:-c++}" -std=c++17 -O3) ;;
  esac
  for ((i = 0; i < rounds; ++i)); do
    (cd "$tree" && /usr/bin/time -o "$scratch/time" -f '%U %S %M' "${command[@]}" -Iinclude -Iexamples/support \
      "${options[@]}" -c "$file" -o "$scratch/object.o") 2>"$scratch/log" || { echo -; return; }
    read -r seconds memory < <(awk '{ printf "%.1f %.0f\n", $1 + $2, $3 / 1024 }' "$scratch/time")
    if [ -z "$best" ] || awk -v a="$seconds" -v b="${best% *}" 'BEGIN { exit !(a < b) }'; then
      best="$seconds $memory"
    fi
  done
  echo "$best"
}

# row <name> <cells>...: a cell is what measure() says.
row() {
  local line="| $1" cell
  shift
  for cell in "$@"; do
    [ "$cell" = - ] && line+=" | -" || line+=" | ${cell% *} s, ${cell#* } MB"
  done
  echo "$line |"
}

[ -n "$old" ] && echo "| sm_$arch | $against | now |" || echo "| sm_$arch | now |"
[ -n "$old" ] && echo "|---|---|---|" || echo "|---|---|"
for file in "${files[@]}"; do
  cells=()
  [ -n "$old" ] && cells+=("$(measure "$old" "" "$file")")
  cells+=("$(measure "$PWD" "" "$file")")
  row "\`${file##*/}\`" "${cells[@]}"
  case $file in
    tests/*) continue ;;
  esac
  cells=()
  [ -n "$old" ] && cells+=("-")
  cells+=("$(measure "$PWD" yes "$file")")
  row "\`${file##*/}\`, with tessera::compiled" "${cells[@]}"
done
