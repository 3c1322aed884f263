// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/buffer.hpp>
#include <tessera/core/detail/sort.hpp>
#include <tessera/core/execution.cuh>

#include <cub/device/device_scan.cuh>

#include <climits>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Whether CUB's scan counts items in 64 bits: that of CUDA 12.0 to 12.5 takes an int, and would cut a larger
/// number without a word. Newer ones have the type of the number as a template parameter.
template <class T, class = void>
struct ScanCountsIn64Bits : std::false_type {};
template <class T>
struct ScanCountsIn64Bits<T, std::void_t<decltype(cub::DeviceScan::ExclusiveSum<T const*, T*, std::int64_t>(
                                 nullptr, std::declval<std::size_t&>(), std::declval<T const*>(),
                                 std::declval<T*>(), std::int64_t{}, cudaStream_t{}))>> : std::true_type {};

/// CUB's scan.
/// @throws invalid_argument  2^31 items or more with a CUB that counts them in 32 bits
template <>
struct Scan<Device> {
  template <class T>
  static void exclusive(T const* values, T* sums, std::int64_t count, Execution<Device> const& exec)
  {
    if (count == 0) { return; }
    expects(ScanCountsIn64Bits<T>::value || count <= INT_MAX, "scan: ", count, " items are more than the ",
            INT_MAX, " that this CUDA's CUB counts; CUDA 13 has no such limit");
    with_workspace(exec, [&](void* workspace, std::size_t& bytes) {
      return cub::DeviceScan::ExclusiveSum(workspace, bytes, values, sums, count, exec.stream());
    });
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
