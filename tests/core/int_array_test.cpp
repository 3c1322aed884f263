// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include <tessera/core/int_array.hpp>

#include <doctest/doctest.h>

#include <climits>
#include <string>

using namespace tessera;

TEST_CASE("IntArray: one number stands for every axis, a list for one each")
{
  IntArray<3> const all = 2;
  CHECK(all == IntArray<3>{2, 2, 2});
  CHECK(IntArray<3>{5} == IntArray<3>{5, 5, 5});
  CHECK(IntArray<3>(std::array<int, 3>{1, 2, 3}) == IntArray<3>{1, 2, 3});
  CHECK(IntArray<3>{1, 2, 3} != IntArray<3>{1, 2, 4});
  CHECK(min_element(IntArray<3>{4, -1, 2}) == -1);
  CHECK(all_equal(all, 2));
  CHECK_FALSE(all_equal(IntArray<2>{2, 1}, 2));
}

TEST_CASE("IntArray: a list of another length is refused with both lengths")
{
  auto const make = [] { return IntArray<3>{1, 2}; };
  CHECK_THROWS_WITH_AS(make(), "expected 1 or 3 numbers, one for each axis, but got 2: [1, 2]",
                       invalid_argument);
}

TEST_CASE("IntArray: product, smallest and largest entry")
{
  CHECK(product(IntArray<3>{2, 3, 7}) == 42);
  CHECK(product(IntArray<1>(5)) == 5);
  CHECK(product(IntArray<4>{2, 0, 9, 9}) == 0);
  CHECK(product(IntArray<3>{1 << 30, 2, 1}) == INT_MAX);  // a kernel that is refused later, with its numbers
  CHECK(product(IntArray<3>{9, 954437177, 1}) == INT_MAX);  // 1 modulo 2^32
  CHECK(product(IntArray<6>(INT_MAX)) == INT_MAX);
  CHECK(product(IntArray<6>(INT_MIN)) == INT_MAX);
  CHECK(product(IntArray<3>(INT_MIN)) == -INT_MAX);
  CHECK(product(IntArray<4>{INT_MAX, INT_MAX, 0, 9}) == 0);
  CHECK(product(IntArray<2>{INT_MAX, 1}) == INT_MAX);
  CHECK(min_element(IntArray<3>{2, -3, 7}) == -3);
  CHECK(max_element(IntArray<3>{2, 9, 7}) == 9);
}

TEST_CASE("floor_div and ceil_div: round down and up for negative numbers too")
{
  for (int a = -20; a <= 20; ++a) {
    for (int b = 1; b <= 5; ++b) {
      CAPTURE(a);
      CAPTURE(b);
      int const floor = detail::floor_div(a, b);
      CHECK(floor * b <= a);
      CHECK((floor + 1) * b > a);
      int const ceil = detail::ceil_div(a, b);
      CHECK(ceil * b >= a);
      CHECK((ceil - 1) * b < a);
    }
  }
  CHECK(detail::ceil_div(INT_MIN, 1) == INT_MIN);
  CHECK(detail::ceil_div(INT_MAX, 2) == 1 << 30);
  CHECK(detail::floor_div(INT_MIN, 7) == -306783379);
}
