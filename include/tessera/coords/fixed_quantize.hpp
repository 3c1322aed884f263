// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/detail/group_by_cloud.hpp>
#include <tessera/coords/detail/sort_points.hpp>
#include <tessera/coords/quantize.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>

namespace tessera {
inline namespace v0 {

/// Room for the voxels of a cloud of which the host learns nothing.
template <int Dim>
struct VoxelRoom {
  std::int64_t max_voxels = 0;    ///< voxels, at most
  CoordinateBox<Dim> box;         ///< where voxels may be; not read if the options have a grid
  CoordinateSetOptions<Dim> set;  ///< of the set that is made; its range is the grid if the options have one
};

/// Voxels made of points, in fixed room: how many there are stays in the space. A tensor of them:
/// `SparseTensor<3, float, Space> x{voxels.coordinates, std::move(voxels.features)};`
template <int Dim, class Scalar, class Space>
struct FixedQuantizedPoints {
  CoordinateSetPointer<Dim, Space> coordinates;  ///< lexicographic; row_count() is in the space
  Matrix<Scalar, Space> features;                ///< [max_voxels, channels], zero after the last voxel
  Buffer<std::int32_t, Space> first_point;       ///< [max_voxels] lowest index of the voxel's points
  Buffer<std::int32_t, Space> inverse;           ///< [num_points] row of the point's voxel, -1 if left out
  Buffer<std::int32_t, Space> num_dropped;       ///< [1] points left out
};

/// A box that holds every voxel of one cloud, or of `num_batches`, where the options have a range or a grid
/// that says so; none otherwise.
/// @throws invalid_argument  as sparse_quantize() of the options
template <int Dim>
[[nodiscard]] std::optional<CoordinateBox<Dim>> voxel_box(QuantizeOptions<Dim> const& options,
                                                          int num_batches = 1)
{
  auto const rule = detail::voxel_rule(options);
  if (options.grid()) { return box_of(SpatialRange<Dim>{num_batches, *options.grid()}); }
  if (!options.range_lower() || !options.range_upper()) { return std::nullopt; }
  CoordinateBox<Dim> box;
  box.batches = num_batches;
  for (int i = 0; i < Dim; ++i) {
    bool const is_fixed = options.origin() == GridOrigin::fixed;
    double const zero = is_fixed ? double{rule.origin[i]} : double{rule.lower[i]};
    double const first = (double{rule.lower[i]} - zero) / rule.size[i];
    double const last = (double{rule.upper[i]} - zero) / rule.size[i];
    // single precision rounds a quotient by 2^-22 of the largest number in it, or less
    double const largest = std::max({std::fabs(double{rule.lower[i]}), std::fabs(double{rule.upper[i]}),
                                     std::fabs(double{rule.origin[i]})});
    double const slack = 2 + std::ceil(largest / rule.size[i] * 0x1p-21);
    double const lowest = is_fixed ? std::floor(first) - slack : 0;
    double const highest = std::ceil(last) + slack;
    if (!(lowest >= -(1 << 30) && highest <= 1 << 30)) { return std::nullopt; }
    box.lower[i] = static_cast<int>(lowest);
    box.upper[i] = static_cast<int>(highest);
  }
  return box;
}

/// sparse_quantize() in fixed room, without any wait: the same voxels in the same order with the same bits.
///
/// | name             | shape                   | memory | holds                                        |
/// |------------------|-------------------------|--------|----------------------------------------------|
/// | points.positions | [num_points, Dim] float | Space  | any values                                   |
/// | points.features  | [num_points, channels]  | Space  | any values; NaN flows through                |
/// | returns          | [max_voxels, ...]       | Space  | unique voxels, lexicographic (batch, x, ...) |
///
/// Points that are not finite, outside the range or outside the grid are left out, as there. What only the
/// space can see is reported where the host next waits (CoordinateSet::check()): more voxels than there is
/// room for, voxels outside the box, points of no cloud. Such voxels are left out with their points.
/// @throws invalid_argument  as sparse_quantize(); room for no voxel, or an empty box
///
/// Cost: one sort of the points by voxel, the shorter the smaller the box is (voxel_box()), some passes.
/// Stream: enqueues on `exec`, does not wait; a CUDA graph can be made of it.
/// Determinism: same input, same bits, on Host and Device; no floating-point atomics.
template <int Dim, class Scalar, class Space>
[[nodiscard]] FixedQuantizedPoints<Dim, Scalar, Space> sparse_quantize(PointsView<Scalar> const& points,
                                                                       QuantizeOptions<Dim> const& options,
                                                                       VoxelRoom<Dim> const& room,
                                                                       Execution<Space> const& exec)
{
  auto const rule = detail::voxel_rule(options);
  auto const rows = detail::point_rows<Dim>(points, "sparse_quantize: ");
  auto set_options = room.set;
  if (!set_options.only_entry) { set_options.only_entry = detail::only_entry(rows); }
  auto box = room.box;
  if (options.grid()) {
    set_options.spatial_range = SpatialRange<Dim>{rows.num_batches, *options.grid()};
    box = box_of(*set_options.spatial_range);
  }
  detail::expects(room.max_voxels >= 1, "sparse_quantize: room for ", room.max_voxels, " voxels");
  detail::expects(!box.empty(), "sparse_quantize: the room has no box that voxels may be in, ",
                  detail::list(box.lower), " to ", detail::list(box.upper), " in ", box.batches,
                  " batch entries");

  auto const n = rows.count;
  detail::JoinedColumns<Scalar> const features{{}, points.features};
  Buffer<detail::PointFaults, Space> faults{rows.offsets != nullptr ? 1 : 0, exec};
  if (rows.offsets != nullptr) {
    for_each(1, detail::StoreValue<detail::PointFaults>{faults.data(), {}}, exec);
    for_each(rows.num_batches + 1,
             detail::CheckOffsets{rows.offsets, rows.num_batches, rows.count, faults.data()}, exec);
  }
  Buffer<std::int32_t, Space> lowest;
  if (options.origin() != GridOrigin::fixed) {
    lowest = Buffer<std::int32_t, Space>{std::int64_t{rows.num_batches} * Dim, exec};
    auto const workers = std::min(n, detail::bounds_workers);
    for_each(lowest.size(), detail::FillValue<std::int32_t>{lowest.data(), INT_MAX}, exec);
    for_each(workers, detail::FindLowest<Dim>{rows, rule, workers, lowest.data()}, exec);
  }
  Buffer<std::uint32_t, Space> errors{1, exec};
  fill_bytes(errors, 0, exec);

  FixedQuantizedPoints<Dim, Scalar, Space> result;
  Buffer<Coordinate<Dim>, Space> voxels{room.max_voxels, exec};
  Buffer<std::int32_t, Space> count{1, exec};
  result.features = Matrix<Scalar, Space>{room.max_voxels, features.columns(), exec};
  result.first_point = Buffer<std::int32_t, Space>{room.max_voxels, exec};
  result.inverse = Buffer<std::int32_t, Space>{n, exec};
  result.num_dropped = Buffer<std::int32_t, Space>{1, exec};
  Buffer<std::int32_t, Space> order{n, exec};
  Buffer<std::int32_t, Space> place{n + 1, exec};
  Buffer<std::int32_t, Space> begin{room.max_voxels + 1, exec};
  detail::with_packing(box, [&](auto const& packing) {
    using Key = typename std::decay_t<decltype(packing)>::KeyType;
    int const bits = detail::key_bits(box);
    auto const none = static_cast<Key>(Key{1} << bits);
    Buffer<Key, Space> keys{n, exec};
    detail::Sort<Space>::run(detail::SortByVoxel<Dim, Key>{rows, rule, lowest.data(), packing, none,
                                                           errors.data(), keys.data(), order.data()},
                             n, bits + 1, exec);
    for_each(n + 1, detail::MarkVoxels<Key>{keys.data(), none, n, place.data()}, exec);
    detail::Scan<Space>::exclusive(place.data(), place.data(), n + 1, exec);
    for_each(
        n + 1,
        detail::WriteVoxels<Dim, Key>{packing, keys.data(), none, order.data(), place.data(), n,
                                      room.max_voxels, voxels.data(), begin.data(), result.first_point.data(),
                                      result.inverse.data(), count.data(), result.num_dropped.data()},
        exec);
  });
  for_each(result.features.size(),
           detail::ReduceFeaturesInUse<Scalar>{
               {features, order.data(), begin.data(), options.features(), result.features.data()},
               {room.max_voxels, count.data()}},
           exec);
  result.coordinates =
      CoordinateSet<Dim, Space>::make({std::move(voxels), std::move(count)}, box, set_options, exec);
  for_each(1, detail::PassOnErrors{errors.data(), detail::access(*result.coordinates).errors()}, exec);
  if (rows.offsets != nullptr) {
    for_each(1, detail::NotePointFaults{faults.data(), detail::access(*result.coordinates).errors()}, exec);
  }
  return result;
}

}  // namespace v0
}  // namespace tessera
