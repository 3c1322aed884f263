# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
#
# Reads `ctest --verbose`, prints a line for each test, what failed tests printed, and at the end
# `N passed, N failed, N skipped`: the cases of the unit.* binaries and one for each other test. Exits with 1 when
# something failed or nothing passed.

# "      Start 12: name"
$1 == "Start" && $2 ~ /^[0-9]+:$/ {
  name[$2 + 0] = $3
  next
}

# " 3/17 Test #12: name ....   Passed    0.01 sec"
$2 == "Test" && $3 ~ /^#[0-9]+:$/ {
  id = substr($3, 2) + 0
  ended[id] = 1
  bad = 0
  if (/ Passed +[0-9.]+ sec/) {
    if (id in counted) passed += cases_passed[id]
    else if (name[id] ~ /^unit\./) bad = 1  # a binary that ran says how many cases it had
    else ++passed
  } else if (/\*\*\*Skipped/) {
    ++skipped
    printf "%s", output[id]  # why
  } else {
    bad = 1
    if (id in counted) passed += cases_passed[id]
  }
  if (id in counted) {
    failed += cases_failed[id]
    skipped += cases_skipped[id]
    if (cases_failed[id] > 0 && !bad) bad = 1
    else if (bad && cases_failed[id] == 0) ++failed
  } else if (bad) {
    ++failed
  }
  print
  fflush()
  if (bad) report = report "\n---- " name[id] "\n" output[id]
  delete output[id]
  next
}

# "12: a line that test 12 printed"
$1 ~ /^[0-9]+:$/ {
  id = $1 + 0
  line = $0
  sub(/^[0-9]+: ?/, "", line)
  output[id] = output[id] line "\n"
  if (name[id] !~ /^unit\./) next
  if (line ~ /^skipped: /) {
    print "   " line
  } else if (line ~ /^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$/) {
    counted[id] = 1
    cases_passed[id] = $2
    cases_failed[id] = $4
    cases_skipped[id] = $6
  }
}

END {
  for (id in name) {
    if (!(id in ended)) {
      ++failed
      report = report "\n---- " name[id] " did not end\n" output[id]
    }
  }
  if (report != "") print report
  printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
  exit failed > 0 || passed == 0
}
