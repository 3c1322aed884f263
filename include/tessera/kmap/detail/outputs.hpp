// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/kmap/detail/neighbors.hpp>
#include <tessera/kmap/detail/upsample.hpp>
#include <tessera/kmap/output_coordinates.hpp>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The grid of the outputs of a convolution.
template <int Dim, class Space>
struct OutputGrid {
  CoordinateSetOptions<Dim> options;         // its tensor stride and range
  std::optional<CoordinateBox<Dim>> bounds;  // none: unbounded
  AtBorder border = AtBorder::drop;
  /// Makes further bounds [1] that only the space knows, on an execution; empty without any. Refers
  /// to the set and the geometry.
  std::function<Buffer<CoordinateBox<Dim>, Space>(Execution<Space> const&)> bounds_in_space = {};
};

/// Declares that `grid` has so many cells per axis. @throws invalid_argument  there is none
template <int Dim, class Space>
void declare_extent(OutputGrid<Dim, Space>& grid, CoordinateSet<Dim, Space> const& set,
                    ConvolutionGeometry<Dim> const& g, IntArray<Dim> const& extent)
{
  expects(min_element(extent) >= 1, "convolution: kernel size ", g.kernel_size, ", stride ", g.stride,
          " and padding ", g.padding, " leave no output in a grid of ", set.spatial_range()->extent);
  grid.options.spatial_range = SpatialRange<Dim>{set.spatial_range()->batches, extent};
  grid.bounds = box_of(*grid.options.spatial_range);
}

/// The grid of a strided convolution. It may refer to `set` and `g`.
template <class Rules, class Downsample, int Dim, class Space>
[[nodiscard]] OutputGrid<Dim, Space> strided_grid(CoordinateSet<Dim, Space> const& set,
                                                  ConvolutionGeometry<Dim> const& g)
{
  OutputGrid<Dim, Space> grid;
  if (set.spatial_range()) {
    declare_extent(grid, set, g, Downsample::output_extent(g, set.spatial_range()->extent));
  } else {
    Rules::template bound<Downsample>(set, g, grid);
  }
  for (int i = 0; i < Dim; ++i) {
    grid.options.tensor_stride[i] = times_stride(set.tensor_stride()[i], g.stride[i], "tensor stride");
  }
  return grid;
}

template <class Rules, int Dim, class Space>
[[nodiscard]] OutputGrid<Dim, Space> generative_grid(CoordinateSet<Dim, Space> const& set,
                                                     ConvolutionGeometry<Dim> const& g)
{
  OutputGrid<Dim, Space> grid;
  grid.border = Rules::generative_border;
  if (set.spatial_range()) {
    declare_extent(grid, set, g, Rules::generated_extent(g, set.spatial_range()->extent));
  }
  expects(grid.bounds || !Rules::generates_in_range_only,
          "generative convolution: compat::torchsparse needs a tensor with a spatial range");
  for (int i = 0; i < Dim; ++i) {
    expects(!Rules::generates_whole_strides_only || set.tensor_stride()[i] % g.stride[i] == 0,
            "generative convolution: stride ", g.stride, " does not divide the tensor stride ",
            set.tensor_stride());
    grid.options.tensor_stride[i] = std::max(1, set.tensor_stride()[i] / g.stride[i]);
  }
  return grid;
}

template <class Rules, int Dim, class Space>
[[nodiscard]] OutputGrid<Dim, Space> expanding_grid(CoordinateSet<Dim, Space> const& set,
                                                    ConvolutionGeometry<Dim> const& g)
{
  OutputGrid<Dim, Space> grid;
  if (set.spatial_range()) {
    declare_extent(grid, set, g, Rules::expanded_extent(g, set.spatial_range()->extent));
  }
  for (int i = 0; i < Dim; ++i) {  // finer than the finest grid so far: that is the finest now
    bool const divides = set.tensor_stride()[i] % g.stride[i] == 0;
    grid.options.tensor_stride[i] = divides ? set.tensor_stride()[i] / g.stride[i] : 1;
  }
  return grid;
}

/// The outputs of a set under a policy, by all that shapes them. Policies of one name are told apart by their
/// type.
template <class Policy, int Dim, class Space>
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

/// Outputs of a strided, generative or expanding convolution under `Policy`, cached by all that shapes them.
template <class Policy, int Dim, class Space>
[[nodiscard]] CoordinateSetPointer<Dim, Space> outputs(CoordinateSet<Dim, Space>& set,
                                                       KernelRegion<Dim> const& region,
                                                       OutputGrid<Dim, Space> const& grid,
                                                       Execution<Space> const& exec)
{
  OutputSetKey<Policy, Dim, Space> key{region, grid.bounds, grid.border};
  if (depends_on_stride_alone<Policy>) {
    key = {
        {IntArray<Dim>(1), region.stride, IntArray<Dim>(1), IntArray<Dim>(0)}, std::nullopt, AtBorder::drop};
  }
  auto const found = access(set).cache().find(key);
  if (found) { return (*found)->shared(); }
  auto derived = on_map_stream(access(set).map_stream_for_sets(), exec, [&](Execution<Space> const& own) {
    Buffer<CoordinateBox<Dim>, Space> bounds_in_space;
    if (grid.bounds_in_space) { bounds_in_space = grid.bounds_in_space(own); }
    return derive_outputs<Policy>(set, region, grid.bounds, bounds_in_space.data(), grid.border, grid.options,
                                  own);
  });
  // a plain pointer: the manager owns both sets, and a shared one would keep the manager alive forever
  access(set).cache().get_or_make(
      key, [&] { return std::make_shared<CoordinateSet<Dim, Space>*>(derived.get()); });
  return derived;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
