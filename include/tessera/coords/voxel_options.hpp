// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/voxelize.hpp>

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

namespace tessera {
inline namespace v0 {

/// What detectors are trained and run with: they differ in how many voxels there may be.
enum class VoxelPhase : std::uint8_t { training, inference };

namespace detail {

struct NamedVoxelOptions {
  char const* name;
  VoxelizeOptions::Position size;
  VoxelizeOptions::Position lower;
  VoxelizeOptions::Position upper;
  int max_points;
  int max_voxels;
  int max_voxels_in_training;
  AxisOrder order;
  std::array<int, 3> shape;
};

inline constexpr std::array<NamedVoxelOptions, 6> named_voxel_options{{
    {"second_kitti",
     {0.05F, 0.05F, 0.1F},
     {0, -40, -3},
     {70.4F, 40, 1},
     5,
     40000,
     16000,
     AxisOrder::zyx,
     {41, 1600, 1408}},
    {"second_waymo",
     {0.08F, 0.08F, 0.1F},
     {-76.8F, -51.2F, -2},
     {76.8F, 51.2F, 4},
     20,
     90000,
     80000,
     AxisOrder::zyx,
     {61, 1280, 1920}},
    {"centerpoint_0_1",
     {0.1F, 0.1F, 0.2F},
     {-51.2F, -51.2F, -5},
     {51.2F, 51.2F, 3},
     10,
     120000,
     90000,
     AxisOrder::zyx,
     {41, 1024, 1024}},
    {"centerpoint_0_075",
     {0.075F, 0.075F, 0.2F},
     {-54, -54, -5},
     {54, 54, 3},
     10,
     120000,
     90000,
     AxisOrder::zyx,
     {41, 1440, 1440}},
    {"bevfusion",
     {0.075F, 0.075F, 0.2F},
     {-54, -54, -5},
     {54, 54, 3},
     10,
     160000,
     120000,
     AxisOrder::xyz,
     {1440, 1440, 41}},
    {"nvidia_0_075",
     {0.075F, 0.075F, 0.2F},
     {-54, -54, -5},
     {54, 54, 3},
     10,
     160000,
     160000,
     AxisOrder::zyx,
     {41, 1440, 1440}},
}};

}  // namespace detail

/// The names that voxel_options() knows.
[[nodiscard]] inline std::vector<std::string_view> voxel_option_names()
{
  std::vector<std::string_view> names;
  names.reserve(detail::named_voxel_options.size());
  for (auto const& entry : detail::named_voxel_options) { names.emplace_back(entry.name); }
  return names;
}

/// The voxelization of a published detector.
///
/// | name                | voxels (x, y, z) in m | range in m                         | points | voxels  |
/// |---------------------|-----------------------|------------------------------------|--------|---------|
/// | `second_kitti`      | 0.05, 0.05, 0.1       | 0, -40, -3 to 70.4, 40, 1          | 5      | 40,000  |
/// | `second_waymo`      | 0.08, 0.08, 0.1       | -76.8, -51.2, -2 to 76.8, 51.2, 4  | 20     | 90,000  |
/// | `centerpoint_0_1`   | 0.1, 0.1, 0.2         | -51.2, -51.2, -5 to 51.2, 51.2, 3  | 10     | 120,000 |
/// | `centerpoint_0_075` | 0.075, 0.075, 0.2     | -54, -54, -5 to 54, 54, 3          | 10     | 120,000 |
/// | `bevfusion`         | 0.075, 0.075, 0.2     | -54, -54, -5 to 54, 54, 3, (x,y,z) | 10     | 160,000 |
/// | `nvidia_0_075`      | 0.075, 0.075, 0.2     | -54, -54, -5 to 54, 54, 3          | 10     | 160,000 |
///
/// All have 41 (Waymo: 61) cells in z where the grid has one fewer, as their encoders do.
/// @throws invalid_argument  no such name
/// Source: the published configurations of mmdetection3d, BEVFusion and NVIDIA's samples.
[[nodiscard]] inline VoxelizeOptions voxel_options(std::string_view name,
                                                   VoxelPhase phase = VoxelPhase::inference)
{
  auto const& table = detail::named_voxel_options;
  auto const entry =
      std::find_if(table.begin(), table.end(), [&](auto const& candidate) { return candidate.name == name; });
  detail::expects(entry != table.end(), "voxel_options: '", name, "' is none of ",
                  detail::list(voxel_option_names()));
  VoxelizeOptions options{entry->size, entry->lower, entry->upper};
  bool const training = phase == VoxelPhase::training;
  options.points_per_voxel(entry->max_points).order(entry->order).shape(entry->shape);
  options.voxels(training ? entry->max_voxels_in_training : entry->max_voxels);
  return options;
}

/// The voxels of MinkUNet on SemanticKITTI as mmdetection3d makes them: 0.05 m, nearest, from the lowest
/// voxel, with the features of one point; for sparse_quantize(), which has no caps.
[[nodiscard]] inline QuantizeOptions<3> minkunet_voxel_options()
{
  return QuantizeOptions<3>(0.05F)
      .rounding(Rounding::nearest_even)
      .origin(GridOrigin::lowest_voxel)
      .range({-100, -100, -20}, {100, 100, 20});
}

}  // namespace v0
}  // namespace tessera
