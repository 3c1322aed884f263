// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/kmap/detail/neighbors.hpp>
#include <tessera/kmap/output_coordinates.hpp>

#include <algorithm>
#include <memory>
#include <optional>
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

/// The same where the largest occupied coordinate lies in the space: `bounds->upper` from the rows in use.
template <int Dim>
struct TorchSparseBounds {
  ConvolutionGeometry<Dim> geometry;
  Statistics<Dim> const* statistics;  // [1] of the rows in use
  CoordinateBox<Dim>* bounds;         // [1]

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
  if (!set.is_counted_in_space()) { return {}; }
  auto const statistics = enqueue_bounds(set.view(), exec);
  Buffer<CoordinateBox<Dim>, Space> bounds{1, exec};
  for_each(1, TorchSparseBounds<Dim>{g, statistics.data(), bounds.data()}, exec);
  return bounds;
}

/// `value * stride`. @throws invalid_argument  it exceeds 2^30
[[nodiscard]] inline int times_stride(int value, int stride, char const* what)
{
  auto const product = std::int64_t{value} * stride;
  expects(product <= 1 << 30, "convolution: ", what, " ", value, " times stride ", stride, " exceeds 2^30");
  return static_cast<int>(product);
}

/// Extent of the grid of an expanding convolution: `(extent - 1) stride - 2 padding + dilation (size - 1) + 1
/// + output padding`. spconv leaves the dilation out.
template <int Dim>
[[nodiscard]] IntArray<Dim> expanded_extent(ConvolutionGeometry<Dim> const& g, IntArray<Dim> const& extent,
                                            Compat compat)
{
  IntArray<Dim> result;
  for (int i = 0; i < Dim; ++i) {
    int const dilation = is_spconv(compat) ? 1 : g.dilation[i];
    result[i] = times_stride(extent[i] - 1, g.stride[i], "grid extent") - 2 * g.padding[i] +
                dilation * (g.kernel_size[i] - 1) + 1 + g.output_padding[i];
  }
  return result;
}

/// The outputs of a set under a downsample policy, by all that shapes them. Policies of one name are told
/// apart by their type.
template <class Downsample, int Dim, class Space>
struct OutputSetKey {
  using Value = CoordinateSet<Dim, Space>*;
  KernelRegion<Dim> region;
  std::optional<CoordinateBox<Dim>> bounds;
  AtBorder border;
  friend bool operator==(OutputSetKey const& a, OutputSetKey const& b)
  {
    bool const same_bounds = a.bounds && b.bounds
                                 ? a.bounds->lower == b.bounds->lower && a.bounds->upper == b.bounds->upper
                                 : a.bounds.has_value() == b.bounds.has_value();
    return same_bounds && a.region == b.region && a.border == b.border;
  }
};

/// Outputs of a strided, generative or expanding convolution under `Downsample`, cached by all that shapes
/// them.
template <class Downsample, int Dim, class Space>
[[nodiscard]] CoordinateSetPointer<Dim, Space> outputs(CoordinateSet<Dim, Space>& set,
                                                       ConvolutionGeometry<Dim> const& g,
                                                       KernelRegion<Dim> const& region, Compat compat,
                                                       Execution<Space> const& exec)
{
  constexpr bool generative = std::is_same_v<Downsample, GenerativeUpsample>;
  constexpr bool expanding = std::is_same_v<Downsample, ExpandingUpsample>;
  bool const strict = compat == Compat::torchsparse;
  CoordinateSetOptions<Dim> options;
  std::optional<CoordinateBox<Dim>> bounds;
  if (set.spatial_range()) {
    SpatialRange<Dim> range = *set.spatial_range();
    if constexpr (generative) {
      if (strict) {
        range.extent = SpconvDownsample::output_extent(g, range.extent);
      } else {
        for (int i = 0; i < Dim; ++i) {
          range.extent[i] = times_stride(range.extent[i], g.stride[i], "grid extent");
        }
      }
    } else if constexpr (expanding) {
      range.extent = expanded_extent(g, range.extent, compat);
    } else {
      range.extent = Downsample::output_extent(g, range.extent);
    }
    expects(min_element(range.extent) >= 1, "convolution: kernel size ", list(g.kernel_size), ", stride ",
            list(g.stride), " and padding ", list(g.padding), " leave no output in a grid of ",
            list(set.spatial_range()->extent));
    options.spatial_range = range;
    bounds = box_of(range);
  } else if (strict && std::is_same_v<Downsample, SpconvDownsample>) {
    bounds = torchsparse_bounds(g, set.box());
  }
  expects(!(generative && strict && !bounds),
          "generative convolution: compat::torchsparse needs a tensor with a spatial range");
  for (int i = 0; i < Dim; ++i) {
    if (generative) {
      expects(strict || set.tensor_stride()[i] % g.stride[i] == 0, "generative convolution: stride ",
              list(g.stride), " does not divide the tensor stride ", list(set.tensor_stride()));
      options.tensor_stride[i] = std::max(1, set.tensor_stride()[i] / g.stride[i]);
    } else if (expanding) {  // finer than the finest grid so far: that is the finest now
      options.tensor_stride[i] =
          set.tensor_stride()[i] % g.stride[i] == 0 ? set.tensor_stride()[i] / g.stride[i] : 1;
    } else {
      options.tensor_stride[i] = times_stride(set.tensor_stride()[i], g.stride[i], "tensor stride");
    }
  }
  auto const border = generative && strict ? AtBorder::clamp : AtBorder::drop;
  OutputSetKey<Downsample, Dim, Space> key{region, bounds, border};
  if (std::is_same_v<Downsample, MinkowskiDownsample>) {  // they depend on the stride alone
    key = {{IntArray<Dim>(1), g.stride, IntArray<Dim>(1), IntArray<Dim>(0)}, std::nullopt, AtBorder::drop};
  }
  auto const found = set.cache().find(key);
  if (found) { return (*found)->shared(); }
  auto derived = on_side(set.side_for_sets(), exec, [&](Execution<Space> const& own) {
    Buffer<CoordinateBox<Dim>, Space> space_bounds;
    if (strict && std::is_same_v<Downsample, SpconvDownsample> && !set.spatial_range()) {
      space_bounds = torchsparse_bounds_in_space(set, g, own);
    }
    return derive_outputs<Downsample>(set, region, bounds, space_bounds.data(), border, options, own);
  });
  // a plain pointer: the frame owns both sets, and a shared one would keep the frame alive for ever
  set.cache().get_or_make(key, [&] { return std::make_shared<CoordinateSet<Dim, Space>*>(derived.get()); });
  return derived;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
