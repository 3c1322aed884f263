// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/kmap/rules/tessera.hpp>

namespace tessera {
inline namespace v0 {
namespace rules {

/// spconv 2.3's layers with their faults.
struct Spconv : Tessera {
  /// It takes every kernel of one voxel and stride 1 for a product of each row with a matrix.
  static constexpr bool multiplies_one_voxel_kernels = true;

  /// The dilation is left out.
  template <int Dim>
  [[nodiscard]] static IntArray<Dim> expanded_extent(ConvolutionGeometry<Dim> g, IntArray<Dim> const& extent)
  {
    g.dilation = 1;
    return Tessera::expanded_extent(g, extent);
  }

  /// Pools start from 0, so that no result is negative.
  static constexpr bool pools_from_zero = true;
  /// Global average pooling takes channel 0 alone.
  [[nodiscard]] static constexpr int averaged_channels(int channels) { return channels < 1 ? channels : 1; }
};

/// spconv 1's: a submanifold kernel's anchor leaves the dilation out.
struct Spconv1 : Spconv {
  template <int Dim>
  [[nodiscard]] static IntArray<Dim> submanifold_anchor(ConvolutionGeometry<Dim> g)
  {
    g.dilation = 1;
    return Tessera::submanifold_anchor(g);
  }
};

}  // namespace rules
}  // namespace v0
}  // namespace tessera
