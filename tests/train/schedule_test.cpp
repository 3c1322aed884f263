// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/files.hpp"

#include <tessera/train/schedule.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <vector>

using namespace tessera;
using train::Schedule;

namespace {

constexpr double pi = 3.14159265358979323846;

void check_rate(Schedule const& schedule, std::int64_t step, double expected)
{
  CAPTURE(step);
  CHECK(schedule.learning_rate(step) == doctest::Approx(expected).epsilon(1e-12));
}

}  // namespace

TEST_CASE("schedule: a constant rate stays, and a warm-up rises to it in equal steps")
{
  auto schedule = Schedule::constant(0.5);
  check_rate(schedule, 0, 0.5);
  check_rate(schedule, 1'000'000, 0.5);
  schedule.warm_up(4, 0.2);
  std::vector<double> const expected{0.1, 0.2, 0.3, 0.4, 0.5, 0.5};
  for (std::size_t t = 0; t < expected.size(); ++t) {
    check_rate(schedule, static_cast<std::int64_t>(t), expected[t]);
  }
}

TEST_CASE("schedule: steps multiply the rate every so many steps, counted from the end of the warm-up")
{
  auto const schedule = Schedule::step(1, 3, 0.5);
  std::vector<double> const expected{1, 1, 1, 0.5, 0.5, 0.5, 0.25};
  for (std::size_t t = 0; t < expected.size(); ++t) {
    check_rate(schedule, static_cast<std::int64_t>(t), expected[t]);
    check_rate(Schedule{schedule}.warm_up(10), static_cast<std::int64_t>(t) + 10, expected[t]);
  }
}

TEST_CASE("schedule: a cosine falls from the rate to the last one and stays there")
{
  auto const schedule = Schedule::cosine(2, 8, 0.5);
  for (std::int64_t t = 0; t <= 8; ++t) {
    check_rate(schedule, t, 0.5 + (2 - 0.5) * (1 + std::cos(pi * static_cast<double>(t) / 8)) / 2);
  }
  check_rate(schedule, 9, 0.5);
  check_rate(schedule, 1000, 0.5);
  // with a warm-up, which is part of the total
  auto const warm = Schedule::cosine(2, 10, 0.5).warm_up(2, 0);
  check_rate(warm, 0, 0);
  check_rate(warm, 1, 1);
  for (std::int64_t t = 0; t <= 10; ++t) { check_rate(warm, t + 2, schedule.learning_rate(t)); }
}

TEST_CASE("schedule: one cycle rises and falls by half a cosine, the momentum against it")
{
  // OneCycleLR's definition, with its phases as lists: total 10, a rise of 30 %
  auto const schedule = Schedule::one_cycle(1, 10, 0.3, 10, 100).momentum(0.85, 0.95);
  double const top = 0.3 * 10 - 1;
  auto const between = [](double from, double to, double at) {
    return to + (from - to) / 2 * (std::cos(pi * at) + 1);
  };
  for (std::int64_t t = 0; t < 10; ++t) {
    auto const at = static_cast<double>(t);
    bool const rises = at <= top;
    auto const share = rises ? at / top : (at - top) / (9 - top);
    check_rate(schedule, t, rises ? between(0.1, 1, share) : between(1, 0.001, share));
    CHECK(schedule.momentum_of(t, 0.5) ==
          doctest::Approx(rises ? between(0.95, 0.85, share) : between(0.85, 0.95, share)));
  }
  check_rate(schedule, 0, 0.1);
  check_rate(schedule, 2, 1);
  check_rate(schedule, 9, 0.001);
  check_rate(schedule, 100, 0.001);
  CHECK(Schedule::one_cycle(1, 10).momentum_of(3, 0.5) == 0.5);
}

TEST_CASE("schedule: one cycle that only rises, or only falls, has its rates too")
{
  check_rate(Schedule::one_cycle(1, 5, 1, 10), 4, 1);
  check_rate(Schedule::one_cycle(1, 5, 0, 10, 10), 4, 0.01);
  for (std::int64_t t = 0; t < 8; ++t) {
    CHECK(std::isfinite(Schedule::one_cycle(1, 5, 1, 10).learning_rate(t)));
    CHECK(std::isfinite(Schedule::one_cycle(1, 5, 0, 10).learning_rate(t)));
    CHECK(std::isfinite(Schedule::one_cycle(1, 2).learning_rate(t)));
  }
}

TEST_CASE("schedule: goes through its numbers unchanged")
{
  for (auto const& schedule : {Schedule::constant(0.25), Schedule::step(3, 7, 0.7).warm_up(5),
                               Schedule::cosine(2, 100, 0.1).warm_up(9, 0.5),
                               Schedule::one_cycle(0.3, 77, 0.4, 12, 34).momentum(0.8, 0.9)}) {
    auto const again = Schedule::from(schedule.numbers());
    for (std::int64_t t = 0; t < 120; ++t) {
      CHECK(again.learning_rate(t) == schedule.learning_rate(t));
      CHECK(again.momentum_of(t, 0.4) == schedule.momentum_of(t, 0.4));
    }
  }
}

TEST_CASE("schedule: refuses what it cannot mean")
{
  CHECK_THROWS_AS(static_cast<void>(Schedule::constant(-1)), invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(Schedule::constant(std::nan(""))), invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(Schedule::step(1, 0)), invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(Schedule::cosine(1, 0)), invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(Schedule::one_cycle(1, 1)), invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(Schedule::one_cycle(1, 10, 1.5)), invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(Schedule::one_cycle(1, 10, 0.3, 0)), invalid_argument);
  CHECK_THROWS_AS(Schedule::one_cycle(1, 10).warm_up(2), invalid_argument);
  CHECK_THROWS_AS(Schedule::cosine(1, 10).warm_up(10), invalid_argument);
  CHECK_THROWS_AS(Schedule::constant(1).warm_up(-1), invalid_argument);
  CHECK_THROWS_AS(Schedule::cosine(1, 10).momentum(0.8, 0.9), invalid_argument);
  CHECK_THROWS_WITH_AS(static_cast<void>(Schedule::cosine(1, 10, -0.5)),
                       "Schedule::cosine: a last learning rate of -0.5; it must be finite and at least 0",
                       invalid_argument);
  CHECK_THROWS_WITH_AS(static_cast<void>(Schedule::step(1, 10, -2)),
                       "Schedule::step: a factor of -2; it must be finite and at least 0", invalid_argument);
  CHECK_THROWS_WITH_AS(Schedule::cosine(1, 10).warm_up(2, -1),
                       "Schedule::warm_up: a first factor of -1; it must be finite and at least 0",
                       invalid_argument);
  for (double const none : {std::nan(""), HUGE_VAL}) {
    CHECK_THROWS_AS(static_cast<void>(Schedule::cosine(1, 10, none)), invalid_argument);
    CHECK_THROWS_AS(static_cast<void>(Schedule::step(1, 10, none)), invalid_argument);
    CHECK_THROWS_AS(Schedule::constant(1).warm_up(2, none), invalid_argument);
    CHECK_THROWS_AS(Schedule::one_cycle(1, 10).momentum(none, 0.9), invalid_argument);
    CHECK_THROWS_AS(Schedule::one_cycle(1, 10).momentum(0.8, none), invalid_argument);
    CHECK_THROWS_AS(static_cast<void>(Schedule::from({2, 1, 1, 1, 10, 1, none, 0, 1, -1, -1})),
                    invalid_argument);
    CHECK_THROWS_AS(static_cast<void>(Schedule::from({2, 1, 1, 1, none, 1, 0, 0, 1, -1, -1})),
                    invalid_argument);
  }
  CHECK_THROWS_AS(static_cast<void>(Schedule::one_cycle(1, 10, 0.3, 1e-320)), invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(Schedule::from({1, 1, 0, 1, 1, 0, 0, 0, 1, -1, -1})), invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(Schedule::from({7, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1})), invalid_argument);
}
