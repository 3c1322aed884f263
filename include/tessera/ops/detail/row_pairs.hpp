// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/host_device.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Calls `f(k, source)` for each pair of row `row` of a map [rows, volume], offsets k ascending, and returns how
/// many there are.
template <class F>
TESSERA_HOST_DEVICE inline int for_each_pair_of(std::int32_t const* map, int volume, std::int64_t row,
                                                F const& f)
{
  int count = 0;
  for (int k = 0; k < volume; ++k) {
    auto const source = map[row * volume + k];
    if (source < 0) { continue; }
    ++count;
    f(k, source);
  }
  return count;
}

/// How many pairs a row has.
[[nodiscard]] TESSERA_HOST_DEVICE inline int count_pairs_of(std::int32_t const* map, int volume,
                                                            std::int64_t row)
{
  return for_each_pair_of(map, volume, row, [](int, std::int32_t) {});
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
