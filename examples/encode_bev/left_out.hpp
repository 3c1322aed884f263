// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/voxelize.hpp>
#include <tessera/core/matrix.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace encode_bev {

/// What the grid and the caps of hard_voxelize() leave out.
struct LeftOut {
  std::int64_t outside = 0;           // points that are not in the grid, or not finite
  std::int64_t voxels = 0;            // beyond the first max_voxels that the cloud enters
  std::int64_t points_of_voxels = 0;  // in those
  std::int64_t beyond_a_voxel = 0;    // points after the first max_points of their voxel
};

/// By the rules of hard_voxelize(), over voxels without caps.
[[nodiscard]] inline LeftOut left_out(std::vector<float> const& points, int columns,
                                      tessera::VoxelizeOptions const& options,
                                      tessera::Execution<tessera::Host> const& exec)
{
  namespace ts = tessera;
  auto const rows = static_cast<std::int64_t>(points.size()) / columns;
  auto const all = ts::dynamic_voxelize<ts::Host>(ts::MatrixView<float const>{points.data(), rows, columns},
                                                  options, ts::VoxelFeatures::first, exec);
  LeftOut result;
  result.outside = all.num_dropped;
  std::vector<std::int32_t> used(static_cast<std::size_t>(all.num_voxels()), -1);  // -1: not entered yet
  std::int64_t entered = 0;
  for (std::int64_t i = 0; i < rows; ++i) {
    auto const voxel = all.inverse.data()[i];
    if (voxel < 0) { continue; }
    auto& points_used = used[static_cast<std::size_t>(voxel)];
    constexpr std::int32_t no_room = -2;
    if (points_used == -1) { points_used = entered++ < options.voxels() ? 0 : no_room; }
    if (points_used == no_room) {
      ++result.points_of_voxels;
    } else if (points_used >= options.points_per_voxel()) {
      ++result.beyond_a_voxel;
    } else {
      ++points_used;
    }
  }
  result.voxels = entered > options.voxels() ? entered - options.voxels() : 0;
  return result;
}

}  // namespace encode_bev
