// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/buffer.hpp>
#include <tessera/core/execution.cuh>
#include <tessera/core/parallel.hpp>

#include <cub/device/device_radix_sort.cuh>

namespace tessera {
inline namespace v0 {
namespace detail {

/// CUB's radix sort: stable, and the same bits on every run.
template <>
struct Sort<Device> {
  template <class Key>
  static void keys(Key const* keys, Key* sorted, std::int64_t count, int bits, Execution<Device> const& exec)
  {
    if (count == 0) { return; }
    with_workspace(exec, [&](void* workspace, std::size_t& bytes) {
      return cub::DeviceRadixSort::SortKeys(workspace, bytes, keys, sorted, count, 0, bits, exec.stream());
    });
  }

  template <class Key, class Value>
  static void pairs(Key const* keys, Value const* values, Key* sorted_keys, Value* sorted_values,
                    std::int64_t count, int bits, Execution<Device> const& exec)
  {
    if (count == 0) { return; }
    with_workspace(exec, [&](void* workspace, std::size_t& bytes) {
      return cub::DeviceRadixSort::SortPairs(workspace, bytes, keys, sorted_keys, values, sorted_values,
                                             count, 0, bits, exec.stream());
    });
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
