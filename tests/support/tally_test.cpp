// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#include "tally.hpp"

#include <doctest/doctest.h>

namespace {

void run(test::Tally& tally, bool skips, bool fails)
{
  tally.start("a case");
  if (skips) { tally.skip("a reason"); }
  tally.end(fails);
}

}  // namespace

TEST_CASE("tally: a case counts once, and a failure weighs more than a skip")
{
  test::Tally tally;
  CHECK(tally.line() == "0 passed, 0 failed, 0 skipped");
  run(tally, false, false);
  CHECK(tally.line() == "1 passed, 0 failed, 0 skipped");
  run(tally, true, false);
  CHECK(tally.line() == "1 passed, 0 failed, 1 skipped");
  run(tally, true, true);
  CHECK(tally.line() == "1 passed, 1 failed, 1 skipped");
  run(tally, false, true);
  CHECK(tally.line() == "1 passed, 2 failed, 1 skipped");
  run(tally, false, false);
  CHECK(tally.line() == "2 passed, 2 failed, 1 skipped");
  tally.left_out();
  CHECK(tally.line() == "2 passed, 2 failed, 2 skipped");
}

TEST_CASE("tally: a case that skips twice is one skipped case")
{
  test::Tally tally;
  tally.start("a case");
  CHECK(tally.skip("no device") == "skipped: a case: no device");
  CHECK(tally.skip("no file") == "skipped: a case: no file");
  tally.end(false);
  CHECK(tally.line() == "0 passed, 0 failed, 1 skipped");
}

TEST_CASE("tally: a skip between cases touches no count")
{
  test::Tally tally;
  run(tally, false, false);
  CHECK(tally.skip("late") == "skipped: (no test case): late");
  run(tally, false, false);
  CHECK(tally.line() == "2 passed, 0 failed, 0 skipped");
}
