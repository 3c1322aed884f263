# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
#
# awk -v allowed=<tests/may_skip.txt> -v missing="<condition> ..." -f summary.awk
#
# Reads `ctest --verbose`, prints a line for each test, what failed tests printed, and at the end
# `N passed, N failed, N skipped`: the cases of the unit.* binaries and one for each other test. A skip that the list of
# those allowed does not explain is a failure. Exits with 1 when something failed or nothing passed.

BEGIN {
  count = split(missing, words, " ")
  for (i = 1; i <= count; ++i) is_missing[words[i]] = 1
  is_missing["-"] = 1
  while ((getline line < allowed) > 0) {
    if (line ~ /^#/ || split(line, parts, " +[|] +") != 3) continue
    sub(/ +$/, "", parts[3])
    if (!(parts[1] in is_missing)) continue
    expected[++num_expected] = "^skipped: " parts[2] ": " parts[3] "$"
    reasons[num_expected] = ": " parts[3] "$"
  }
}

# The case that printed `skipped: <case>: <reason>` if the list allows it, else nothing.
function may_skip(line, i) {
  for (i = 1; i <= num_expected; ++i) {
    if (line ~ expected[i]) {
      match(line, reasons[i])
      return substr(line, 10, RSTART - 10)
    }
  }
  return ""
}

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
    if (may_skip("skipped: " name[id] ": " reason[id]) != "") {
      ++skipped
      print "   skipped: " name[id] ": " reason[id]
    } else {
      bad = 1
      output[id] = output[id] "this must not be skipped here: tests/may_skip.txt\n"
    }
  } else {
    bad = 1
    if (id in counted) passed += cases_passed[id]
  }
  if (id in counted) {
    unexpected = cases_skipped[id] - cases_explained[id]
    if (unexpected < 1 && id in refused) unexpected = 1
    if (unexpected > 0) {
      output[id] = output[id] unexpected " skipped that must not be: tests/may_skip.txt\n" refused[id]
      cases_failed[id] += unexpected
      cases_skipped[id] -= unexpected
    }
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
  if (name[id] !~ /^unit\./) {
    if (line ~ /^skipped: /) reason[id] = substr(line, 10)
  } else if (line ~ /^skipped: /) {
    print "   " line
    explained = may_skip(line)
    if (explained == "") refused[id] = refused[id] "   " line "\n"
    else if (!((id, explained) in told)) {  # a case may skip several of its parts
      told[id, explained] = 1
      ++cases_explained[id]
    }
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
