// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#include "allocations.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

struct alignas(128) Wide {
  char bytes[128];
};

/// Makes the compiler believe that what is at `pointer` is read: it may leave out an allocation otherwise.
void use(void const* pointer)
{
  static void const* volatile last = nullptr;
  last = pointer;
  static_cast<void>(last);
}

}  // namespace

TEST_CASE("allocations: operator new is counted, with what is in use and the most that was")
{
  test::AllocationWatch const watch;
  {
    std::vector<char> const big(100'000);
    use(big.data());
    auto const wide = std::make_unique<Wide>();
    CHECK(reinterpret_cast<std::uintptr_t>(wide.get()) % 128 == 0);
    CHECK(watch.allocations() == 2);
    CHECK(watch.bytes_in_use() >= 100'128);
    CHECK(watch.bytes_in_use() < 110'000);
  }
  CHECK(watch.bytes_in_use() == 0);
  std::thread{[] { use(std::string(300'000, 'a').data()); }}.join();
  CHECK(watch.bytes_in_use() == 0);
  CHECK(watch.peak_bytes() >= 300'000);
  CHECK(watch.peak_bytes() < 350'000);
}

TEST_CASE("allocations: the one that is chosen fails, and no other")
{
  auto const three = [] {
    auto const first = std::make_unique<int>(1);
    auto const second = std::make_unique<Wide>();
    std::vector<int> const third(10);
    use(first.get());
    use(second.get());
    use(third.data());
  };
  std::vector<std::int64_t> failures;
  auto trial = test::fail_every_allocation(
      three, [&](std::int64_t n) { failures.push_back(n); }, [](std::int64_t) {});
  CHECK(failures == std::vector<std::int64_t>{0, 1, 2});
  CHECK(trial.failed == 3);
  CHECK(trial.survived == 0);
  CHECK(trial.leaks == 0);

  std::vector<std::unique_ptr<int>> kept;
  kept.reserve(10);
  auto const leaks = [&] {
    kept.push_back(std::make_unique<int>(1));
    std::vector<int> const second(10);
    use(second.data());
  };
  trial = test::fail_every_allocation(
      leaks, [](std::int64_t) {}, [](std::int64_t) {});
  CHECK(trial.leaks == 1);

  auto const swallows = [] {
    try {
      std::vector<int> const first(10);
      use(first.data());
    } catch (std::bad_alloc const&) {}
  };
  trial = test::fail_every_allocation(
      swallows, [](std::int64_t) {}, [](std::int64_t) {});
  CHECK(trial.survived == 1);
}
