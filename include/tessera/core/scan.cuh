// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/buffer.hpp>
#include <tessera/core/execution.cuh>
#include <tessera/core/sort.hpp>

#include <cub/device/device_scan.cuh>

namespace tessera {
inline namespace v0 {
namespace detail {

/// CUB's scan.
template <>
struct Scan<Device> {
  template <class T>
  static void exclusive(T const* values, T* sums, std::int64_t count, Execution<Device> const& exec)
  {
    if (count == 0) { return; }
    with_workspace(exec, [&](void* workspace, std::size_t& bytes) {
      return cub::DeviceScan::ExclusiveSum(workspace, bytes, values, sums, count, exec.stream());
    });
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
