// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate_set.hpp>
#include <tessera/coords/detail/group_by_cloud.hpp>
#include <tessera/coords/detail/hard_voxels.hpp>
#include <tessera/coords/points_view.hpp>
#include <tessera/coords/quantize.hpp>
#include <tessera/core/scalar.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <type_traits>
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

  /// How many points per voxel keeps, at least 1.
  VoxelizeOptions& points_per_voxel(int most) { return points_per_voxel_ = most, *this; }
  [[nodiscard]] int points_per_voxel() const noexcept { return points_per_voxel_; }
  /// How many voxels there may be, at least 1.
  VoxelizeOptions& voxels(int most) { return voxels_ = most, *this; }
  [[nodiscard]] int voxels() const noexcept { return voxels_; }
  VoxelizeOptions& order(AxisOrder value) { return order_ = value, *this; }
  [[nodiscard]] AxisOrder order() const noexcept { return order_; }
  /// The spatial range of the set that is made, in its axis order: what the encoder was trained with, often
  /// one more than the grid in z. Without it, the grid.
  VoxelizeOptions& shape(IntArray<3> const& value) { return shape_ = value, *this; }
  [[nodiscard]] std::optional<IntArray<3>> const& shape() const noexcept { return shape_; }
  /// Room for as many voxels as there can be, and this much for sets derived from them, so that nothing
  /// waits. Hard voxels only.
  VoxelizeOptions& capacity(FixedCapacity const& value) { return capacity_ = value, *this; }
  VoxelizeOptions& capacity(std::nullopt_t) { return capacity_.reset(), *this; }
  [[nodiscard]] std::optional<FixedCapacity> const& capacity() const noexcept { return capacity_; }

  Position voxel_size;
  Position range_lower;
  Position range_upper;

 private:
  int points_per_voxel_ = 10;
  int voxels_ = 160000;
  AxisOrder order_ = AxisOrder::zyx;
  std::optional<IntArray<3>> shape_;
  std::optional<FixedCapacity> capacity_;
};

/// Cells on each axis, `round((upper - lower) / size)`, in the options' axis order.
/// @throws invalid_argument  a size that is not positive, an empty range, more than 2^30 cells on an axis
[[nodiscard]] inline IntArray<3> grid_shape(VoxelizeOptions const& options)
{
  IntArray<3> shape;
  for (int i = 0; i < 3; ++i) {
    auto const axis = static_cast<std::size_t>(i);
    float const size = options.voxel_size[axis];
    detail::expects(size > 0 && detail::is_finite(size), "voxelize: voxel size ", size, " on axis ", i,
                    "; it must be positive and finite");
    float const lower = options.range_lower[axis];
    float const upper = options.range_upper[axis];
    float const cells = std::round((upper - lower) / size);
    detail::expects(detail::is_finite(cells) && cells >= 1 && cells <= 1 << 30, "voxelize: the range ", lower,
                    " to ", upper, " on axis ", i, " has ", cells, " voxels of ", size,
                    "; there must be 1 to 2^30");
    shape[options.order() == AxisOrder::zyx ? 2 - i : i] = static_cast<int>(cells);
  }
  return shape;
}

/// Which of the optional results of hard_voxelize() are made.
struct VoxelOutputs {
  bool mean = true;     ///< the mean of each voxel's kept points
  bool points = false;  ///< the kept points themselves
};

/// Voxels in the order in which a cloud first enters them, cloud after cloud; `capacity` rows are the voxels,
/// unless the options ask for a fixed capacity: then means after the last voxel are zero, and the rest there
/// is not written.
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
  bool const reversed = options.order() == AxisOrder::zyx;
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

[[nodiscard]] inline HardVoxelRule hard_voxel_rule(PointRows const& points, std::int64_t columns,
                                                   VoxelizeOptions const& options, char const* who)
{
  expects(points.count < 1 << 30, who, points.count, " points are more than 2^30");
  expects(options.points_per_voxel() >= 1 && options.voxels() >= 1, who, options.points_per_voxel(),
          " points per voxel and ", options.voxels(),
          " voxels at most; both must be at least 1 (dynamic_voxelize has no such caps)");
  expects(columns <= (1 << 20) / options.points_per_voxel(), who, options.points_per_voxel(),
          " points per voxel of ", columns, " columns are more than 2^20 numbers");
  auto const shape = grid_shape(options);
  int const scans = points.is_batch() ? points.num_batches : 1;
  expects(shape[0] <= std::numeric_limits<std::int64_t>::max() / shape[1] / shape[2] / scans, who,
          "a grid of ", list(shape), " has more than 2^63 voxels", scans > 1 ? " in all scans" : "");
  return {grid_rule(options), options.points_per_voxel(), options.voxels(),
          points.is_batch() ? 0 : points.entry, options.order() == AxisOrder::zyx};
}

/// The spatial range of the voxels of so many clouds.
[[nodiscard]] inline SpatialRange<3> voxel_range(VoxelizeOptions const& options, int num_batches)
{
  return {num_batches, options.shape().value_or(grid_shape(options))};
}

[[nodiscard]] inline CoordinateSetOptions<3> voxel_set_options(VoxelizeOptions const& options,
                                                               PointRows const& points)
{
  CoordinateSetOptions<3> result;
  result.spatial_range = voxel_range(options, points.num_batches);
  result.fixed_capacity = options.capacity();
  result.only_entry = only_entry(points);
  return result;
}

/// Rows that voxels may have at all.
[[nodiscard]] inline std::int64_t most_voxels(PointRows const& points, VoxelizeOptions const& options)
{
  auto const scans = points.is_batch() ? std::int64_t{points.num_batches} : 1;
  return std::min(points.count, scans * options.voxels());
}

}  // namespace detail

/// Makes voxels of one cloud, or of each cloud of a batch, as mmcv's deterministic rules have it: `cell =
/// floor((p - lower) / size)` in single precision.
///
/// | name             | shape                  | memory | holds                                         |
/// |------------------|------------------------|--------|-----------------------------------------------|
/// | points.positions | [num_points, 3]        | Space  | x, y, z; any values                           |
/// | points.features  | [num_points, channels] | Space  | any values                                    |
/// | returns          | [num_voxels, ...]      | Space  | cloud after cloud, voxels by their first point |
///
/// Points outside the grid or not finite are left out. Voxels are numbered in the order in which a cloud
/// first enters them; those after the first `max_voxels` of a cloud are left out with their points. A voxel
/// keeps its first `max_points` points, in the cloud's order, and `mean` is over those, x, y, z first
/// (mmdetection3d's HardSimpleVFE). The clouds of a batch give what they would give one by one, collated;
/// their points may come in any order (PointsView::batch). The set has the options' shape, or their grid, as
/// its spatial range. With a fixed capacity there are rows for `min(num_points, clouds * max_voxels)` voxels,
/// and how many are used stays in the space.
/// @throws invalid_argument  sizes, range or caps that are not positive, a grid of more than 2^63 voxels,
///                           positions that have not 3 columns, a point of no cloud (with a fixed capacity
///                           reported where the host next waits)
///
/// Cost: on the device one fill and three kernels, 4 * max_points + 4 bytes of workspace for each of two to
///       four times as many slots as there are points, and of a batch seven kernels more, with the cloud of
///       each point a sort and a copy too; on the host one pass over the points.
/// Stream: enqueues on `exec`; waits once, for the number of voxels (of a batch twice, for faults too), and
/// with a fixed capacity not at all.
/// Determinism: same input, same bits, on Host and Device.
/// Source: mmcv's Voxelization(deterministic=True).
template <class Space>
[[nodiscard]] HardVoxels<Space> hard_voxelize(PointsView<float> const& points, VoxelizeOptions const& options,
                                              Execution<Space> const& exec, VoxelOutputs const& outputs = {})
{
  char const* const who = "hard_voxelize: ";
  auto const rows_of_points = detail::point_rows<3>(points, who);
  detail::JoinedColumns<float> columns{points.positions, points.features};
  auto const rule = detail::hard_voxel_rule(rows_of_points, columns.columns(), options, who);
  bool const is_batch = rows_of_points.is_batch();
  bool const looks_at_faults = is_batch || std::is_same_v<Space, Host>;
  Buffer<detail::PointFaults, Space> faults{looks_at_faults ? 1 : 0, exec};
  detail::PointsByCloud<Space> by_cloud;
  detail::HardPoints hard_points{columns, rows_of_points.count, points.offsets,
                                 is_batch ? rows_of_points.num_batches : 1};
  if (looks_at_faults) { for_each(1, detail::StoreValue<detail::PointFaults>{faults.data(), {}}, exec); }
  if (points.batch != nullptr) {
    by_cloud = detail::group_by_cloud(rows_of_points, columns, faults.data(), exec);
    StridedView<float const> const rows{by_cloud.rows};
    hard_points.columns = {rows.columns_from(0, 3), rows.columns_from(3, rows.columns - 3)};
    hard_points.offsets = by_cloud.offsets.data();
  } else if (points.offsets != nullptr) {
    for_each(
        rows_of_points.num_batches + 1,
        detail::CheckOffsets{points.offsets, rows_of_points.num_batches, rows_of_points.count, faults.data()},
        exec);
  }
  detail::HardVoxelizer<Space> voxelizer{hard_points, rule, faults.data(), exec};
  bool const fixed = options.capacity().has_value();
  if (is_batch && !fixed) { detail::report(download(faults, exec)[0], rows_of_points, who, exec); }
  auto const capacity =
      fixed ? detail::most_voxels(rows_of_points, options) : voxelizer.download_num_voxels(exec);
  HardVoxels<Space> result;
  Buffer<Coordinate<3>, Space> rows{capacity, exec};
  Buffer<std::int32_t, Space> count{fixed ? 1 : 0, exec};
  result.num_points = Buffer<std::int32_t, Space>{capacity, exec};
  if (outputs.mean) {
    Buffer<float, Space> mean{capacity * columns.columns(), exec};
    if (fixed) { fill_bytes(mean, 0, exec); }  // layers read all rows, though nothing comes of these
    result.mean = Matrix<float, Space>{std::move(mean), capacity, columns.columns()};
  }
  if (outputs.points) {
    result.points = Matrix<float, Space>{capacity * options.points_per_voxel(), columns.columns(), exec};
  }
  voxelizer.write(
      {rows.data(), result.num_points.data(), result.mean.data(), result.points.data(), count.data()}, exec);
  auto const set_options = detail::voxel_set_options(options, rows_of_points);
  result.coordinates = CoordinateSet<3, Space>::make({std::move(rows), std::move(count)}, set_options, exec);
  if (is_batch && fixed) {
    for_each(1, detail::NotePointFaults{faults.data(), detail::access(*result.coordinates).errors()}, exec);
    if constexpr (std::is_same_v<Space, Host>) { result.coordinates->check(exec); }
  }
  return result;
}

/// The same of one cloud whose rows begin with x, y, z, its voxels in batch entry `batch_entry`.
/// @throws invalid_argument  also fewer than 3 columns
template <class Space>
[[nodiscard]] HardVoxels<Space> hard_voxelize(StridedView<float const> points, VoxelizeOptions const& options,
                                              Execution<Space> const& exec, int batch_entry = 0,
                                              VoxelOutputs const& outputs = {})
{
  auto view = detail::points_of_rows(points, batch_entry, "hard_voxelize: ");
  return hard_voxelize(view, options, exec, outputs);
}

/// Makes voxels of all points of one cloud, or of each cloud of a batch, and reduces their features: mmcv's
/// dynamic voxelization and scatter.
///
/// The same grid as hard_voxelize() without its caps. Voxels are in lexicographic order of their coordinates;
/// `inverse` has each point's voxel, -1 for points outside the grid; `features` is mean, sum, maximum or
/// first of the points' x, y, z and features.
/// @throws invalid_argument  as hard_voxelize() and sparse_quantize()
///
/// Cost: that of sparse_quantize(), a sort.
/// Stream: enqueues on `exec`; waits once, for the number of voxels.
/// Determinism: same input, same bits, on Host and Device; sums by ascending index of the point.
template <class Space>
[[nodiscard]] QuantizedPoints<3, float, Space> dynamic_voxelize(PointsView<float> const& points,
                                                                VoxelizeOptions const& options,
                                                                VoxelFeatures features,
                                                                Execution<Space> const& exec)
{
  char const* const who = "dynamic_voxelize: ";
  auto const shape = grid_shape(options);
  auto rows = detail::point_rows<3>(points, who);
  auto size = options.voxel_size;
  auto lower = options.range_lower;
  if (options.order() == AxisOrder::zyx) {
    rows.positions = rows.positions.reversed_columns();
    std::swap(size[0], size[2]);
    std::swap(lower[0], lower[2]);
  }
  auto const grid = QuantizeOptions<3>(size).origin(lower).grid(shape).features(features);
  return detail::quantize_points<3, float>(rows, {points.positions, points.features}, grid, options.shape(),
                                           who, exec);
}

/// The same of one cloud whose rows begin with x, y, z.
template <class Space>
[[nodiscard]] QuantizedPoints<3, float, Space> dynamic_voxelize(StridedView<float const> points,
                                                                VoxelizeOptions const& options,
                                                                VoxelFeatures features,
                                                                Execution<Space> const& exec,
                                                                int batch_entry = 0)
{
  auto view = detail::points_of_rows(points, batch_entry, "dynamic_voxelize: ");
  return dynamic_voxelize(view, options, features, exec);
}

}  // namespace v0
}  // namespace tessera
