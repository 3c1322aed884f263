// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/kmap/detail/cell_numbering.hpp>
#include <tessera/kmap/detail/upsample.hpp>
#include <tessera/kmap/policies.hpp>

#include <algorithm>
#include <climits>
#include <cstdint>
#include <type_traits>

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
    std::int64_t const stride = region.stride[i];
    std::int64_t const reach = std::int64_t{region.size[i] - 1} * region.dilation[i];
    std::int64_t lower = 0;
    std::int64_t upper = 0;
    if constexpr (std::is_same_v<Downsample, GenerativeUpsample>) {
      lower = box.lower[i] * stride - reach;
      upper = box.upper[i] * stride + reach;
    } else if constexpr (std::is_same_v<Downsample, ExpandingUpsample>) {
      lower = box.lower[i] * stride + region.anchor[i];
      upper = box.upper[i] * stride + region.anchor[i] - reach;  // the dilation is negative
    } else {
      // also for policies of users: a candidate lies within the kernel's reach of in / stride, or at it
      lower = (box.lower[i] + std::min<std::int64_t>(0, region.anchor[i] - reach)) / stride - 2;
      upper = (box.upper[i] + region.anchor[i]) / stride + 2;
    }
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
  std::int64_t each = Downsample::num_candidates(region);
  if constexpr (std::is_same_v<Downsample, SpconvDownsample>) {
    each = 1;  // of `size` digits an axis, those of one residue modulo the stride lie on its lattice
    for (int i = 0; i < Dim; ++i) {
      int step = region.stride[i];  // stride / gcd(stride, dilation)
      for (int a = region.stride[i], b = region.dilation[i]; b != 0;) {
        int const rest = a % b;
        a = b;
        b = rest;
        step = region.stride[i] / a;
      }
      each *= ceil_div(region.size[i], step);
    }
  }
  return num_cells(out_box, num_in * each);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
