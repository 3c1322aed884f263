// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/kmap/downsample.hpp>

#include <algorithm>
#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Generative convolutions: the children `q = stride * in + (size / 2 - d) * dilation` of each input
/// (TorchSparse's order of offsets for odd kernels, and a child of its own parent for even ones).
struct GenerativeUpsample : EveryOffset {
  static constexpr char const* name = "generative";

  template <int Dim>
  [[nodiscard]] TESSERA_HOST_DEVICE static bool candidate(KernelRegion<Dim> const& region,
                                                          IntArray<Dim> const& in, int index,
                                                          IntArray<Dim>& out)
  {
    auto const digits = region.digits(index);
    for (int i = 0; i < Dim; ++i) {
      out[i] = region.stride[i] * in[i] + (region.size[i] / 2 - digits[i]) * region.dilation[i];
    }
    return true;
  }

  template <int Dim>
  [[nodiscard]] static AxisBounds reach(KernelRegion<Dim> const& region, CoordinateBox<Dim> const& box,
                                        int axis)
  {
    std::int64_t const stride = region.stride[axis];
    std::int64_t const lowest = region.shape.lowest_digit(axis);
    auto const span = std::max(-lowest, std::int64_t{region.shape.highest_digit(axis, region.size)}) *
                      region.dilation[axis];
    return {box.lower[axis] * stride - span, box.upper[axis] * stride + span};
  }
};

/// Expanding convolutions: the outputs `q = stride * in - offset`, the region's dilation being negative and
/// its anchor the negative padding, so that `q = stride * in - padding + d * dilation` as in a dense
/// transposed one.
struct ExpandingUpsample : EveryOffset {
  static constexpr char const* name = "expanding";

  template <int Dim>
  [[nodiscard]] TESSERA_HOST_DEVICE static bool candidate(KernelRegion<Dim> const& region,
                                                          IntArray<Dim> const& in, int index,
                                                          IntArray<Dim>& out)
  {
    auto const offset = region.offset(index);
    for (int i = 0; i < Dim; ++i) { out[i] = region.stride[i] * in[i] - offset[i]; }
    return true;
  }

  template <int Dim>
  [[nodiscard]] static AxisBounds reach(KernelRegion<Dim> const& region, CoordinateBox<Dim> const& box,
                                        int axis)
  {
    std::int64_t const stride = region.stride[axis];
    auto const [lowest, highest] = region.offsets(axis);
    return {box.lower[axis] * stride - highest, box.upper[axis] * stride - lowest};
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
