// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/kmap/geometry.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {

/// What libraries do differently: a bundle of answers for each library, read where maps and pools are made. A
/// bundle has all members of Tessera's, and says itself only what differs.
namespace rules {

/// Tessera's own rules: nothing is lost, every option acts.
struct Tessera {
  // --- where the kernel sits ---

  /// The anchor of a submanifold kernel under HashmapOnTheFly: centred on odd axes, at the voxel on even ones.
  template <int Dim>
  [[nodiscard]] static IntArray<Dim> submanifold_anchor(ConvolutionGeometry<Dim> const& g)
  {
    IntArray<Dim> anchor;
    for (int i = 0; i < Dim; ++i) {
      anchor[i] = g.kernel_size[i] % 2 == 1 ? (g.kernel_size[i] - 1) / 2 * g.dilation[i] : 0;
    }
    return anchor;
  }
  /// The anchor under which a generative convolution pairs its outputs with the inputs.
  template <int Dim>
  [[nodiscard]] static IntArray<Dim> generative_anchor(ConvolutionGeometry<Dim> const& g)
  {
    IntArray<Dim> anchor;
    for (int i = 0; i < Dim; ++i) { anchor[i] = g.kernel_size[i] / 2 * g.dilation[i]; }
    return anchor;
  }
  /// The padding that decides which outputs a strided convolution has, whose neighbours are looked up under
  /// `anchor`.
  template <int Dim>
  [[nodiscard]] static IntArray<Dim> output_padding(ConvolutionGeometry<Dim> const&,
                                                    IntArray<Dim> const& anchor)
  {
    return anchor;
  }
  /// Whether every kernel of one voxel and stride 1 multiplies the rows as they are, whatever its padding.
  static constexpr bool multiplies_one_voxel_kernels = false;

  // --- which outputs there are ---

  /// Calls `use(policy)` with the downsample policy that holds for a strided convolution.
  template <class Kmap, class Downsample, int Dim, class Use>
  static decltype(auto) with_downsample(ConvolutionGeometry<Dim> const&, Use const& use)
  {
    return use(Downsample{});
  }
  /// Bounds of a strided convolution's outputs where no range was declared; `grid` is unbounded so far.
  template <class Downsample, class Set, class Grid, int Dim>
  static void bound(Set const&, ConvolutionGeometry<Dim> const&, Grid&)
  {}
  /// Extent of an expanding convolution's grid: `(extent - 1) stride - 2 padding + dilation (size - 1) + 1 +
  /// output padding`.
  template <int Dim>
  [[nodiscard]] static IntArray<Dim> expanded_extent(ConvolutionGeometry<Dim> const& g,
                                                     IntArray<Dim> const& extent)
  {
    IntArray<Dim> result;
    for (int i = 0; i < Dim; ++i) {
      result[i] = detail::times_stride(extent[i] - 1, g.stride[i], "grid extent") - 2 * g.padding[i] +
                  g.dilation[i] * (g.kernel_size[i] - 1) + 1 + g.output_padding[i];
    }
    return result;
  }
  /// Extent of a generative convolution's grid.
  template <int Dim>
  [[nodiscard]] static IntArray<Dim> generated_extent(ConvolutionGeometry<Dim> const& g,
                                                      IntArray<Dim> const& extent)
  {
    IntArray<Dim> result;
    for (int i = 0; i < Dim; ++i) { result[i] = detail::times_stride(extent[i], g.stride[i], "grid extent"); }
    return result;
  }
  static constexpr detail::AtBorder generative_border = detail::AtBorder::drop;
  /// Whether a generative convolution needs a tensor with a spatial range.
  static constexpr bool generates_in_range_only = false;
  /// Whether its stride must divide the tensor's.
  static constexpr bool generates_whole_strides_only = true;

  // --- points ---

  /// Whether points whose voxel is missing are in voxel 0.
  static constexpr bool joins_lost_points = false;
  /// Whether the nearest voxel of a point is its first corner, with the weight that it has among all corners.
  static constexpr bool nearest_is_first_corner = false;

  // --- pooling ---

  /// Whether the largest of a window is at least 0.
  static constexpr bool pools_from_zero = false;
  /// Channels whose mean global average pooling takes, of `channels`.
  [[nodiscard]] static constexpr int averaged_channels(int channels) { return channels; }
};

}  // namespace rules
}  // namespace v0
}  // namespace tessera
