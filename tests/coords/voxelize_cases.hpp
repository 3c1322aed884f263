// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/data.hpp"
#include "../support/device.hpp"
#include "../support/files.hpp"
#include "../support/golden.hpp"

#include <tessera/coords/voxel_options.hpp>
#include <tessera/coords/voxelize.hpp>
#include <tessera/data/lidar_simulator.hpp>
#include <tessera/io/point_bin.hpp>

#ifdef __CUDACC__
#include <tessera/coords/detail/hard_voxels_device.cuh>
#endif

#include <cstring>
#include <limits>
#include <map>
#include <random>

namespace voxelize_cases {

using namespace tessera;

/// Points as a detector gets them: x, y, z, then features.
struct Cloud {
  std::vector<float> rows;
  std::int64_t columns = 4;

  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(rows.size()) / columns; }
  [[nodiscard]] float const* row(std::int64_t i) const { return rows.data() + i * columns; }
};

/// Voxels on the host.
struct Voxels {
  std::vector<Coordinate<3>> coordinates;
  std::vector<std::int32_t> num_points;
  std::vector<float> mean;
  std::vector<float> points;
};

inline Cloud random_cloud(unsigned seed, std::int64_t points, float extent, std::int64_t columns,
                          bool odd_values)
{
  std::mt19937 random{seed};
  Cloud cloud;
  cloud.columns = columns;
  for (std::int64_t i = 0; i < points * columns; ++i) {
    cloud.rows.push_back((static_cast<float>(random() % 100003) / 50001.5F - 1.0F) * extent);
    if (odd_values && random() % 29 == 0) {
      float const odd[] = {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                           -std::numeric_limits<float>::infinity(), 1e30F, -1e30F};
      if (i % columns < 3) { cloud.rows.back() = odd[random() % 5]; }
    }
  }
  return cloud;
}

inline Cloud cloud_of(PointCloud const& scan)
{
  Cloud cloud;
  cloud.columns = 3 + scan.channels;
  for (std::int64_t i = 0; i < scan.size(); ++i) {
    for (int k = 0; k < 3; ++k) { cloud.rows.push_back(scan.positions[static_cast<std::size_t>(3 * i + k)]); }
    for (int k = 0; k < scan.channels; ++k) {
      cloud.rows.push_back(scan.features[static_cast<std::size_t>(scan.channels * i + k)]);
    }
  }
  return cloud;
}

/// The cell of a point, from the definition; nothing if it has none.
inline bool cell_of(float const* p, VoxelizeOptions const& options, std::array<int, 3>& cell)
{
  for (std::size_t axis = 0; axis < 3; ++axis) {
    auto const extent = options.range_upper[axis] - options.range_lower[axis];
    auto const cells = std::lround(extent / options.voxel_size[axis]);
    float const at = std::floor((p[axis] - options.range_lower[axis]) / options.voxel_size[axis]);
    if (!(at >= 0 && at < static_cast<float>(cells))) { return false; }
    cell[axis] = static_cast<int>(at);
  }
  return true;
}

/// The rules, point after point.
inline Voxels oracle(Cloud const& cloud, VoxelizeOptions const& options, int batch_entry)
{
  std::map<std::array<int, 3>, std::size_t> number_of;
  std::vector<std::vector<std::int64_t>> lists;
  Voxels result;
  for (std::int64_t i = 0; i < cloud.size(); ++i) {
    std::array<int, 3> cell{};
    if (!cell_of(cloud.row(i), options, cell)) { continue; }
    auto found = number_of.find(cell);
    if (found == number_of.end()) {
      if (static_cast<int>(lists.size()) == options.voxels()) { continue; }
      found = number_of.emplace(cell, lists.size()).first;
      lists.emplace_back();
      if (options.order() == AxisOrder::zyx) { std::swap(cell[0], cell[2]); }
      result.coordinates.push_back({batch_entry, cell});
    }
    auto& list = lists[found->second];
    if (static_cast<int>(list.size()) < options.points_per_voxel()) { list.push_back(i); }
  }
  for (auto const& list : lists) {
    result.num_points.push_back(static_cast<std::int32_t>(list.size()));
    for (std::int64_t c = 0; c < cloud.columns; ++c) {
      float sum = 0;
      for (auto const i : list) { sum += cloud.row(i)[c]; }
      result.mean.push_back(sum / static_cast<float>(list.size()));
    }
    for (std::size_t k = 0; k < static_cast<std::size_t>(options.points_per_voxel()); ++k) {
      for (std::int64_t c = 0; c < cloud.columns; ++c) {
        result.points.push_back(k < list.size() ? cloud.row(list[k])[c] : 0.0F);
      }
    }
  }
  return result;
}

template <class Space>
Voxels voxelize(Cloud const& cloud, VoxelizeOptions const& options, int batch_entry = 0)
{
  Execution<Space> const exec{};
  auto const points = upload_matrix(cloud.rows, cloud.columns, exec);
  auto const found = hard_voxelize<Space>(points.view(), options, exec, batch_entry, {true, true});
  found.coordinates->check(exec);
  REQUIRE(found.coordinates->num_rows() == found.num_voxels());
  REQUIRE(found.coordinates->spatial_range());
  CHECK(found.coordinates->spatial_range()->batches == batch_entry + 1);
  CHECK(found.coordinates->spatial_range()->extent == options.shape().value_or(grid_shape(options)));
  return {download(found.coordinates->data(), found.num_voxels(), exec), download(found.num_points, exec),
          download(found.mean.data(), found.mean.size(), exec),
          download(found.points.data(), found.points.size(), exec)};
}

inline bool same_bits(std::vector<float> const& a, std::vector<float> const& b)
{
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), 4 * a.size()) == 0);
}

inline void expect_same(Voxels const& found, Voxels const& expected)
{
  CHECK(found.coordinates == expected.coordinates);
  CHECK(found.num_points == expected.num_points);
  CHECK(same_bits(found.mean, expected.mean));
  CHECK(same_bits(found.points, expected.points));
}

inline VoxelizeOptions cube(float size, float extent)
{
  return VoxelizeOptions({size, 1.5F * size, 2 * size}, {-extent, -extent, -extent},
                         {extent, extent, extent});
}

}  // namespace voxelize_cases
