// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/memory.hpp"
#include "../support/skip.hpp"
#include "../support/small.hpp"

#include <tessera/core/buffer.hpp>
#include <tessera/core/parallel.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <limits>
#include <mutex>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#ifdef __CUDACC__
#include <tessera/core/execution.cuh>
#endif
#ifdef __linux__
#include <sys/resource.h>
#include <unistd.h>
#endif

using namespace tessera;

TEST_CASE("Execution<Host>: a parallel loop visits every index once, whatever the threads and the grain")
{
  for (int threads : {1, 2, 5}) {
    Execution<Host> const exec{threads};
    for (std::int64_t count : {0, 1, 7, 1000}) {
      for (std::int64_t grain : {1, 3, 1000, 5000}) {
        CAPTURE(threads);
        CAPTURE(count);
        CAPTURE(grain);
        std::vector<std::atomic<int>> visits(static_cast<std::size_t>(count));
        exec.parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end) {
          for (auto i = begin; i < end; ++i) { ++visits[static_cast<std::size_t>(i)]; }
        });
        CHECK(std::all_of(visits.begin(), visits.end(), [](auto const& n) { return n == 1; }));
      }
    }
  }
}

TEST_CASE("Execution<Host>: an exception in a loop reaches the caller, and the threads work on")
{
  Execution<Host> const exec{3};
  for (int round = 0; round < 20; ++round) {
    CHECK_THROWS_AS(exec.parallel_for(100, 1,
                                      [](std::int64_t begin, std::int64_t) {
                                        if (begin == 50) { throw invalid_argument{"fifty"}; }
                                      }),
                    invalid_argument);
    std::atomic<int> sum{0};
    exec.parallel_for(100, 1, [&](std::int64_t, std::int64_t) { ++sum; });
    CHECK(sum == 100);
  }
}

TEST_CASE("Execution<Host>: loops inside loops and loops of two threads at once finish")
{
  Execution<Host> const exec{2};
  std::atomic<int> sum{0};
  auto const work = [&] {
    for (int round = 0; round < 50; ++round) {
      exec.parallel_for(8, 1, [&](std::int64_t, std::int64_t) {
        exec.parallel_for(
            4, 1, [&](std::int64_t begin, std::int64_t end) { sum += static_cast<int>(end - begin); });
      });
    }
  };
  std::thread other{work};
  work();
  other.join();
  CHECK(sum == 2 * 50 * 8 * 4);
}

TEST_CASE("Execution<Host>: a loop may wait for a lock that another thread holds around its own loop")
{
  Execution<Host> const exec{2};
  std::mutex shared;
  std::atomic<bool> is_held{false};
  std::atomic<bool> is_waiting{false};
  std::atomic<int> visited{0};
  std::thread other{[&] {
    std::lock_guard const lock{shared};
    is_held = true;
    while (!is_waiting) { std::this_thread::yield(); }
    exec.parallel_for(
        100, 1, [&](std::int64_t begin, std::int64_t end) { visited += static_cast<int>(end - begin); });
  }};
  while (!is_held) { std::this_thread::yield(); }
  std::atomic<int> locked{0};
  exec.parallel_for(2, 1, [&](std::int64_t, std::int64_t) {
    is_waiting = true;
    auto const deadline = std::chrono::steady_clock::now() + std::chrono::seconds{10};
    while (std::chrono::steady_clock::now() < deadline) {  // would wait for ever, but for the test
      std::unique_lock const lock{shared, std::try_to_lock};
      if (lock.owns_lock()) {
        ++locked;
        break;
      }
      std::this_thread::yield();
    }
  });
  other.join();
  CHECK(locked == 2);
  CHECK(visited == 100);
}

TEST_CASE("Execution<Host>: has the threads that the system gives, and works with them")
{
#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  if (test::skip_emulated("the emulator heeds no limit of memory")) { return; }
  std::int64_t pages = 0;
  std::ifstream{"/proc/self/statm"} >> pages;
  REQUIRE(pages > 0);
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_AS, &before) == 0);
  auto limited = before;  // room for a few of the threads' stacks
  limited.rlim_cur =
      std::min(before.rlim_max, static_cast<rlim_t>(pages * sysconf(_SC_PAGESIZE)) + (rlim_t{256} << 20));
  REQUIRE(setrlimit(RLIMIT_AS, &limited) == 0);
  int threads = 0;
  std::atomic<int> sum{0};
  {
    Execution<Host> const exec{1000};
    threads = exec.num_threads();
    exec.parallel_for(100, 1, [&](std::int64_t, std::int64_t) { ++sum; });
  }
  REQUIRE(setrlimit(RLIMIT_AS, &before) == 0);
  CHECK(threads >= 1);
  CHECK(threads < 1000);
  CHECK(sum == 100);
#endif
}

TEST_CASE("Execution<Host>: more threads than any loop can use are refused, before one is started")
{
  for (int const threads : {1025, 1000000, std::numeric_limits<int>::max()}) {
    CAPTURE(threads);
    CHECK_THROWS_WITH_AS(Execution<Host>{threads},
                         ("Execution: " + std::to_string(threads) + " threads; at most 1024").c_str(),
                         invalid_argument);
  }
  CHECK(Execution<Host>{0}.num_threads() == 1);
  CHECK(Execution<Host>{-5}.num_threads() == 1);
}

TEST_CASE("Execution<Host>: a loop of pieces without an index is refused, and of no index does nothing")
{
  for (int const threads : {1, 3}) {  // on one thread it would end without the check
    Execution<Host> const exec{threads};
    int calls = 0;
    auto const count = [&](std::int64_t, std::int64_t) { ++calls; };
    for (std::int64_t const grain : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{INT64_MIN}}) {
      CAPTURE(grain);
      REQUIRE_THROWS_AS(exec.parallel_for(5, grain, count), invalid_argument);
    }
    exec.parallel_for(0, 1, count);
    exec.parallel_for(-5, 1, count);
    CHECK(calls == 0);
  }
}

TEST_CASE_TEMPLATE("Execution: one that was moved from is as good as before", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  test::CountedMemory<Space> memory;
  auto exec = memory.execution(2);
  auto const sum = [](Execution<Space> const& on) {
    Buffer<int, Space> const buffer = upload(std::vector<int>{1, 2, 3}, on);
    auto const values = download(buffer, on);
    return std::accumulate(values.begin(), values.end(), 0);
  };
  Execution<Space> moved{std::move(exec)};
  CHECK(sum(exec) == 6);  // NOLINT(bugprone-use-after-move)
  CHECK(sum(moved) == 6);
  exec = std::move(moved);
  CHECK(sum(exec) == 6);
  CHECK(sum(moved) == 6);  // NOLINT(bugprone-use-after-move)
  CHECK(&moved.memory() == &memory);
  CHECK(moved.stream() == exec.stream());
  if constexpr (std::is_same_v<Space, Host>) {
    CHECK(moved.num_threads() == 2);
    std::atomic<int> visited{0};
    moved.parallel_for(100, 1, [&](std::int64_t, std::int64_t) { ++visited; });
    CHECK(visited == 100);
  }
  auto const copy = exec;
  CHECK(sum(copy) == 6);
}

#ifdef __CUDACC__
TEST_CASE("Execution<Device>: without a device the error is a cuda_error and says so")
{
  if (test::absence_of<Device>().empty()) { return test::skip("there is a CUDA device"); }
  CHECK_THROWS_AS(Execution<Device>{}, cuda_error);
}

TEST_CASE("PoolMemoryResource: gives and takes back memory, and tells its peak <Device>")
{
  if (test::skipped<Device>()) { return; }
  PoolMemoryResource pool{0};
  Execution<Device> const exec{nullptr, &pool};
  {
    Buffer<std::uint8_t, Device> const first{1 << 20, exec};
    Buffer<std::uint8_t, Device> const second{1 << 21, exec};
  }
  exec.wait();
  CHECK(pool.peak_bytes() >= 3U << 20);
  pool.reset_peak();
  CHECK(pool.peak_bytes() < 3U << 20);
  pool.trim();
}
#endif
