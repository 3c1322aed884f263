// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/memory.hpp"
#include "../support/small.hpp"

#include <tessera/core/buffer.hpp>
#include <tessera/core/detail/sort.hpp>
#include <tessera/core/host_device.hpp>

#include <algorithm>
#include <random>
#include <vector>

using namespace tessera;

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
  if (!detail::Sort<Space>::segment_ids(task, count, bits, exec)) { return; }
  CHECK(download(values, exec) == order);
  CHECK(download(found_numbers, exec) == numbers);
  REQUIRE(download(runs, exec)[0] == static_cast<std::int32_t>(firsts.size()));
  auto begun = download(found_firsts, exec);
  begun.resize(firsts.size());
  CHECK(begun == firsts);
}

}  // namespace

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
#endif
