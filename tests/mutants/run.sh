#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
#
#   tests/mutants/run.sh [<header>...]
#   tests/mutants/run.sh --match          only looks whether the headers still have the lines
#
# Plants the faults of mutants.txt one at a time, or those in the headers named, and expects the tests named there to
# fail, on the host, without recorded data. The tests must pass without a fault; a line that a header does not have
# exactly once, and a fault that does not compile, are failures.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1

# plant <header> <old> <new>: the header with the fault on stdout; fails unless <old> is there exactly once.
plant() {
  OLD=$2 NEW=$3 awk '
    { place = index($0, ENVIRON["OLD"]) }
    place > 0 {
      ++found
      if (index(substr($0, place + 1), ENVIRON["OLD"]) > 0) ++found
      $0 = substr($0, 1, place - 1) ENVIRON["NEW"] substr($0, place + length(ENVIRON["OLD"]))
    }
    { print }
    END { exit found != 1 }' "include/tessera/$1"
}

# for_each_mutant <command>: calls it with the header, the line, what replaces it, and the tests.
for_each_mutant() {
  local line file="" old="" new=""
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in
      '' | '#'*) ;;
      '- '*) old=${line#- } ;;
      '+'*) new=${line#+} new=${new# } ;;
      '= '*) "$1" "$file" "$old" "$new" "${line#= }" ;;
      *) file=$line ;;
    esac
  done <tests/mutants/mutants.txt
}

if [ "${1:-}" = "--match" ]; then
  count=0 missing=0
  match() {
    local test
    count=$((count + 1))
    plant "$1" "$2" "$3" >/dev/null || { missing=$((missing + 1)); echo "not there exactly once: $1: $2"; }
    for test in $4; do
      [ -e "tests/$test" ] || { missing=$((missing + 1)); echo "there is no tests/$test"; }
    done
  }
  for_each_mutant match
  echo "$count mutants, $missing faults"
  [ "$missing" -eq 0 ] && [ "$count" -gt 0 ]
  exit
fi

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
  if ! plant "$2" "$3" "$4" >"$overlay/tessera/$2"; then
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

count=0
chosen=" $* "
declare -A number_of
start() {
  if [ "$chosen" != "  " ] && [[ "$chosen" != *" $1 "* ]]; then return; fi
  count=$((count + 1))
  if [ -z "${number_of[$4]:-}" ]; then
    number_of[$4]=$count
    wait_for_place
    without_fault "$count" "$4" &
  fi
  wait_for_place
  with_fault "$count" "$1" "$2" "$3" "$4" &
}
for_each_mutant start
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
