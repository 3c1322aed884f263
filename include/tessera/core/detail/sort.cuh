// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/buffer.hpp>
#include <tessera/core/detail/cluster_sort.cuh>
#include <tessera/core/detail/cub.cuh>
#include <tessera/core/detail/sort.hpp>
#include <tessera/core/execution.cuh>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Puts a task's items where CUB reads them.
template <class Task>
struct LoadItems {
  Task task;
  typename Task::KeyType* keys;  // [count]
  std::int32_t* items;           // [count]

  __device__ void operator()(std::int64_t i) const
  {
    keys[i] = task.key(i);
    items[i] = static_cast<std::int32_t>(i);
  }
};

/// Hands a task its items as CUB sorted them.
template <class Task>
struct StoreItems {
  Task task;
  typename Task::KeyType const* keys;  // [count]
  std::int32_t const* items;           // [count]

  __device__ void operator()(std::int64_t place) const { task.store(place, keys[place], items[place]); }
};

/// The task of sorting arrays.
template <class Key, class Value>
struct SortArrays {
  using KeyType = Key;

  Key const* keys;       // [count]
  Value const* values;   // [count]
  Key* sorted_keys;      // [count]
  Value* sorted_values;  // [count]

  [[nodiscard]] __device__ Key key(std::int64_t i) const { return keys[i]; }
  __device__ void store(std::int64_t place, Key key, std::int32_t item) const
  {
    sorted_keys[place] = key;
    sorted_values[place] = values[item];
  }
};

/// The task of sorting keys alone.
template <class Key>
struct SortKeys {
  using KeyType = Key;

  Key const* keys;   // [count]
  Key* sorted_keys;  // [count]

  [[nodiscard]] __device__ Key key(std::int64_t i) const { return keys[i]; }
  __device__ void store(std::int64_t place, Key key, std::int32_t) const { sorted_keys[place] = key; }
};

/// One cluster's sort, or CUB's: both stable, so that they give the same.
template <>
struct Sort<Device> {
  template <class Task>
  static void run(Task const& task, std::int64_t count, int bits, Execution<Device> const& exec)
  {
    using Key = typename Task::KeyType;
    if (count == 0 || sort_by_cluster<false>(task, count, bits, exec)) { return; }
    Buffer<Key, Device> keys{2 * count, exec};
    Buffer<std::int32_t, Device> items{2 * count, exec};
    for_each(count, LoadItems<Task>{task, keys.data(), items.data()}, exec);
    cub_sort_pairs(keys.data(), items.data(), keys.data() + count, items.data() + count, count, bits, exec);
    for_each(count, StoreItems<Task>{task, keys.data() + count, items.data() + count}, exec);
  }

  template <class Task>
  [[nodiscard]] static bool segment_ids(Task const& task, std::int64_t count, int bits,
                                        Execution<Device> const& exec)
  {
    return sort_by_cluster<true>(task, count, bits, exec);
  }

  template <class Key>
  static void keys(Key const* keys, Key* sorted, std::int64_t count, int bits, Execution<Device> const& exec)
  {
    if (count == 0 || sort_by_cluster<false>(SortKeys<Key>{keys, sorted}, count, bits, exec)) { return; }
    cub_sort_keys(keys, sorted, count, bits, exec);
  }

  template <class Key, class Value>
  static void pairs(Key const* keys, Value const* values, Key* sorted_keys, Value* sorted_values,
                    std::int64_t count, int bits, Execution<Device> const& exec)
  {
    SortArrays<Key, Value> const task{keys, values, sorted_keys, sorted_values};
    if (count == 0 || sort_by_cluster<false>(task, count, bits, exec)) { return; }
    cub_sort_pairs(keys, values, sorted_keys, sorted_values, count, bits, exec);
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
