// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// CUB's algorithms as core/detail/sort.cuh and core/detail/scan.cuh call them, and the one place that
// includes CUB: a fifth of a compilation's front end. A program linked with tessera::compiled has them from
// there, and includes only the declarations.

#include <tessera/core/execution.cuh>

#ifndef TESSERA_COMPILED
#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>
#endif

#include <climits>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Sorts [count] pairs by the lowest `bits` bits of their keys; equal keys keep their order.
/// Stream: enqueues kernels, does not wait.
template <class Key, class Value>
void cub_sort_pairs(Key const* keys, Value const* values, Key* sorted_keys, Value* sorted_values,
                    std::int64_t count, int bits, Execution<Device> const& exec);

/// Sorts [count] keys by their lowest `bits` bits.
/// Stream: enqueues kernels, does not wait.
template <class Key>
void cub_sort_keys(Key const* keys, Key* sorted, std::int64_t count, int bits, Execution<Device> const& exec);

/// sums[i] = values[0] + ... + values[i - 1] for i in [0, count); `sums` may be `values`.
/// @throws invalid_argument  2^31 items or more with a CUB that counts them in 32 bits
/// Stream: enqueues kernels, does not wait.
template <class T>
void cub_exclusive_sum(T const* values, T* sums, std::int64_t count, Execution<Device> const& exec);

#ifndef TESSERA_COMPILED

template <class Key, class Value>
void cub_sort_pairs(Key const* keys, Value const* values, Key* sorted_keys, Value* sorted_values,
                    std::int64_t count, int bits, Execution<Device> const& exec)
{
  with_workspace(exec, [&](void* workspace, std::size_t& bytes) {
    return cub::DeviceRadixSort::SortPairs(workspace, bytes, keys, sorted_keys, values, sorted_values, count,
                                           0, bits, exec.stream());
  });
}

template <class Key>
void cub_sort_keys(Key const* keys, Key* sorted, std::int64_t count, int bits, Execution<Device> const& exec)
{
  with_workspace(exec, [&](void* workspace, std::size_t& bytes) {
    return cub::DeviceRadixSort::SortKeys(workspace, bytes, keys, sorted, count, 0, bits, exec.stream());
  });
}

/// Whether CUB's scan counts items in 64 bits: that of CUDA 12.0 to 12.5 takes an int, and would cut a larger
/// number without a word. Newer ones have the type of the number as a template parameter.
template <class T, class = void>
struct ScanCountsIn64Bits : std::false_type {};
template <class T>
struct ScanCountsIn64Bits<T, std::void_t<decltype(cub::DeviceScan::ExclusiveSum<T const*, T*, std::int64_t>(
                                 nullptr, std::declval<std::size_t&>(), std::declval<T const*>(),
                                 std::declval<T*>(), std::int64_t{}, cudaStream_t{}))>> : std::true_type {};

template <class T>
void cub_exclusive_sum(T const* values, T* sums, std::int64_t count, Execution<Device> const& exec)
{
  expects(ScanCountsIn64Bits<T>::value || count <= INT_MAX, "scan: ", count, " items are more than the ",
          INT_MAX, " that this CUDA's CUB counts; CUDA 13 has no such limit");
  with_workspace(exec, [&](void* workspace, std::size_t& bytes) {
    return cub::DeviceScan::ExclusiveSum(workspace, bytes, values, sums, count, exec.stream());
  });
}

#endif

}  // namespace detail
}  // namespace v0
}  // namespace tessera
