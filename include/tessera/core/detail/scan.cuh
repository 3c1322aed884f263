// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/detail/cub.cuh>
#include <tessera/core/detail/sort.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// CUB's scan.
template <>
struct Scan<Device> {
  /// @throws invalid_argument  2^31 items or more with a CUB that counts them in 32 bits
  template <class T>
  static void exclusive(T const* values, T* sums, std::int64_t count, Execution<Device> const& exec)
  {
    if (count > 0) { cub_exclusive_sum(values, sums, count, exec); }
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
