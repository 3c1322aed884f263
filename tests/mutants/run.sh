#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
#
#   tests/mutants/run.sh [<header>...]
#
# Plants the faults of mutants.txt one at a time, or those in the headers named, and expects the tests named there to
# fail, on the host, without recorded data. The tests must pass without a fault; a line that a header does not have
# exactly once, and a fault that does not compile, are failures.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
. tests/support/setup.sh

stop() {
  say "$*"
  echo "0 passed, 1 failed, 0 skipped"
  exit 1
}

set_up doctest-dev:/usr/include/doctest/doctest.h || stop "the set-up failed"
build=$PWD/build/mutants
cmake -S . -B "$build" -DTESSERA_ENABLE_CUDA=OFF -DTESSERA_BUILD_EXAMPLES=OFF -DCMAKE_BUILD_TYPE=Debug >/dev/null ||
  stop "the configuration failed"
cmake --build "$build" --parallel "$jobs" --target test_main >/dev/null || stop "the build failed"
work=$build/work
rm -rf "$work"
mkdir -p "$work"
mapfile -t objects < <(find "$build/tests/CMakeFiles/test_main.dir" -name '*.o')
version=$(sed -n 's/^CMAKE_PROJECT_VERSION:[A-Z]*=//p' "$build/CMakeCache.txt")

# compile <folder with a changed header, or none> <program> <tests>
compile() {
  local overlay=$1 program=$2
  # shellcheck disable=SC2086 # the tests are a list
  (cd tests && "${CXX:-c++}" -std=c++17 -O0 -w -I"$overlay" -I../include -DTESSERA_TEST_VERSION="\"$version\"" \
    $3 "${objects[@]}" -o "$program" -pthread)
}

# passes <program>
passes() {
  TESSERA_TEST_DATA=/nonexistent TESSERA_TEST_SMALL=1 timeout 600 "$1" >"$1.log" 2>&1
}

# Each job writes one line: `ok`, or what is wrong.
without_fault() { # <number> <tests>
  local program=$work/none_$1
  if ! compile "$work" "$program" "$2" >"$program.log" 2>&1; then
    echo "does not compile: $2" >"$work/base_$1"
  elif ! passes "$program"; then
    echo "fails without a fault: $2" >"$work/base_$1"
  else
    echo ok >"$work/base_$1"
  fi
  rm -f "$program"
}

with_fault() { # <number> <header> <old> <new> <tests>
  local overlay=$work/mutant_$1 program=$work/mutant_$1/program answer=$work/result_$1 where="$2: $3"
  mkdir -p "$(dirname "$overlay/tessera/$2")"
  if ! OLD=$3 NEW=$4 awk '
    { place = index($0, ENVIRON["OLD"]) }
    place > 0 {
      ++found
      $0 = substr($0, 1, place - 1) ENVIRON["NEW"] substr($0, place + length(ENVIRON["OLD"]))
      if (index(substr($0, place + length(ENVIRON["NEW"])), ENVIRON["OLD"]) > 0) ++found
    }
    { print }
    END { exit found != 1 }' "include/tessera/$2" >"$overlay/tessera/$2"; then
    echo "not there exactly once: $where" >"$answer"
  elif ! compile "$overlay" "$program" "$5" >"$answer.log" 2>&1; then
    echo "does not compile: $where" >"$answer"
  elif passes "$program"; then
    echo "MISSED: $where" >"$answer"
  else
    echo ok >"$answer"
  fi
  rm -f "$program"
}

wait_for_place() { while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done; }

count=0 file="" old="" new=""
declare -A number_of
while IFS= read -r line || [ -n "$line" ]; do
  case $line in
    '' | '#'*) ;;
    '- '*) old=${line#- } ;;
    '+'*) new=${line#+} new=${new# } ;;
    '= '*)
      tests=${line#= }
      if [ $# -gt 0 ] && [[ " $* " != *" $file "* ]]; then continue; fi
      count=$((count + 1))
      if [ -z "${number_of[$tests]:-}" ]; then
        number_of[$tests]=$count
        wait_for_place
        without_fault "$count" "$tests" &
      fi
      wait_for_place
      with_fault "$count" "$file" "$old" "$new" "$tests" &
      ;;
    *) file=$line ;;
  esac
done <tests/mutants/mutants.txt
wait

wrong=$(cat "$work"/base_* "$work"/result_* | grep -v '^ok$')
caught=$(cat "$work"/result_* | grep -c '^ok$')
if [ -n "$wrong" ]; then
  say "$wrong"
  failed=$(grep -c . <<<"$wrong")
else
  failed=0
fi
echo "$caught of $count mutants caught"
echo "$caught passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ] && [ "$caught" -gt 0 ]
