// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/voxelize.hpp>

#include <string_view>
#include <vector>

namespace tessera {
inline namespace v0 {

/// What detectors are trained and run with: they differ in how many voxels there may be.
enum class VoxelPhase : std::uint8_t { training, inference };

namespace detail {

struct NamedVoxelOptions {
  char const* name;
  VoxelizeOptions options;
  int max_voxels_in_training;
};

[[nodiscard]] inline std::vector<NamedVoxelOptions> const& named_voxel_options()
{
  using Options = VoxelizeOptions;
  static std::vector<NamedVoxelOptions> const table{
      {"second_kitti",
       Options({0.05F, 0.05F, 0.1F}, {0, -40, -3}, {70.4F, 40, 1})
           .points_per_voxel(5)
           .voxels(40000)
           .shape({41, 1600, 1408}),
       16000},
      {"second_waymo",
       Options({0.08F, 0.08F, 0.1F}, {-76.8F, -51.2F, -2}, {76.8F, 51.2F, 4})
           .points_per_voxel(20)
           .voxels(90000)
           .shape({61, 1280, 1920}),
       80000},
      {"centerpoint_0_1",
       Options({0.1F, 0.1F, 0.2F}, {-51.2F, -51.2F, -5}, {51.2F, 51.2F, 3})
           .voxels(120000)
           .shape({41, 1024, 1024}),
       90000},
      {"centerpoint_0_075",
       Options({0.075F, 0.075F, 0.2F}, {-54, -54, -5}, {54, 54, 3}).voxels(120000).shape({41, 1440, 1440}),
       90000},
      {"bevfusion",
       Options({0.075F, 0.075F, 0.2F}, {-54, -54, -5}, {54, 54, 3})
           .voxels(160000)
           .order(AxisOrder::xyz)
           .shape({1440, 1440, 41}),
       120000},
      {"nvidia_0_075",
       Options({0.075F, 0.075F, 0.2F}, {-54, -54, -5}, {54, 54, 3}).voxels(160000).shape({41, 1440, 1440}),
       160000},
  };
  return table;
}

}  // namespace detail

/// The names that voxel_options() knows.
[[nodiscard]] inline std::vector<std::string_view> voxel_option_names()
{
  std::vector<std::string_view> names;
  for (auto const& entry : detail::named_voxel_options()) { names.emplace_back(entry.name); }
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
  for (auto const& entry : detail::named_voxel_options()) {
    if (name != entry.name) { continue; }
    auto options = entry.options;
    if (phase == VoxelPhase::training) { options.voxels(entry.max_voxels_in_training); }
    return options;
  }
  detail::expects(false, "voxel_options: '", name, "' is none of ", detail::list(voxel_option_names()));
  return detail::named_voxel_options().front().options;
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
