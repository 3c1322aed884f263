// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/execution.hpp>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Sorting of one space; core/detail/sort.cuh has the device's.
///
/// A sort's task says what is sorted and what becomes of it: `KeyType`; `key(i)` of item i, the same at every
/// call; `store(place, key, i)` takes the items in their order.
template <class Space>
struct Sort;

/// Scanning of one space; core/detail/scan.cuh has the device's, which is CUB's.
template <class Space>
struct Scan;

template <>
struct Sort<Host> {
  /// Stores the items [0, count) of `task`, count below 2^31, in ascending order of the lowest `bits` bits of
  /// their keys, which are all that are used; equal keys keep their order.
  template <class Task>
  static void run(Task const& task, std::int64_t count, int /*bits*/, Execution<Host> const&)
  {
    using Key = typename Task::KeyType;
    std::vector<Key> keys(static_cast<std::size_t>(count));
    std::vector<std::int32_t> items(keys.size());
    for (std::size_t i = 0; i < keys.size(); ++i) {
      keys[i] = task.key(static_cast<std::int64_t>(i));
      items[i] = static_cast<std::int32_t>(i);
    }
    auto const key_of = [&](std::int32_t i) { return keys[static_cast<std::size_t>(i)]; };
    std::stable_sort(items.begin(), items.end(),
                     [&](std::int32_t a, std::int32_t b) { return key_of(a) < key_of(b); });
    for (std::size_t place = 0; place < items.size(); ++place) {
      task.store(static_cast<std::int64_t>(place), key_of(items[place]), items[place]);
    }
  }

  /// run(), then numbers the runs of equal keys: `task.run(place, number, first)` for every place, `first`
  /// where a run begins, and at last `task.end(runs)`. Keys that are all ones are no runs: number -1.
  /// `task.sorted_key(place)` gives back what was stored.
  /// @returns  whether it was done; on some devices, and with many items, it is not
  template <class Task>
  [[nodiscard]] static bool segment_ids(Task const& task, std::int64_t count, int bits,
                                        Execution<Host> const& exec)
  {
    using Key = typename Task::KeyType;
    run(task, count, bits, exec);
    std::int32_t runs = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      auto const key = task.sorted_key(i);
      bool const none = key == static_cast<Key>(~Key{0});
      bool const first = !none && (i == 0 || task.sorted_key(i - 1) != key);
      runs += first ? 1 : 0;
      task.run(i, none ? -1 : runs - 1, first);
    }
    task.end(runs);
    return true;
  }

  /// sorted [count] = `keys` [count], ascending by their lowest `bits` bits (all that are used).
  template <class Key>
  static void keys(Key const* keys, Key* sorted, std::int64_t count, int /*bits*/, Execution<Host> const&)
  {
    std::copy(keys, keys + count, sorted);
    std::sort(sorted, sorted + count);
  }

  /// The same, and `values` [count] in the order of their keys; equal keys keep theirs.
  template <class Key, class Value>
  static void pairs(Key const* keys, Value const* values, Key* sorted_keys, Value* sorted_values,
                    std::int64_t count, int /*bits*/, Execution<Host> const&)
  {
    std::vector<std::int64_t> order(static_cast<std::size_t>(count));
    std::iota(order.begin(), order.end(), std::int64_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::int64_t a, std::int64_t b) { return keys[a] < keys[b]; });
    for (std::int64_t i = 0; i < count; ++i) {
      auto const from = order[static_cast<std::size_t>(i)];
      sorted_keys[i] = keys[from];
      sorted_values[i] = values[from];
    }
  }
};

template <>
struct Scan<Host> {
  /// sums[i] = values[0] + ... + values[i - 1] for i in [0, count); `sums` may be `values`.
  template <class T>
  static void exclusive(T const* values, T* sums, std::int64_t count, Execution<Host> const&)
  {
    T sum{0};
    for (std::int64_t i = 0; i < count; ++i) {
      T const value = values[i];
      sums[i] = sum;
      sum = static_cast<T>(sum + value);
    }
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
