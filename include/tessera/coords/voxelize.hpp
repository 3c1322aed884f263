// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate_set.hpp>
#include <tessera/coords/detail/hard_voxels.hpp>
#include <tessera/coords/quantize.hpp>

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

namespace tessera {
inline namespace v0 {

/// Order of the axes in a coordinate, after the batch entry.
enum class AxisOrder : std::uint8_t {
  xyz,  ///< (b, x, y, z): TorchSparse, BEVFusion's own operators
  zyx,  ///< (b, z, y, x): spconv, mmdetection3d, OpenPCDet
};

/// The grid of a detector: `VoxelizeOptions({0.05F, 0.05F, 0.1F}, {0, -40, -3}, {70.4F, 40, 1})`.
/// voxel_options() has those of published detectors by name.
struct VoxelizeOptions {
  using Position = std::array<float, 3>;

  /// Voxels of `size` over [lower, upper); all in x, y, z and the unit of the points.
  VoxelizeOptions(Position const& size, Position const& lower, Position const& upper)
      : voxel_size{size}, range_lower{lower}, range_upper{upper}
  {}

  /// How many points a voxel keeps, at least 1.
  VoxelizeOptions& points_per_voxel(int most) { return max_points = most, *this; }
  /// How many voxels there may be, at least 1.
  VoxelizeOptions& voxels(int most) { return max_voxels = most, *this; }
  VoxelizeOptions& order(AxisOrder value) { return axis_order = value, *this; }
  /// The spatial range of the set that is made, in its axis order: what the encoder was trained with, often
  /// one more than the grid in z. Without it, the grid.
  VoxelizeOptions& shape(IntArray<3> const& value) { return spatial_shape = value, *this; }
  /// Room for as many voxels as there can be, and this much for sets derived from them, so that nothing
  /// waits. Hard voxels only.
  VoxelizeOptions& capacity(FixedCapacity const& value) { return fixed_capacity = value, *this; }

  Position voxel_size;
  Position range_lower;
  Position range_upper;
  int max_points = 10;
  int max_voxels = 160000;
  AxisOrder axis_order = AxisOrder::zyx;
  std::optional<IntArray<3>> spatial_shape;
  std::optional<FixedCapacity> fixed_capacity;
};

/// Cells on each axis, `round((upper - lower) / size)`, in the options' axis order.
/// @throws invalid_argument  a size that is not positive, an empty range, more than 2^30 cells on an axis
[[nodiscard]] inline IntArray<3> grid_shape(VoxelizeOptions const& options)
{
  IntArray<3> shape;
  for (int i = 0; i < 3; ++i) {
    auto const axis = static_cast<std::size_t>(i);
    float const size = options.voxel_size[axis];
    detail::expects(size > 0 && std::isfinite(size), "voxelize: voxel size ", size, " on axis ", i,
                    "; it must be positive and finite");
    float const lower = options.range_lower[axis];
    float const upper = options.range_upper[axis];
    float const cells = std::round((upper - lower) / size);
    detail::expects(cells >= 1 && cells <= 1 << 30, "voxelize: the range ", lower, " to ", upper, " on axis ",
                    i, " has ", cells, " voxels of ", size, "; there must be 1 to 2^30");
    shape[options.axis_order == AxisOrder::zyx ? 2 - i : i] = static_cast<int>(cells);
  }
  return shape;
}

/// Which of the optional results of hard_voxelize() are made.
struct VoxelOutputs {
  bool mean = true;     ///< the mean of each voxel's kept points
  bool points = false;  ///< the kept points themselves
};

/// Voxels in the order in which the cloud first enters them; `capacity` rows are the voxels, unless the
/// options ask for a fixed capacity: then means after the last voxel are zero, and the rest there is not
/// written.
template <class Space>
struct HardVoxels {
  CoordinateSetPointer<3, Space> coordinates;
  Buffer<std::int32_t, Space> num_points;  ///< [capacity] points kept, 1 to max_points
  Matrix<float, Space> mean;               ///< [capacity, channels], if asked for
  Matrix<float, Space> points;  ///< [capacity * max_points, channels], zero after the last, if asked for

  /// Stream: waits if the host does not know (CoordinateSet::num_rows()).
  [[nodiscard]] std::int64_t num_voxels() const { return coordinates->num_rows(); }
};

namespace detail {

[[nodiscard]] inline VoxelRule<3> grid_rule(VoxelizeOptions const& options)
{
  auto const shape = grid_shape(options);
  bool const reversed = options.axis_order == AxisOrder::zyx;
  VoxelRule<3> rule{};
  for (int i = 0; i < 3; ++i) {
    auto const axis = static_cast<std::size_t>(i);
    rule.size[i] = options.voxel_size[axis];
    rule.origin[i] = options.range_lower[axis];
    rule.lower[i] = -FLT_MAX;  // the grid decides, not the range: they differ by rounding
    rule.upper[i] = std::numeric_limits<float>::infinity();
    rule.extent[i] = shape[reversed ? 2 - i : i];
  }
  rule.has_grid = true;
  rule.rounding = Rounding::floor;
  rule.grid_origin = GridOrigin::fixed;
  return rule;
}

[[nodiscard]] inline HardVoxelRule hard_voxel_rule(MatrixView<float const> points,
                                                   VoxelizeOptions const& options, int batch_entry)
{
  char const* const who = "hard_voxelize: ";
  expects(points.columns >= 3, who, "points have ", points.columns, " columns; the first 3 are x, y, z");
  expects(points.rows >= 0 && points.rows < 1 << 30, who, points.rows, " points are more than 2^30");
  expects(options.max_points >= 1 && options.max_voxels >= 1, who, options.max_points, " points a voxel and ",
          options.max_voxels, " voxels at most; both must be at least 1 (dynamic_voxelize has no such caps)");
  expects(options.max_points * points.columns <= 1 << 20, who, options.max_points, " points a voxel of ",
          points.columns, " columns are more than 2^20 numbers");
  expects(batch_entry >= 0, who, "batch entry ", batch_entry);
  auto const shape = grid_shape(options);
  expects(shape[0] <= std::numeric_limits<std::int64_t>::max() / shape[1] / shape[2], who, "a grid of ",
          list(shape), " has more than 2^63 voxels");
  return {grid_rule(options), options.max_points, options.max_voxels, batch_entry,
          options.axis_order == AxisOrder::zyx};
}

[[nodiscard]] inline CoordinateSetOptions<3> voxel_set_options(VoxelizeOptions const& options,
                                                               int batch_entry)
{
  CoordinateSetOptions<3> result;
  result.spatial_range =
      SpatialRange<3>{batch_entry + 1, options.spatial_shape.value_or(grid_shape(options))};
  result.fixed_capacity = options.fixed_capacity;
  return result;
}

}  // namespace detail

/// Makes voxels of one cloud as mmcv's deterministic rules have it: `cell = floor((p - lower) / size)` in
/// single precision.
///
/// | name        | shape                  | memory | holds                                              |
/// |-------------|------------------------|--------|----------------------------------------------------|
/// | points      | [num_points, channels] | Space  | x, y, z, then any features; any values             |
/// | batch_entry |                        | host   | batch entry of all voxels                          |
/// | returns     | [num_voxels, ...]      | Space  | voxels in the order of their first points          |
///
/// Points outside the grid or not finite are left out. Voxels are numbered in the order in which the cloud
/// first enters them; those after the first `max_voxels` are left out with their points. A voxel keeps its
/// first `max_points` points, in the cloud's order, and `mean` is over those (mmdetection3d's HardSimpleVFE).
/// The set has the options' shape, or their grid, as its spatial range. With a fixed capacity there are rows
/// for `min(num_points, max_voxels)` voxels, and how many are used stays in the space.
/// @throws invalid_argument  sizes, range or caps that are not positive, a grid of more than 2^63 voxels,
///                           fewer than 3 columns
///
/// Cost: on the device one fill and three kernels, 4 * max_points + 4 bytes of workspace for each of two to
///       four times as many slots as there are points; on the host one pass over the points.
/// Stream: enqueues on `exec`; waits once, for the number of voxels, and with a fixed capacity not at all.
/// Determinism: same input, same bits, on Host and Device.
/// Source: mmcv's Voxelization(deterministic=True).
template <class Space>
[[nodiscard]] HardVoxels<Space> hard_voxelize(MatrixView<float const> points, VoxelizeOptions const& options,
                                              Execution<Space> const& exec, int batch_entry = 0,
                                              VoxelOutputs const& outputs = {})
{
  auto const rule = detail::hard_voxel_rule(points, options, batch_entry);
  detail::HardVoxelizer<Space> voxelizer{points, rule, exec};
  bool const fixed = options.fixed_capacity.has_value();
  auto const capacity =
      fixed ? std::min<std::int64_t>(points.rows, options.max_voxels) : voxelizer.download_num_voxels(exec);
  HardVoxels<Space> result;
  Buffer<Coordinate<3>, Space> rows{capacity, exec};
  Buffer<std::int32_t, Space> count{fixed ? 1 : 0, exec};
  result.num_points = Buffer<std::int32_t, Space>{capacity, exec};
  if (outputs.mean) {
    Buffer<float, Space> mean{capacity * points.columns, exec};
    if (fixed) { fill_bytes(mean, 0, exec); }  // layers read all rows, though nothing comes of these
    result.mean = Matrix<float, Space>{std::move(mean), capacity, points.columns};
  }
  if (outputs.points) {
    result.points = Matrix<float, Space>{capacity * options.max_points, points.columns, exec};
  }
  voxelizer.write(
      {rows.data(), result.num_points.data(), result.mean.data(), result.points.data(), count.data()}, exec);
  auto const set_options = detail::voxel_set_options(options, batch_entry);
  result.coordinates = CoordinateSet<3, Space>::make({std::move(rows), std::move(count)}, set_options, exec);
  return result;
}

namespace detail {

/// positions[i] = the first three columns of point i, in the axis order asked for.
struct TakePositions {
  float const* points;  // [num_points, columns]
  std::int64_t columns;
  bool reversed;
  float* positions;  // [num_points, 3]

  TESSERA_HOST_DEVICE void operator()(std::int64_t e) const
  {
    auto const axis = static_cast<int>(e % 3);
    positions[e] = points[e / 3 * columns + (reversed ? 2 - axis : axis)];
  }
};

}  // namespace detail

/// Makes voxels of all points of one cloud and reduces their features: mmcv's dynamic voxelization and
/// scatter.
///
/// The same grid as hard_voxelize() without its caps. Voxels are in lexicographic order of their coordinates;
/// `inverse` has each point's voxel, -1 for points outside the grid; `features` is mean, sum, maximum or
/// first of the points' rows, all their columns.
/// @throws invalid_argument  as hard_voxelize() and sparse_quantize()
///
/// Cost: that of sparse_quantize(), a sort. Stream: enqueues on `exec`; waits once, for the number of voxels.
/// Determinism: same input, same bits, on Host and Device; sums by ascending index of the point.
template <class Space>
[[nodiscard]] QuantizedPoints<3, float, Space> dynamic_voxelize(MatrixView<float const> points,
                                                                VoxelizeOptions const& options,
                                                                VoxelFeatures features,
                                                                Execution<Space> const& exec,
                                                                int batch_entry = 0)
{
  auto const shape = grid_shape(options);
  bool const reversed = options.axis_order == AxisOrder::zyx;
  detail::expects(points.columns >= 3, "dynamic_voxelize: points have ", points.columns,
                  " columns; the first 3 are x, y, z");
  Matrix<float, Space> positions{points.rows, 3, exec};
  for_each(positions.size(), detail::TakePositions{points.data, points.columns, reversed, positions.data()},
           exec);
  auto size = options.voxel_size;
  auto lower = options.range_lower;
  if (reversed) {
    std::swap(size[0], size[2]);
    std::swap(lower[0], lower[2]);
  }
  PointsView<float> view{positions.view(), points};
  view.batch_entry = batch_entry;
  auto result =
      sparse_quantize(view, QuantizeOptions<3>(size).origin(lower).grid(shape).features(features), exec);
  if (options.spatial_shape) {
    auto const set_options = detail::voxel_set_options(options, batch_entry);
    auto rows = copy(result.coordinates->data(), result.coordinates->num_rows(), exec);
    result.coordinates = CoordinateSet<3, Space>::make({std::move(rows)}, set_options, exec);
  }
  return result;
}

}  // namespace v0
}  // namespace tessera
