// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"

#ifdef __CUDACC__
#include <tessera/coords/detail/hard_voxels_device.cuh>
#endif
#include <tessera/hash/voxel_of_points.hpp>

#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <tuple>
#include <vector>

using namespace tessera;

TEST_CASE_TEMPLATE("voxel_of_points: each point's voxel among those of hard_voxelize(), by the definition",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for (unsigned seed = 1; seed <= 4; ++seed) {
    for (auto const order : {AxisOrder::zyx, AxisOrder::xyz}) {
      for (int const most : {60, 100000}) {
        CAPTURE(seed);
        CAPTURE(static_cast<int>(order));
        CAPTURE(most);
        std::mt19937 random{seed};
        std::uniform_real_distribution<float> uniform{-1, 7};  // the grid is [0, 6)
        std::vector<float> points;
        std::size_t const count = seed == 4 ? 0 : 900;
        for (std::size_t i = 0; i < count; ++i) {
          points.insert(points.end(), {uniform(random), uniform(random), uniform(random), 1});
          if (random() % 20 == 0) { points[4 * i + 1] = std::numeric_limits<float>::quiet_NaN(); }
        }
        auto const options = VoxelizeOptions({0.5F, 1, 1.5F}, {0, 0, 0}, {6, 6, 6})
                                 .order(order)
                                 .points_per_voxel(2)  // points past them have a voxel too
                                 .voxels(most);
        // voxels are numbered as the cloud enters them; those after the cap are none
        std::map<std::tuple<int, int, int>, std::int32_t> numbers;
        std::vector<std::int32_t> expected;
        for (std::size_t i = 0; i < count; ++i) {
          int at[3] = {};
          bool inside = true;
          float const sizes[3] = {0.5F, 1, 1.5F};
          for (std::size_t axis = 0; axis < 3; ++axis) {
            float const cell = std::floor(points[4 * i + axis] / sizes[axis]);
            inside = inside && cell >= 0 && cell < std::round(6 / sizes[axis]);
            at[axis] = inside ? static_cast<int>(cell) : 0;
          }
          std::tuple<int, int, int> const key{at[0], at[1], at[2]};
          if (inside && numbers.count(key) == 0 && static_cast<int>(numbers.size()) < most) {
            numbers.emplace(key, static_cast<std::int32_t>(numbers.size()));
          }
          expected.push_back(inside && numbers.count(key) > 0 ? numbers.at(key) : -1);
        }
        auto const matrix =
            points.empty() ? Matrix<float, Space>{0, 4, exec} : upload_matrix(points, 4, exec);
        auto const voxels = hard_voxelize<Space>(matrix.view(), options, exec);
        CHECK(download(voxel_of_points<Space>(matrix.view(), options, *voxels.coordinates, exec), exec) ==
              expected);
      }
    }
  }
}
