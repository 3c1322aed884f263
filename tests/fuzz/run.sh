#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
#
#   tests/fuzz/run.sh [<seconds> [<target>...]]
#
# Builds the fuzzers with clang in build/fuzz and runs each, or those named, for so long (60 s) on the corpus and the
# fixtures. A target fails where an input crashes it, takes 10 s or 512 MB.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
. tests/support/setup.sh

seconds=${1:-60}
shift
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  for source in tests/fuzz/*.cpp; do
    name=$(basename "$source" .cpp)
    [ "$name" = replay ] || targets+=("$name")
  done
fi

stop() {
  say "$*"
  echo "0 passed, 1 failed, 0 skipped"
  exit 1
}

set_up doctest-dev:/usr/include/doctest/doctest.h || stop "the set-up failed"
if ! have clang++; then
  echo "skipped: fuzzers: clang++ is not installed"
  echo "0 passed, 0 failed, 1 skipped"
  exit 0
fi
cmake -S . -B build/fuzz -DCMAKE_CXX_COMPILER=clang++ -DTESSERA_ENABLE_CUDA=OFF -DTESSERA_BUILD_EXAMPLES=OFF \
  -DTESSERA_BUILD_FUZZERS=ON >/dev/null || stop "the configuration failed"
cmake --build build/fuzz --parallel "$jobs" --target "${targets[@]/#/fuzz_}" || stop "the build failed"

passed=0 failed=0
for target in "${targets[@]}"; do
  folder=build/fuzz/inputs/$target
  mkdir -p "$folder"
  cp tests/fuzz/corpus/"$target"/* "$folder"
  cp tests/fixtures/*."$target" "$folder" 2>/dev/null
  [ "$target" != torch ] || cp tests/fixtures/*.pth "$folder"
  log=build/fuzz/$target.log
  if (cd build/fuzz && bin/fuzz_"$target" -max_total_time="$seconds" -max_len=6000 -timeout=10 -rss_limit_mb=512 \
    -print_final_stats=1 -verbosity=0 "inputs/$target") >"$log" 2>&1; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    tail -n 60 "$log"
  fi
  printf '%-12s %s executions\n' "$target" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")"
done
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
