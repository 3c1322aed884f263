// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// The only place where benchmarks look below the public functions: at the order in which the device reads a
// kernel map.

#include "networks.hpp"

#include <tessera/conv/convolution_kernels.cuh>
#include <tessera/kmap/tile_map.hpp>

#include <bitset>
#include <cstdint>

namespace bench {

/// Everything that a layer of half or bfloat16 needs of a map before it runs: neighbours and tile order.
/// Stream: enqueues on `exec`; waits only where kernel_map() does.
inline ts::MappedCoordinates<3, ts::Device> complete_map(ts::CoordinateSet<3, ts::Device>& set,
                                                         ts::ConvolutionKind kind,
                                                         ts::ConvolutionGeometry<3> const& geometry,
                                                         bool sort, ts::Execution<ts::Device> const& exec)
{
  auto mapped = ts::kernel_map(set, kind, geometry, ts::compat::none, exec);
  static_cast<void>(ts::tile_map(*mapped.map, sort, 1, ts::detail::fragment_rows, exec));
  return mapped;
}

/// Multiply-adds that a layer on `map` executes for each one that a pair of rows asks for: a fragment of rows
/// goes through every offset that any of its rows has.
/// Stream: waits.
[[nodiscard]] inline double executed_ratio(ts::KernelMap<ts::Device>& map, bool sort,
                                           ts::Execution<ts::Device> const& exec)
{
  auto const tiles = ts::tile_map(map, sort, 1, ts::detail::fragment_rows, exec);
  std::int64_t executed = 0;
  for (auto const mask : ts::download(tiles->masks, exec)) {
    executed += static_cast<std::int64_t>(std::bitset<32>{mask}.count()) * tiles->tile_rows;
  }
  auto const pairs = count_pairs(map, exec);
  return pairs > 0 ? static_cast<double>(executed) / static_cast<double>(pairs) : 1.0;
}

}  // namespace bench
