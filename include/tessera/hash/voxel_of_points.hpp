// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/voxelize.hpp>
#include <tessera/hash/coordinate_table.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// inverse[i] = row of the voxel that point i is in, or -1.
template <class Key>
struct FindVoxelOfPoint {
  StridedView<float const> positions;  // [num_points, 3]
  HardVoxelRule rule;
  CoordinateTableRef<3, Key> table;
  std::int32_t* inverse;  // [num_points]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto const cell = rule.cell(positions, i);
    inverse[i] = cell < 0 ? -1 : table.find(rule.coordinate(cell, 0));
  }
};

}  // namespace detail

/// The row of each point's voxel among those that hard_voxelize() made of one cloud with the same options.
///
/// | name    | shape                  | memory | holds                                                     |
/// |---------|------------------------|--------|-----------------------------------------------------------|
/// | points  | [num_points, channels] | Space  | one cloud, as hard_voxelize() had it                      |
/// | voxels  |                        | Space  | the set it made                                           |
/// | returns | [num_points]           | Space  | -1 outside the grid and for voxels beyond the cap         |
///
/// A point past the first `max_points` of its voxel has that voxel's row too.
/// @throws invalid_argument  as hard_voxelize()
/// Cost: one look-up per point, and the set's table where it is not there yet.
/// Stream: enqueues on `exec`, does not wait.
/// Determinism: same input, same result.
template <class Space>
[[nodiscard]] Buffer<std::int32_t, Space> voxel_of_points(StridedView<float const> points,
                                                          VoxelizeOptions const& options,
                                                          CoordinateSet<3, Space>& voxels,
                                                          Execution<Space> const& exec, int batch_entry = 0)
{
  char const* const who = "voxel_of_points: ";
  auto const rows = detail::point_rows<3>(detail::points_of_rows(points, batch_entry, who), who);
  auto const rule = detail::hard_voxel_rule(rows, points.columns, options, who);
  Buffer<std::int32_t, Space> inverse{points.rows, exec};
  coordinate_table(voxels, exec)->visit([&](auto const& table) {
    using Key = typename std::decay_t<decltype(table.packing)>::KeyType;
    for_each(points.rows, detail::FindVoxelOfPoint<Key>{rows.positions, rule, table, inverse.data()}, exec);
  });
  return inverse;
}

}  // namespace v0
}  // namespace tessera
