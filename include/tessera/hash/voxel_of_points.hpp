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
  MatrixView<float const> points;
  HardVoxelRule rule;
  CoordinateTableRef<3, Key> table;
  std::int32_t* inverse;  // [num_points]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto const cell = rule.cell(points.data + i * points.columns);
    inverse[i] = cell < 0 ? -1 : table.find(rule.coordinate(cell));
  }
};

}  // namespace detail

/// The row of each point's voxel among those that hard_voxelize() made of the cloud with the same options.
///
/// | name    | shape                  | memory | holds |
/// |---------|------------------------|--------|--------------------------------------------------------------|
/// | points  | [num_points, channels] | Space  | as hard_voxelize() had them | | voxels  | [num_voxels, 4] |
/// Space  | the set it made                                              | | returns | [num_points] | Space
/// | -1 for points outside the grid and of voxels beyond the cap  |
///
/// A point past the first `max_points` of its voxel has that voxel's row too.
/// @throws invalid_argument  as hard_voxelize()
/// Cost: one look-up a point, and the set's table where it is not there yet. Stream: enqueues on `exec`, does
/// not wait. Determinism: same input, same result.
template <class Space>
[[nodiscard]] Buffer<std::int32_t, Space> voxel_of_points(MatrixView<float const> points,
                                                          VoxelizeOptions const& options,
                                                          CoordinateSet<3, Space>& voxels,
                                                          Execution<Space> const& exec, int batch_entry = 0)
{
  auto const rule = detail::hard_voxel_rule(points, options, batch_entry);
  Buffer<std::int32_t, Space> inverse{points.rows, exec};
  coordinate_table(voxels, exec)->visit([&](auto const& table) {
    using Key = typename std::decay_t<decltype(table.packing)>::KeyType;
    for_each(points.rows, detail::FindVoxelOfPoint<Key>{points, rule, table, inverse.data()}, exec);
  });
  return inverse;
}

}  // namespace v0
}  // namespace tessera
