// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate_set.hpp>
#include <tessera/coords/detail/group_points.hpp>
#include <tessera/core/matrix.hpp>
#include <tessera/core/sort.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <type_traits>
#include <utility>

namespace tessera {
inline namespace v0 {

/// Points of one or several clouds in one space, not owned.
template <class Scalar>
struct PointsView {
  MatrixView<float const> positions;    ///< [num_points, Dim]
  MatrixView<Scalar const> features{};  ///< [num_points, channels]; left out: no channels
  std::int32_t const* batch = nullptr;  ///< [num_points] the cloud of each point; null: all in batch_entry
  int batch_entry = 0;
  int num_batches = 0;  ///< number of clouds; 0 means batch_entry + 1, and is not enough with `batch`
};

/// How sparse_quantize() makes voxels: `QuantizeOptions<3>(0.05F).origin(GridOrigin::lowest_point)`.
template <int Dim>
struct QuantizeOptions {
  using Position = std::array<float, Dim>;

  /// Voxels of one size on every axis, in the unit of the points.
  explicit QuantizeOptions(float size) { voxel_size.fill(size); }
  explicit QuantizeOptions(Position const& size) : voxel_size{size} {}

  /// Voxel 0 begins (floor) or is centred (nearest_even) at `position`; (0, 0, ...) unless told.
  QuantizeOptions& origin(Position const& position)
  {
    return fixed_origin = position, grid_origin = GridOrigin::fixed, *this;
  }
  QuantizeOptions& origin(GridOrigin value) { return grid_origin = value, *this; }
  QuantizeOptions& rounding(Rounding value) { return voxel_rounding = value, *this; }
  QuantizeOptions& features(VoxelFeatures value) { return voxel_features = value, *this; }
  /// Leaves out points that are not in [lower, upper) on every axis.
  QuantizeOptions& range(Position const& lower, Position const& upper)
  {
    return range_lower = lower, range_upper = upper, *this;
  }
  /// Leaves out points whose voxel is not in [0, extent) on every axis; the result has this spatial range.
  QuantizeOptions& grid(IntArray<Dim> const& extent) { return grid_extent = extent, *this; }

  Position voxel_size{};
  Position fixed_origin{};
  GridOrigin grid_origin = GridOrigin::fixed;
  Rounding voxel_rounding = Rounding::floor;
  VoxelFeatures voxel_features = VoxelFeatures::first;
  std::optional<Position> range_lower;
  std::optional<Position> range_upper;
  std::optional<IntArray<Dim>> grid_extent;
};

/// Voxels made of points, and which point went where. A tensor of them:
/// `SparseTensor<3, float, Space> x{voxels.coordinates, std::move(voxels.features)};`
template <int Dim, class Scalar, class Space>
struct QuantizedPoints {
  CoordinateSetPointer<Dim, Space> coordinates;  ///< lexicographic (batch, x, y, ...)
  Matrix<Scalar, Space> features;                ///< [num_voxels, channels]
  Buffer<std::int32_t, Space> first_point;       ///< [num_voxels] the lowest index of the voxel's points
  Buffer<std::int32_t, Space> inverse;           ///< [num_points] row of the point's voxel, -1 if left out
  std::int64_t num_dropped = 0;                  ///< points left out

  [[nodiscard]] std::int64_t num_voxels() const noexcept { return first_point.size(); }
};

namespace detail {

template <int Dim>
[[nodiscard]] VoxelRule<Dim> voxel_rule(QuantizeOptions<Dim> const& options)
{
  char const* const who = "sparse_quantize: ";
  VoxelRule<Dim> rule;
  for (int i = 0; i < Dim; ++i) {
    auto const axis = static_cast<std::size_t>(i);
    rule.size[i] = options.voxel_size[axis];
    rule.origin[i] = options.fixed_origin[axis];
    rule.lower[i] = options.range_lower ? (*options.range_lower)[axis] : -FLT_MAX;
    rule.upper[i] =
        options.range_upper ? (*options.range_upper)[axis] : std::numeric_limits<float>::infinity();
    expects(rule.size[i] > 0 && rule.size[i] <= FLT_MAX, who, "voxel size ", rule.size[i], " on axis ", i,
            "; it must be positive and finite");
    expects(std::isfinite(rule.origin[i]), who, "origin ", rule.origin[i], " on axis ", i);
    expects(rule.lower[i] < rule.upper[i], who, "the range ", rule.lower[i], " to ", rule.upper[i],
            " on axis ", i, " is empty");
  }
  rule.has_grid = options.grid_extent.has_value();
  rule.extent = options.grid_extent.value_or(IntArray<Dim>(1));
  expects(min_element(rule.extent) >= 1, who, "a grid of ", list(rule.extent), " voxels");
  rule.rounding = options.voxel_rounding;
  rule.grid_origin = options.grid_origin;
  return rule;
}

/// `points` with their shapes checked.
template <int Dim, class Scalar>
[[nodiscard]] PointRows point_rows(PointsView<Scalar> const& points)
{
  char const* const who = "sparse_quantize: ";
  auto const rows = points.positions.rows;
  expects(points.positions.columns == Dim, who, "positions have ", points.positions.columns, " columns, not ",
          Dim);
  expects(rows >= 0 && rows < INT_MAX, who, rows, " points are more than the ", INT_MAX - 1,
          " that indices hold");
  expects(points.features.rows == rows || points.features.columns == 0, who, rows, " points but ",
          points.features.rows, " rows of features");
  int const batches =
      points.num_batches == 0 && points.batch == nullptr ? points.batch_entry + 1 : points.num_batches;
  expects(points.batch_entry >= 0 && points.batch_entry < INT_MAX, who, "batch entry ", points.batch_entry);
  expects(batches >= 1, who, batches, " clouds; with a batch index for each point num_batches must be given");
  expects(points.batch != nullptr || points.batch_entry < batches, who, "batch entry ", points.batch_entry,
          " of only ", batches, " clouds");
  return {points.positions.data, points.batch, rows, points.batch_entry, batches};
}

/// Throws what LocatePoints found that cannot be meant.
template <int Dim, class Space>
void report(PointStatistics<Dim> const& found, PointRows const& points, Execution<Space> const& exec)
{
  if (found.first_stray < INT_MAX) {
    auto const batch = download(points.batch + found.first_stray, 1, exec)[0];
    expects(false, "sparse_quantize: point ", found.first_stray, " belongs to cloud ", batch, " of ",
            points.num_batches);
  }
  if (found.first_too_far < INT_MAX) {
    auto const p = download(points.positions + std::int64_t{found.first_too_far} * Dim, Dim, exec);
    expects(false, "sparse_quantize: the voxel of point ", found.first_too_far, " at ", list(p),
            " is beyond 2^30; choose larger voxels, or a range that leaves it out");
  }
}

/// The voxels in `box` of located points.
template <int Dim, class Scalar, class Space>
[[nodiscard]] QuantizedPoints<Dim, Scalar, Space> group_points(
    PointRows const& points, MatrixView<Scalar const> features, VoxelFeatures kind,
    Buffer<Coordinate<Dim>, Space> const& voxels, CoordinateBox<Dim> const& box,
    CoordinateSetOptions<Dim> const& set_options, PointStatistics<Dim>* statistics,
    Execution<Space> const& exec)
{
  return with_packing(box, [&](auto const& packing) {
    using Key = typename std::decay_t<decltype(packing)>::KeyType;
    auto const n = points.count;
    int const bits = key_bits(box);
    auto const none = static_cast<Key>(Key{1} << bits);
    Buffer<Key, Space> keys{n, exec};
    Buffer<std::int32_t, Space> order{n, exec};
    {
      Buffer<Key, Space> unsorted{n, exec};
      Buffer<std::int32_t, Space> numbers{n, exec};
      for_each(n, PackPoints<Dim, Key>{packing, voxels.data(), none, unsorted.data(), numbers.data()}, exec);
      Sort<Space>::pairs(unsorted.data(), numbers.data(), keys.data(), order.data(), n, bits + 1, exec);
    }
    Buffer<std::int32_t, Space> place{n + 1, exec};
    for_each(n + 1, MarkVoxels<Key>{keys.data(), none, n, place.data()}, exec);
    Scan<Space>::exclusive(place.data(), place.data(), n + 1, exec);
    for_each(1, CountVoxels<Dim>{place.data() + n, statistics}, exec);
    auto const found = download(statistics, 1, exec)[0];
    report(found, points, exec);

    std::int64_t const num_voxels = found.voxels.count;
    QuantizedPoints<Dim, Scalar, Space> result;
    Buffer<Coordinate<Dim>, Space> rows{num_voxels, exec};
    Buffer<std::int32_t, Space> begin{num_voxels + 1, exec};
    result.num_dropped = found.dropped;
    result.first_point = Buffer<std::int32_t, Space>{num_voxels, exec};
    result.inverse = Buffer<std::int32_t, Space>{n, exec};
    for_each(n + 1,
             WriteVoxels<Dim, Key>{packing, keys.data(), none, order.data(), place.data(), n, num_voxels,
                                   rows.data(), begin.data(), result.first_point.data(),
                                   result.inverse.data(), nullptr, nullptr},
             exec);
    result.features = Matrix<Scalar, Space>{num_voxels, features.columns, exec};
    for_each(result.features.size(),
             ReduceFeatures<Scalar>{features.data, order.data(), begin.data(), features.columns, kind,
                                    result.features.data()},
             exec);
    result.coordinates = CoordinateSet<Dim, Space>::make({std::move(rows)}, box, set_options, exec);
    return result;
  });
}

}  // namespace detail

/// Makes voxels of points: `voxel = round((p - origin) / size)` in single precision, as numpy computes it.
///
/// | name             | shape                   | memory | holds                                        |
/// |------------------|-------------------------|--------|----------------------------------------------|
/// | points.positions | [num_points, Dim] float | Space  | any values                                   |
/// | points.features  | [num_points, channels]  | Space  | any values; NaN flows through                |
/// | returns          | [num_voxels, ...]       | Space  | unique voxels, lexicographic (batch, x, ...) |
///
/// Points that are not finite, outside the range or outside the grid are left out: their inverse is -1, and
/// they are counted. Whether voxel 0 is at a fixed place or depends on the cloud, how positions are rounded
/// and what the features are is up to the options. The set's tensor stride is 1; it has a spatial range only
/// if a grid was given.
/// @throws invalid_argument  sizes, range or grid not positive; a voxel index beyond 2^30 (unless a grid
/// leaves it out); keys of more than 63 bits; a point of no cloud; shapes that do not fit together
///
/// Cost: one sort of the points by voxel, some passes over them.
/// Stream: enqueues on `exec`; waits twice, for the bounds and the number of voxels; with a grid only once.
/// Determinism: same input, same bits, on Host and Device; no floating-point atomics.
/// Source: the rules of TorchSparse's sparse_quantize (floor) and of SPVNAS's preprocessing (nearest_even,
/// lowest_voxel).
template <int Dim, class Scalar, class Space>
[[nodiscard]] QuantizedPoints<Dim, Scalar, Space> sparse_quantize(PointsView<Scalar> const& points,
                                                                  QuantizeOptions<Dim> const& options,
                                                                  Execution<Space> const& exec)
{
  auto const rule = detail::voxel_rule(options);
  auto const rows = detail::point_rows<Dim>(points);
  auto const workers = std::min<std::int64_t>(rows.count, 4096);

  Buffer<std::int32_t, Space> lowest;
  if (options.grid_origin != GridOrigin::fixed) {
    lowest = Buffer<std::int32_t, Space>{std::int64_t{rows.num_batches} * Dim, exec};
    detail::for_each(lowest.size(), detail::FillValue<std::int32_t>{lowest.data(), INT_MAX}, exec);
    detail::for_each(workers, detail::FindLowest<Dim>{rows, rule, workers, lowest.data()}, exec);
  }
  Buffer<detail::PointStatistics<Dim>, Space> statistics{1, exec};
  Buffer<Coordinate<Dim>, Space> voxels{rows.count, exec};
  detail::for_each(1, detail::StoreValue<detail::PointStatistics<Dim>>{statistics.data(), {}}, exec);
  detail::for_each(
      workers,
      detail::LocatePoints<Dim>{rows, rule, workers, lowest.data(), voxels.data(), statistics.data()}, exec);

  CoordinateSetOptions<Dim> set_options;
  CoordinateBox<Dim> box;
  if (options.grid_extent) {
    set_options.spatial_range = SpatialRange<Dim>{rows.num_batches, *options.grid_extent};
    box = box_of(*set_options.spatial_range);
  } else {
    auto const found = download(statistics, exec)[0];
    detail::report(found, rows, exec);
    box = found.voxels.box();
    box.batches = rows.num_batches;
  }
  return detail::group_points<Dim, Scalar>(rows, points.features, options.voxel_features, voxels, box,
                                           set_options, statistics.data(), exec);
}

}  // namespace v0
}  // namespace tessera
