// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include <tessera/core/detail/per_device.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

using namespace tessera;

TEST_CASE("PerDevice: a value is made once for each number, however many threads ask")
{
  static detail::PerDevice<int> values;  // static, since values are never destroyed
  std::atomic<int> made{0};
  std::atomic<int> wrong{0};
  auto const ask = [&] {
    for (int number = 0; number < 64; ++number) {
      auto const& value = values.get(number, [&] { return ++made, 10 * number; });
      if (value != 10 * number) { ++wrong; }
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) { threads.emplace_back(ask); }
  for (auto& thread : threads) { thread.join(); }
  CHECK(made == 64);
  CHECK(wrong == 0);
}

TEST_CASE("PerDevice: what could not be made is tried again, and other numbers are refused")
{
  static detail::PerDevice<int> values;  // static, since values are never destroyed
  CHECK_THROWS_AS((void)values.get(3, []() -> int { throw std::runtime_error{"not yet"}; }),
                  std::runtime_error);
  CHECK(values.get(3, [] { return 5; }) == 5);
  CHECK(values.get(3, [] { return 6; }) == 5);
  for (int const number : std::vector<int>{-1, 64}) {
    CHECK_THROWS_AS((void)values.get(number, [] { return 0; }), invalid_argument);
  }
}
