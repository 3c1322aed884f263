// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// A test binary with one case of each ending; a test in CTest reads what it prints.
#include "data.hpp"
#include "skip.hpp"

#include <doctest/doctest.h>

#include <stdexcept>

TEST_CASE("passes")
{
  CHECK(true);
}
TEST_CASE("fails")
{
  CHECK(1 == 2);
}
TEST_CASE("throws")
{
  throw std::runtime_error{"thrown"};
}
TEST_CASE("skips itself")
{
  test::skip("on purpose");
}
TEST_CASE("is left out" * doctest::skip())
{
  CHECK(false);
}

TEST_CASE("skips without its file")
{
  auto const file = test::data_file("no/such/file");
  CHECK_FALSE(file.has_value());
  CHECK(test::data_files("no/such/folder", ".bin").empty());
}

TEST_CASE("skips itself and fails")
{
  test::skip("on purpose");
  CHECK(false);
}

TEST_CASE("skips in one of two subcases")
{
  SUBCASE("first")
  {
    test::skip("on purpose");
  }
  SUBCASE("second")
  {
    CHECK(true);
  }
}
