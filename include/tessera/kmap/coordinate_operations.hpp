// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/kmap/build.hpp>

#include <mutex>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The outputs `in + offset` of every input and offset.
struct DilateOutputs : EveryOffset {
  static constexpr char const* name = "dilate";

  template <int Dim>
  [[nodiscard]] TESSERA_HOST_DEVICE static bool candidate(KernelRegion<Dim> const& region,
                                                          IntArray<Dim> const& in, int index,
                                                          IntArray<Dim>& out)
  {
    auto const offset = region.offset(index);
    for (int i = 0; i < Dim; ++i) { out[i] = in[i] + offset[i]; }
    return true;
  }
  template <int Dim>
  [[nodiscard]] static AxisBounds reach(KernelRegion<Dim> const& region, CoordinateBox<Dim> const& box,
                                        int axis)
  {
    auto const [lowest, highest] = region.offsets(axis);
    return {box.lower[axis] + lowest, box.upper[axis] + highest};
  }
};

}  // namespace detail

/// The voxels `floor(position / stride)` of a set, each once, in lexicographic order: the set that strided layers
/// under MinkowskiDownsample write, which finds it again.
///
/// @param stride  by which the tensor stride grows, one number an axis
/// @throws invalid_argument  a stride below 1; errors in the rows of `set` that were found meanwhile
/// Cost: derive_outputs() the first time.
/// Stream: waits once for a new set, unless the set has a fixed capacity.
/// Determinism: same input, in any row order: same set.
/// Source: MinkowskiEngine's `stride` of a coordinate map.
template <int Dim, class Space>
[[nodiscard]] CoordinateSetPointer<Dim, Space> downsample_coordinates(CoordinateSet<Dim, Space>& set,
                                                                      IntArray<Dim> const& stride,
                                                                      Execution<Space> const& exec)
{
  ConvolutionGeometry<Dim> g;
  g.kernel_size = 1;
  g.stride = stride;
  detail::check_geometry(g, "downsample_coordinates");
  std::lock_guard lock{detail::access(set).mutex()};
  detail::access(set).take_map_streams(exec);
  if (all_equal(stride, 1)) { return set.shared(); }
  return detail::outputs<MinkowskiDownsample>(
      set, detail::region_of(g, IntArray<Dim>(0)),
      detail::strided_grid<rules::Tessera, MinkowskiDownsample>(set, g), exec);
}

/// The voxels `position + offset` of a set under every offset of a centred kernel, each once, in lexicographic order,
/// at the tensor stride of the set: a set grown by a box, a cross, or offsets of one's own.
///
/// @param geometry  its kernel size, dilation and shape count: digits run from `-floor((size - 1) / 2)` on; listed
///                  offsets are what is added
/// @throws invalid_argument  a size or dilation that cannot be meant, voxels that do not fit 32 bits
/// With a spatial range, voxels outside are left out. Without an offset of 0 the set need not hold those it was
/// made from.
/// Cost, stream, determinism: as downsample_coordinates(), one candidate a voxel and offset.
template <int Dim, class Space>
[[nodiscard]] CoordinateSetPointer<Dim, Space> dilate_coordinates(CoordinateSet<Dim, Space>& set,
                                                                  ConvolutionGeometry<Dim> geometry,
                                                                  Execution<Space> const& exec)
{
  geometry.stride = 1;
  geometry.padding = 0;
  detail::check_geometry(geometry, "dilate_coordinates");
  std::lock_guard lock{detail::access(set).mutex()};
  detail::access(set).take_map_streams(exec);
  auto const anchor = Hashmap::anchor(geometry, ConvolutionKind::submanifold, Compatibility::none);
  detail::OutputGrid<Dim, Space> grid;
  grid.options = {set.tensor_stride(), set.spatial_range()};
  if (set.spatial_range()) { grid.bounds = box_of(*set.spatial_range()); }
  return detail::outputs<detail::DilateOutputs>(set, detail::region_of(geometry, anchor), grid, exec);
}

}  // namespace v0
}  // namespace tessera
