// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate_set.hpp>
#include <tessera/kmap/downsample.hpp>
#include <tessera/kmap/rules/tessera.hpp>

#include <type_traits>

namespace tessera {
inline namespace v0 {
namespace detail {

/// TorchSparse's bounds of the outputs when no range was declared: those of a dense grid that ends at the
/// largest occupied coordinate.
template <int Dim>
[[nodiscard]] TESSERA_HOST_DEVICE CoordinateBox<Dim> torchsparse_bounds(ConvolutionGeometry<Dim> const& g,
                                                                        CoordinateBox<Dim> const& box)
{
  CoordinateBox<Dim> bounds = box;
  for (int i = 0; i < Dim; ++i) {
    bounds.lower[i] = 0;
    bounds.upper[i] =
        floor_div(box.upper[i] + 2 * g.padding[i] - g.dilation[i] * (g.kernel_size[i] - 1), g.stride[i]);
  }
  return bounds;
}

/// The same where only the space knows the largest occupied coordinate: `bounds->upper` from the rows in use.
template <int Dim>
struct TorchSparseBounds {
  ConvolutionGeometry<Dim> geometry;
  BoundsAndCount<Dim> const* statistics;  // [1] of the rows in use
  CoordinateBox<Dim>* bounds;             // [1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t) const
  {
    CoordinateBox<Dim> box;
    for (int i = 0; i < Dim; ++i) {  // without rows it is INT_MIN, from which nothing can be subtracted
      box.upper[i] = statistics->upper[i] > -(1 << 30) ? statistics->upper[i] : -(1 << 30);
    }
    *bounds = torchsparse_bounds(geometry, box);
  }
};

/// @returns [1], or nothing where the host knows the bounds.
/// Stream: enqueues three kernels, does not wait.
template <int Dim, class Space>
[[nodiscard]] Buffer<CoordinateBox<Dim>, Space> torchsparse_bounds_in_space(
    CoordinateSet<Dim, Space> const& set, ConvolutionGeometry<Dim> const& g, Execution<Space> const& exec)
{
  if (!set.has_device_count()) { return {}; }
  auto const statistics = enqueue_bounds(set.view(), exec);
  Buffer<CoordinateBox<Dim>, Space> bounds{1, exec};
  for_each(1, TorchSparseBounds<Dim>{g, statistics.data(), bounds.data()}, exec);
  return bounds;
}

/// Whether a kernel-map policy finds outputs itself in TorchSparse, which then does not ask the downsample
/// policy.
template <class Kmap, class = void>
inline constexpr bool finds_torchsparse_outputs = false;
template <class Kmap>
inline constexpr bool
    finds_torchsparse_outputs<Kmap, std::void_t<decltype(Kmap::finds_torchsparse_outputs)>> =
        Kmap::finds_torchsparse_outputs;

}  // namespace detail

namespace rules {

/// TorchSparse 2.1's sets and maps, bit for bit.
struct TorchSparse : Tessera {
  /// Centred where the number of offsets is odd.
  template <int Dim>
  [[nodiscard]] static IntArray<Dim> submanifold_anchor(ConvolutionGeometry<Dim> const& g)
  {
    IntArray<Dim> anchor;
    for (int i = 0; i < Dim; ++i) {
      anchor[i] = g.volume() % 2 == 1 ? (g.kernel_size[i] - 1) / 2 * g.dilation[i] : 0;
    }
    return anchor;
  }
  template <int Dim>
  [[nodiscard]] static IntArray<Dim> generative_anchor(ConvolutionGeometry<Dim> const& g)
  {
    IntArray<Dim> anchor;
    for (int i = 0; i < Dim; ++i) { anchor[i] = (g.kernel_size[i] - 1) / 2 * g.dilation[i]; }
    return anchor;
  }
  /// Coordinates are derived from the padding even where neighbours are looked up centred.
  template <int Dim>
  [[nodiscard]] static IntArray<Dim> output_padding(ConvolutionGeometry<Dim> const& g, IntArray<Dim> const&)
  {
    return g.padding;
  }

  /// Its maps that are hashed on the fly have spconv's outputs, whatever the downsample mode; the others floor
  /// where every axis has stride 1 or the kernel's size.
  template <class Kmap, class Downsample, int Dim, class Use>
  static decltype(auto) with_downsample(ConvolutionGeometry<Dim> const& g, Use const& use)
  {
    if constexpr (detail::finds_torchsparse_outputs<Kmap>) {
      return use(SpconvDownsample{});
    } else if constexpr (detail::reads_torchsparse_lattice<Downsample>) {
      bool floors = true;
      for (int i = 0; i < Dim; ++i) {
        floors = floors && (g.stride[i] == 1 || g.stride[i] == g.kernel_size[i]);
      }
      return floors ? use(MinkowskiDownsample{}) : use(Downsample{});
    } else {
      return use(Downsample{});
    }
  }
  /// The grid ends at the largest occupied coordinate.
  template <class Downsample, class Set, class Grid, int Dim>
  static void bound(Set const& set, ConvolutionGeometry<Dim> const& g, Grid& grid)
  {
    if constexpr (detail::reads_torchsparse_lattice<Downsample>) {
      grid.bounds = detail::torchsparse_bounds(g, set.box());
      grid.bounds_in_space = [&set, &g](auto const& exec) {
        return detail::torchsparse_bounds_in_space(set, g, exec);
      };
    }
  }
  /// That of a strided convolution with the same numbers.
  template <int Dim>
  [[nodiscard]] static IntArray<Dim> generated_extent(ConvolutionGeometry<Dim> const& g,
                                                      IntArray<Dim> const& extent)
  {
    return SpconvDownsample::output_extent(g, extent);
  }
  static constexpr detail::AtBorder generative_border = detail::AtBorder::clamp;
  static constexpr bool generates_in_range_only = true;
  static constexpr bool generates_whole_strides_only = false;
  static constexpr bool joins_lost_points = true;
  static constexpr bool nearest_is_first_corner = true;
};

}  // namespace rules
}  // namespace v0
}  // namespace tessera
