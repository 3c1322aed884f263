// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/kmap/detail/grid_indexer.hpp>
#include <tessera/kmap/downsample.hpp>

#include <climits>
#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Bounds that every candidate of an input in `box` respects, in 64 bits, cut to what int32 holds.
template <int Dim, class Downsample>
[[nodiscard]] CoordinateBox<Dim> reachable_box(KernelRegion<Dim> const& region, CoordinateBox<Dim> const& box)
{
  CoordinateBox<Dim> result = box;
  if (box.empty()) { return result; }
  for (int i = 0; i < Dim; ++i) {
    auto const [lower, upper] = reach<Downsample>(region, box, i);
    expects(lower >= INT_MIN && upper <= INT_MAX, "convolution: output coordinates ", lower, " to ", upper,
            " on axis ", i, " do not fit 32 bits");
    result.lower[i] = static_cast<int>(lower);
    result.upper[i] = static_cast<int>(upper);
  }
  return result;
}

/// An upper limit of the number of different outputs. @pre  out_box is not empty
template <int Dim, class Downsample>
[[nodiscard]] std::int64_t most_outputs(KernelRegion<Dim> const& region, std::int64_t num_in,
                                        CoordinateBox<Dim> const& out_box)
{
  return num_cells(out_box, num_in * max_outputs<Downsample>(region));
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
