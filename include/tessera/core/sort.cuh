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
  static void keys(Key* keys, std::int64_t count, int bits, Execution<Device> const& exec)
  {
    if (count == 0) { return; }
    Buffer<Key, Device> sorted{count, exec};
    with_workspace(exec, [&](void* workspace, std::size_t& bytes) {
      return cub::DeviceRadixSort::SortKeys(workspace, bytes, keys, sorted.data(), count, 0, bits,
                                            exec.stream());
    });
    Transfer<Device>::copy(keys, sorted.data(), sorted.bytes(), exec);
  }

  template <class Key, class Value>
  static void pairs(Key* keys, Value* values, std::int64_t count, int bits, Execution<Device> const& exec)
  {
    if (count == 0) { return; }
    Buffer<Key, Device> sorted_keys{count, exec};
    Buffer<Value, Device> sorted_values{count, exec};
    with_workspace(exec, [&](void* workspace, std::size_t& bytes) {
      return cub::DeviceRadixSort::SortPairs(workspace, bytes, keys, sorted_keys.data(), values,
                                             sorted_values.data(), count, 0, bits, exec.stream());
    });
    Transfer<Device>::copy(keys, sorted_keys.data(), sorted_keys.bytes(), exec);
    Transfer<Device>::copy(values, sorted_values.data(), sorted_values.bytes(), exec);
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
