// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// The floating-point environment of whoever calls is that of every thread of a loop.

#include <tessera/core/detail/float_environment.hpp>
#include <tessera/core/execution.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <cfenv>
#include <chrono>
#include <cstring>
#include <limits>
#include <string>
#include <thread>
#include <vector>

using namespace tessera;

namespace {

struct Environment {
  std::string name;
  void (*enter)();
};

void flush_subnormals()
{
#if defined(__x86_64__)
  __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8040U);
#elif defined(__aarch64__)
  std::uint64_t fpcr = 0;
  asm volatile("mrs %0, fpcr" : "=r"(fpcr));
  fpcr |= std::uint64_t{1} << 24;
  asm volatile("msr fpcr, %0" : : "r"(fpcr));
#endif
}

std::vector<Environment> all_environments()
{
  std::vector<Environment> all{{"as the program began", [] {}},
                               {"upward", [] { std::fesetround(FE_UPWARD); }},
                               {"downward", [] { std::fesetround(FE_DOWNWARD); }},
                               {"towards zero", [] { std::fesetround(FE_TOWARDZERO); }}};
#if defined(__x86_64__) || defined(__aarch64__)
  all.push_back({"subnormals are flushed", flush_subnormals});
  all.push_back({"upward, subnormals are flushed", [] {
                   std::fesetround(FE_UPWARD);
                   flush_subnormals();
                 }});
#endif
  return all;
}

/// Numbers that every one of the environments gives other bits.
std::vector<std::uint32_t> compute()
{
  float const volatile third = 3.0F;
  float const volatile one = 1.0F;
  float const volatile least = std::numeric_limits<float>::min();
  float const results[] = {one / third, -one / third, least / third, least * third};
  std::vector<std::uint32_t> bits(4);
  std::memcpy(bits.data(), results, sizeof(results));
  return bits;
}

/// compute() on two threads of `exec`, which wait for each other so that neither takes both pieces.
std::vector<std::vector<std::uint32_t>> compute_on_two_threads(Execution<Host> const& exec)
{
  std::vector<std::vector<std::uint32_t>> results(2);
  std::atomic<int> begun{0};
  auto const deadline = std::chrono::steady_clock::now() + std::chrono::seconds{60};
  exec.parallel_for(2, 1, [&](std::int64_t begin, std::int64_t) {
    ++begun;
    while (begun < 2 && std::chrono::steady_clock::now() < deadline) { std::this_thread::yield(); }
    results[static_cast<std::size_t>(begin)] = compute();
  });
  return results;
}

}  // namespace

TEST_CASE("floating-point environment: every thread of a loop has the caller's, and its own afterwards")
{
  Execution<Host> const exec{2};
  auto const usual = compute();
  std::fenv_t own;
  REQUIRE(std::fegetenv(&own) == 0);
  for (auto const& environment : all_environments()) {
    CAPTURE(environment.name);
    environment.enter();
    auto const expected = compute();
    auto const found = compute_on_two_threads(exec);
    auto const afterwards = compute();
    std::fesetenv(&own);
    auto const later = compute_on_two_threads(exec);
    CHECK((environment.name == "as the program began") == (expected == usual));
    CHECK(found == std::vector<std::vector<std::uint32_t>>(2, expected));
    CHECK(afterwards == expected);
    CHECK(later == std::vector<std::vector<std::uint32_t>>(2, usual));
  }
}

TEST_CASE("floating-point environment: a loop that throws leaves it as it was on every thread")
{
  Execution<Host> const exec{2};
  auto const usual = compute();
  std::fenv_t own;
  REQUIRE(std::fegetenv(&own) == 0);
  std::fesetround(FE_UPWARD);
  CHECK_THROWS_AS(exec.parallel_for(50, 1, [](std::int64_t, std::int64_t) { throw 1; }), int);
  bool const is_kept = std::fegetround() == FE_UPWARD;
  std::fesetenv(&own);
  CHECK(is_kept);
  CHECK(compute_on_two_threads(exec) == std::vector<std::vector<std::uint32_t>>(2, usual));
}
