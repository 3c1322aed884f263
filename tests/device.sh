#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
#
# What is run on a GPU when a kernel has changed, and before a release. The last line is `N passed, N failed, N skipped`.
#
#   tests/device.sh                          builds the tests for this machine's GPU and runs every stage
#   tests/device.sh suite memcheck           these stages: suite, memcheck, initcheck, synccheck, racecheck, benchmarks
#   tests/device.sh --bin FOLDER ...         the binaries of another build, or from another machine
#   tests/device.sh --cases '*plan*' ...     the cases whose names match, of those that use the device
#   tests/device.sh --seconds N ...          a case of a sanitizer may take so long (200 s); what is cut counts as skipped
#   tests/device.sh --jobs N ...             processes side by side (4; racecheck always has the GPU to itself)
#   tests/device.sh --continue ...           leaves out what an earlier call has done
#   tests/device.sh --log FOLDER ...         build/device, where results.txt has a line for each process: result, seconds,
#                                            stage, binary, case; what each printed is beside it
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

bin="" folder=$PWD/build/device pattern="" limit=200 processes=4 again=yes stages=()
while [ $# -gt 0 ]; do
  case $1 in
    --bin) bin=$(cd "${2:?a folder}" && pwd) || exit 1; shift ;;
    --log) mkdir -p "${2:?a folder}" && folder=$(cd "$2" && pwd) || exit 1; shift ;;
    --cases) pattern=${2:?a pattern}; shift ;;
    --seconds) limit=${2:?a number}; shift ;;
    --jobs) processes=${2:?a number}; shift ;;
    --continue) again="" ;;
    suite | memcheck | initcheck | synccheck | racecheck | benchmarks) stages+=("$1") ;;
    *) sed -n '5,17p' "$0"; exit 2 ;;
  esac
  shift
done
[ ${#stages[@]} -gt 0 ] || stages=(suite memcheck initcheck synccheck racecheck benchmarks)

if ! nvidia-smi -L 2>/dev/null | grep -q GPU; then
  echo "skipped: there is no GPU"
  echo "0 passed, 0 failed, 1 skipped"
  exit 0
fi
mkdir -p "$folder"
results=$folder/results.txt
[ -z "$again" ] || rm -f "$results"
touch "$results"

if [ -z "$bin" ]; then
  . tests/support/setup.sh
  set_up doctest-dev:/usr/include/doctest/doctest.h || exit 1
  cmake -S . -B "$folder" "${configuration[@]}" -DTESSERA_BUILD_BENCHMARKS=ON -DTESSERA_BUILD_EXAMPLES=OFF &&
    cmake --build "$folder" --parallel "$jobs" -- -k 0 || { echo "0 passed, 1 failed, 0 skipped"; exit 1; }
  bin=$folder/bin
fi

# job <stage> <binary> <filter of doctest, or nothing> <seconds> <command>...: runs it and writes its line.
job() {
  local stage=$1 name=$2 filter=$3 seconds=$4 begin=$SECONDS log status
  shift 4
  log=$folder/$stage.$name.$(printf '%s' "$filter" | cksum | cut -d' ' -f1).log
  timeout --kill-after=20 "$seconds" "$@" >"$log" 2>&1
  status=$?
  # A case that calls nothing of CUDA is an error to a sanitizer.
  if [ $status -ne 0 ] && grep -q 'terminated before first instrumented API call' "$log" &&
    grep -q '^[1-9][0-9]* passed, 0 failed' "$log"; then
    status=0
  fi
  case $status in
    0) status=passed ;;
    124 | 137) status=cut ;;
    *) status=failed ;;
  esac
  printf '%s\t%d\t%s\t%s\t%s\n' "$status" $((SECONDS - begin)) "$stage" "$name" "$filter" >>"$results"
  [ $status = passed ] || printf '%s: %s, %s: %s\n' "$status" "$stage" "$name" "$filter"
}

# is_done <stage> <binary> <filter>
is_done() { grep -qF "$(printf '\t%s\t%s\t%s' "$1" "$2" "$3")" "$results"; }

# start <number side by side> <stage> <binary> <filter> <seconds> <command>...
start() {
  local at_once=$1
  shift
  is_done "$1" "$2" "$3" && return
  while [ "$(jobs -rp | wc -l)" -ge "$at_once" ]; do wait -n; done
  job "$@" &
}

uses_device='*Device*,*device*'
# The names of a binary's cases that use the device. doctest splits filters at commas.
cases_of() {
  "$1" --no-version -ltc -tc="$uses_device" | sed -e '/^\[doctest\]/d' -e '/^=*$/d' -e 's/,/?/g' |
    while IFS= read -r name; do
      # shellcheck disable=SC2254  # the pattern is one
      case $name in ${pattern:-*}) printf '%s\n' "$name" ;; esac
    done
}

for stage in "${stages[@]}"; do
  begin=$SECONDS
  case $stage in
    suite)
      for test in "$bin"/test_*; do
        [ -n "$(cases_of "$test")" ] || continue
        start "$processes" suite "$(basename "$test")" "${pattern:-$uses_device}" 1500 "$test" -tc="${pattern:-$uses_device}"
      done
      ;;
    benchmarks)
      for program in "$bin"/bench_*; do start 1 benchmarks "$(basename "$program")" "" 1500 "$program"; done
      ;;
    *)
      # A sanitizer slows kernels a thousand times: small sets, and for racecheck the smallest, alone on the GPU.
      at_once=$processes small=1
      [ "$stage" != racecheck ] || at_once=1 small=2
      for test in "$bin"/test_*; do
        while IFS= read -r name; do
          TESSERA_TEST_SMALL=$small start "$at_once" "$stage" "$(basename "$test")" "$name" "$limit" \
            compute-sanitizer --tool "$stage" --error-exitcode 1 --report-api-errors no "$test" -tc="$name"
        done < <(cases_of "$test")
      done
      ;;
  esac
  wait
  awk -F '\t' -v stage="$stage" -v seconds=$((SECONDS - begin)) '
    $3 == stage { ++count[$1] }
    END { printf "%5d s  %s: %d passed, %d failed, %d cut\n", seconds, stage, count["passed"], count["failed"], count["cut"] }' \
    "$results"
done

awk -F '\t' '{ ++count[$1] }
  END { printf "%d passed, %d failed, %d skipped\n", count["passed"], count["failed"], count["cut"]; exit count["failed"] > 0 }' \
  "$results"
