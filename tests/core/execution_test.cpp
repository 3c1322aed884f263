// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/memory.hpp"
#include "../support/small.hpp"

#include <tessera/core/buffer.hpp>
#include <tessera/core/matrix.hpp>
#include <tessera/core/parallel.hpp>
#include <tessera/core/sort.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <limits>
#include <mutex>
#include <numeric>
#include <random>
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

TEST_CASE_TEMPLATE("Buffer: uploads, copies, fills and downloads keep the values; moving empties the source",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::vector<int> values(1000);
  std::iota(values.begin(), values.end(), -500);
  auto buffer = upload(values, exec);
  CHECK(download(buffer, exec) == values);
  auto const second = copy(buffer.data(), buffer.size(), exec);
  fill_bytes(buffer, 0xff, exec);
  CHECK(download(buffer, exec) == std::vector<int>(1000, -1));
  CHECK(download(second, exec) == values);
  auto moved = std::move(buffer);
  CHECK(buffer.empty());
  CHECK(moved.size() == 1000);
  moved = Buffer<int, Space>{0, exec};
  CHECK(download(moved, exec).empty());
}

TEST_CASE_TEMPLATE("Buffer: sizes that cannot be are refused, and more memory than there is throws", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  CHECK_THROWS_AS((Buffer<int, Space>{-1, exec}), invalid_argument);
  CHECK_THROWS_AS((Buffer<double, Space>{INT64_MAX / 2, exec}), invalid_argument);
  CHECK_THROWS_AS((Matrix<float, Space>{-1, 4, exec}), invalid_argument);
  CHECK_THROWS_AS((Matrix<float, Space>{INT64_MAX / 2, 4, exec}), invalid_argument);
  auto const too_much = [&] { return Buffer<std::uint8_t, Space>{std::int64_t{1} << 50, exec}; };
  if constexpr (std::is_same_v<Space, Host>) {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // whose operator new ends the program
    CHECK_THROWS_AS(too_much(), std::bad_alloc);
#endif
  } else {
    CHECK_THROWS_AS(too_much(), cuda_error);
  }
  CHECK(download(upload(std::vector<int>{1, 2}, exec), exec) == std::vector<int>{1, 2});  // still usable
}

TEST_CASE_TEMPLATE("Buffer: memory comes from the execution's resource and all of it goes back", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  test::CountedMemory<Space> memory;
  auto const exec = memory.execution(1);
  {
    Buffer<int, Space> a{100, exec};
    Buffer<int, Space> const b{std::move(a)};
    Buffer<int, Space> const none{0, exec};
    CHECK(memory.bytes_in_use() == 400);
    CHECK(memory.allocations() == 1);
  }
  CHECK(memory.bytes_in_use() == 0);
}

TEST_CASE("Execution<Host>: has the threads that the system gives, and works with them")
{
#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
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

TEST_CASE_TEMPLATE("Matrix: an upload of no columns has no rows, and elements need columns", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const none = upload_matrix(std::vector<float>{}, 0, exec);
  CHECK(none.rows() == 0);
  CHECK(none.columns() == 0);
  CHECK(upload_matrix(std::vector<float>{}, 3, exec).columns() == 3);
  CHECK(Matrix<float, Space>{7, 0, exec}.rows() == 7);
  CHECK_THROWS_WITH_AS((void)upload_matrix(std::vector<float>(5), 0, exec),
                       "upload_matrix: 5 elements in rows of 0 columns; say how many columns the rows have",
                       invalid_argument);
  CHECK_THROWS_WITH_AS((void)upload_matrix(std::vector<float>(5), 2, exec),
                       "upload_matrix: 5 elements do not make rows of 2", invalid_argument);
  CHECK_THROWS_AS((void)upload_matrix(std::vector<float>(5), -5, exec), invalid_argument);
}

TEST_CASE_TEMPLATE("Matrix: moving empties the source", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto first = upload_matrix(std::vector<float>{1, 2, 3, 4, 5, 6}, 2, exec);
  auto second = std::move(first);
  CHECK(first.rows() == 0);
  CHECK(first.columns() == 0);
  CHECK(first.view().size() == 0);
  CHECK(second.rows() == 3);
  first = std::move(second);
  CHECK(second.rows() == 0);
  CHECK(download(first.data(), first.size(), exec) == std::vector<float>{1, 2, 3, 4, 5, 6});
}

TEST_CASE_TEMPLATE("Sort: pairs come out ascending and equal keys keep their order", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for (std::int64_t count : {0, 1, 2, 1000, 100000}) {
    if ((count > 1000 && test::small_sets()) || (count != 1000 && test::few_cases())) { continue; }
    CAPTURE(count);
    std::mt19937 random{7};
    std::vector<std::uint32_t> keys(static_cast<std::size_t>(count));
    std::vector<int> values(keys.size());
    for (std::size_t i = 0; i < keys.size(); ++i) {
      keys[i] = static_cast<std::uint32_t>(random() % 100);
      values[i] = static_cast<int>(i);
    }
    auto const device_keys = upload(keys, exec);
    auto const device_values = upload(values, exec);
    Buffer<std::uint32_t, Space> sorted_keys{count, exec};
    Buffer<int, Space> sorted_values{count, exec};
    detail::Sort<Space>::pairs(device_keys.data(), device_values.data(), sorted_keys.data(),
                               sorted_values.data(), count, 7, exec);
    std::stable_sort(values.begin(), values.end(), [&](int a, int b) {
      return keys[static_cast<std::size_t>(a)] < keys[static_cast<std::size_t>(b)];
    });
    std::sort(keys.begin(), keys.end());
    CHECK(download(sorted_keys, exec) == keys);
    CHECK(download(sorted_values, exec) == values);
    detail::Sort<Space>::keys(device_keys.data(), sorted_keys.data(), count, 7, exec);
    CHECK(download(sorted_keys, exec) == keys);
  }
}

namespace {

/// Items with keys of `Key`; keys whose lowest two bits are 3 become all ones, which are no runs.
template <class Key>
struct NumberedItems {
  using KeyType = Key;

  Key const* from;        // [count]
  Key* keys;              // [count] sorted
  std::int32_t* values;   // [count]
  std::int32_t* numbers;  // [count] by item
  std::int32_t* firsts;   // [runs] items that begin runs
  std::int32_t* runs;     // [1]

  TESSERA_HOST_DEVICE Key key(std::int64_t i) const
  {
    return (from[i] & 3) == 3 ? static_cast<Key>(~Key{0}) : from[i];
  }
  TESSERA_HOST_DEVICE void store(std::int64_t place, Key key, std::int32_t value) const
  {
    keys[place] = key;
    values[place] = value;
  }
  TESSERA_HOST_DEVICE Key sorted_key(std::int64_t place) const { return keys[place]; }
  TESSERA_HOST_DEVICE void run(std::int64_t place, std::int32_t number, bool first) const
  {
    numbers[values[place]] = number;
    if (first) { firsts[number] = values[place]; }
  }
  TESSERA_HOST_DEVICE void end(std::int32_t count) const { *runs = count; }
};

/// Sorts random keys of `bits - 1` bits as a task, and numbers their runs, where the space does.
template <class Key, class Space>
void check_sort_task(std::int64_t count, int bits, unsigned seed)
{
  CAPTURE(count);
  CAPTURE(bits);
  CAPTURE(seed);
  Execution<Space> const exec{};
  std::mt19937_64 random{seed};
  std::vector<Key> keys(static_cast<std::size_t>(count));
  auto const few = seed % 2 == 0 ? 0 : bits / 2;  // long runs, and short ones
  for (auto& key : keys) {
    key = static_cast<Key>(random() & ((std::uint64_t{1} << (bits - 1)) - 1)) >> few << few;
  }
  auto const kept = [&](std::size_t i) { return (keys[i] & 3) == 3 ? static_cast<Key>(~Key{0}) : keys[i]; };
  std::vector<std::int32_t> order(keys.size());
  for (std::size_t i = 0; i < order.size(); ++i) { order[i] = static_cast<std::int32_t>(i); }
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return kept(static_cast<std::size_t>(a)) < kept(static_cast<std::size_t>(b));
  });
  std::vector<std::int32_t> numbers(keys.size());
  std::vector<std::int32_t> firsts;
  for (std::size_t p = 0; p < order.size(); ++p) {
    auto const i = static_cast<std::size_t>(order[p]);
    bool const none = kept(i) == static_cast<Key>(~Key{0});
    if (!none && (p == 0 || kept(static_cast<std::size_t>(order[p - 1])) != kept(i))) {
      firsts.push_back(order[p]);
    }
    numbers[i] = none ? -1 : static_cast<std::int32_t>(firsts.size()) - 1;
  }

  auto const from = upload(keys, exec);
  Buffer<Key, Space> sorted{count, exec};
  Buffer<std::int32_t, Space> values{count, exec};
  Buffer<std::int32_t, Space> found_numbers{count, exec};
  Buffer<std::int32_t, Space> found_firsts{count, exec};
  fill_bytes(found_firsts, 0, exec);  // those behind the runs
  Buffer<std::int32_t, Space> runs{1, exec};
  NumberedItems<Key> const task{from.data(),          sorted.data(),       values.data(),
                                found_numbers.data(), found_firsts.data(), runs.data()};
  detail::Sort<Space>::run(task, count, bits, exec);
  CHECK(download(values, exec) == order);
  fill_bytes(values, 0, exec);
  if (!detail::Sort<Space>::number_runs(task, count, bits, exec)) { return; }
  CHECK(download(values, exec) == order);
  CHECK(download(found_numbers, exec) == numbers);
  REQUIRE(download(runs, exec)[0] == static_cast<std::int32_t>(firsts.size()));
  auto begun = download(found_firsts, exec);
  begun.resize(firsts.size());
  CHECK(begun == firsts);
}

}  // namespace

TEST_CASE_TEMPLATE("Sort: a task's items come in the order of their keys, and runs are numbered", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  unsigned seed = 0;
  for (std::int64_t const count : {0, 1, 33, 1000, 8191, 100000, 300000}) {
    if ((count > 1000 && test::small_sets()) || (count != 1000 && test::few_cases())) { continue; }
    for (int const bits : {3, 8, 9, 17, 27, 32}) {
      if (test::few_cases() && bits != 27) { continue; }
      check_sort_task<std::uint32_t, Space>(count, bits, ++seed);
    }
    for (int const bits : {5, 34, 64}) {
      if (test::few_cases() && bits != 34) { continue; }
      check_sort_task<std::uint64_t, Space>(count, bits, ++seed);
    }
  }
}

TEST_CASE_TEMPLATE("Scan: sums[i] is the sum of the values before i, in place too", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for (std::int64_t count : {0, 1, 5, 70000}) {
    CAPTURE(count);
    std::vector<std::int64_t> values(static_cast<std::size_t>(count));
    std::vector<std::int64_t> sums(values.size());
    std::int64_t sum = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<std::int64_t>(i * i % 17);
      sums[i] = sum;
      sum += values[i];
    }
    auto buffer = upload(values, exec);
    detail::Scan<Space>::exclusive(buffer.data(), buffer.data(), count, exec);
    CHECK(download(buffer, exec) == sums);
  }
}

#ifdef __CUDACC__
TEST_CASE("Scan: more than 2^31 items are all scanned, or refused <Device>")
{
  if (test::skipped<Device>() || test::skipped_as_large()) { return; }
  Execution<Device> const exec{};
  auto const count = (std::int64_t{1} << 31) + 1000;
  Buffer<std::uint8_t, Device> ones{count, exec};
  fill_bytes(ones, 1, exec);
  if (!detail::ScanCountsIn64Bits<std::uint8_t>::value) {
    CHECK_THROWS_AS(detail::Scan<Device>::exclusive(ones.data(), ones.data(), count, exec), invalid_argument);
    return;
  }
  detail::Scan<Device>::exclusive(ones.data(), ones.data(), count, exec);
  for (std::int64_t const first : {std::int64_t{0}, count / 2, (std::int64_t{1} << 31) - 300, count - 600}) {
    CAPTURE(first);
    auto const sums = download(ones.data() + first, 600, exec);
    for (std::size_t i = 0; i < sums.size(); ++i) {
      REQUIRE(sums[i] == static_cast<std::uint8_t>(first + static_cast<std::int64_t>(i)));
    }
  }
}

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
