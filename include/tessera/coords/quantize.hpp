// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate_set.hpp>
#include <tessera/coords/detail/group_points.hpp>
#include <tessera/coords/points_view.hpp>
#include <tessera/coords/quantize_options.hpp>
#include <tessera/core/detail/sort.hpp>
#include <tessera/core/matrix.hpp>
#include <tessera/core/scalar.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {

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
    rule.origin[i] = options.fixed_origin()[axis];
    rule.lower[i] = options.range_lower() ? (*options.range_lower())[axis] : -FLT_MAX;
    rule.upper[i] =
        options.range_upper() ? (*options.range_upper())[axis] : std::numeric_limits<float>::infinity();
    expects(is_finite(rule.size[i]) && rule.size[i] > 0, who, "voxel size ", rule.size[i], " on axis ", i,
            "; it must be positive and finite");
    expects(is_finite(rule.origin[i]), who, "origin ", rule.origin[i], " on axis ", i);
    expects(!is_nan(rule.lower[i]) && !is_nan(rule.upper[i]) && rule.lower[i] < rule.upper[i], who,
            "the range ", rule.lower[i], " to ", rule.upper[i], " on axis ", i, " is empty");
  }
  rule.has_grid = options.grid().has_value();
  rule.extent = options.grid().value_or(IntArray<Dim>(1));
  expects(min_element(rule.extent) >= 1, who, "a grid of ", list(rule.extent), " voxels");
  rule.rounding = options.rounding();
  rule.grid_origin = options.origin();
  return rule;
}

/// Throws if LocatePoints found something invalid.
template <int Dim, class Space>
void report(PointStatistics<Dim> const& found, PointRows const& points, char const* who,
            Execution<Space> const& exec)
{
  report(found.faults, points, who, exec);
  if (found.first_too_far < INT_MAX) {
    auto const& all = points.positions;
    std::vector<float> p;
    for (int axis = 0; axis < Dim; ++axis) {
      auto const* const at = all.data + found.first_too_far * all.row_stride + axis * all.column_stride;
      p.push_back(download(at, 1, exec)[0]);
    }
    fail(who, "the voxel of point ", found.first_too_far, " at ", list(p),
         " is beyond 2^30; choose larger voxels, or a range that leaves it out");
  }
}

/// The voxels in `box` of located points.
template <int Dim, class Scalar, class Space>
[[nodiscard]] QuantizedPoints<Dim, Scalar, Space> group_points(
    PointRows const& points, JoinedColumns<Scalar> const& features, VoxelFeatures kind,
    Buffer<Coordinate<Dim>, Space> const& voxels, CoordinateBox<Dim> const& box,
    CoordinateSetOptions<Dim> const& set_options, PointStatistics<Dim>* statistics, char const* who,
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
    report(found, points, who, exec);

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
    result.features = Matrix<Scalar, Space>{num_voxels, features.columns(), exec};
    for_each(result.features.size(),
             ReduceFeatures<Scalar>{features, order.data(), begin.data(), kind, result.features.data()},
             exec);
    auto const set_box = set_options.spatial_range ? box_of(*set_options.spatial_range) : box;
    result.coordinates = CoordinateSet<Dim, Space>::make({std::move(rows)}, set_box, set_options, exec);
    return result;
  });
}

/// Voxels of points whose features are given as columns. See sparse_quantize().
/// @param shape  of the result's spatial range, where it is not the options' grid
template <int Dim, class Scalar, class Space>
[[nodiscard]] QuantizedPoints<Dim, Scalar, Space> quantize_points(
    PointRows const& rows, JoinedColumns<Scalar> const& features, QuantizeOptions<Dim> const& options,
    std::optional<IntArray<Dim>> const& shape, char const* who, Execution<Space> const& exec)
{
  auto const rule = voxel_rule(options);
  auto const workers = std::min<std::int64_t>(rows.count, 4096);
  Buffer<PointStatistics<Dim>, Space> statistics{1, exec};
  for_each(1, StoreValue<PointStatistics<Dim>>{statistics.data(), {}}, exec);
  if (rows.offsets != nullptr) {
    for_each(rows.num_batches + 1,
             CheckOffsets{rows.offsets, rows.num_batches, rows.count, &statistics.data()->faults}, exec);
  }
  Buffer<std::int32_t, Space> lowest;
  if (options.origin() != GridOrigin::fixed) {
    lowest = Buffer<std::int32_t, Space>{std::int64_t{rows.num_batches} * Dim, exec};
    for_each(lowest.size(), FillValue<std::int32_t>{lowest.data(), INT_MAX}, exec);
    for_each(workers, FindLowest<Dim>{rows, rule, workers, lowest.data()}, exec);
  }
  Buffer<Coordinate<Dim>, Space> voxels{rows.count, exec};
  for_each(workers, LocatePoints<Dim>{rows, rule, workers, lowest.data(), voxels.data(), statistics.data()},
           exec);

  CoordinateSetOptions<Dim> set_options;
  set_options.only_entry = only_entry(rows);
  CoordinateBox<Dim> box;
  if (options.grid()) {
    box = box_of(SpatialRange<Dim>{rows.num_batches, *options.grid()});
    set_options.spatial_range = SpatialRange<Dim>{rows.num_batches, shape.value_or(*options.grid())};
  } else {
    auto const found = download(statistics, exec)[0];
    report(found, rows, who, exec);
    box = found.voxels.box();
    box.batches = rows.num_batches;
  }
  return group_points<Dim, Scalar>(rows, features, options.features(), voxels, box, set_options,
                                   statistics.data(), who, exec);
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
/// The points of a batch are voxelized in one call, each cloud by itself (PointsView): the voxels are those
/// of clouds quantized one by one and collated. Points that are not finite, outside the range or outside the
/// grid are left out: their inverse is -1, and they are counted. Whether voxel 0 is at a fixed place or
/// depends on the cloud, how positions are rounded and what the features are is up to the options. The set's
/// tensor stride is 1; it has a spatial range only if a grid was given.
/// @throws invalid_argument  sizes, range or grid not positive; a voxel index beyond 2^30 (unless a grid
/// leaves it out); keys of more than 63 bits; a point of no cloud; shapes that do not fit together; more
/// batch entries than 131,072 and four for each point
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
  char const* const who = "sparse_quantize: ";
  return detail::quantize_points<Dim, Scalar>(detail::point_rows<Dim>(points, who), {{}, points.features},
                                              options, std::nullopt, who, exec);
}

}  // namespace v0
}  // namespace tessera
