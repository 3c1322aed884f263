// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/data.hpp"
#include "../support/device.hpp"
#include "../support/files.hpp"
#include "../support/golden.hpp"
#include "voxelize_cases.hpp"

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

using namespace tessera;
using namespace voxelize_cases;

TEST_CASE_TEMPLATE("voxelize: agrees with the rules, whichever cap binds", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  unsigned seed = 100;
  for (int const max_points : {1, 2, 5, 33}) {
    for (int const max_voxels : {1, 40, 100000}) {
      for (auto const order : {AxisOrder::xyz, AxisOrder::zyx}) {
        for (std::int64_t const columns : {3, 5}) {
          ++seed;
          CAPTURE(seed);
          auto const cloud = random_cloud(seed, 3000, 5, columns, true);
          auto const options = cube(0.7F, 4).points_per_voxel(max_points).voxels(max_voxels).order(order);
          expect_same(voxelize<Space>(cloud, options, 2), oracle(cloud, options, 2));
        }
      }
    }
  }
}

TEST_CASE_TEMPLATE("voxelize: many points in few voxels, few points in many, and keys of 64 bits", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  auto const crowded = random_cloud(1, 40000, 2, 4, false);
  auto const wide = cube(2, 2).points_per_voxel(17);
  expect_same(voxelize<Space>(crowded, wide), oracle(crowded, wide, 0));
  auto const one = VoxelizeOptions({9, 9, 9}, {-4, -4, -4}, {5, 5, 5}).points_per_voxel(40);
  expect_same(voxelize<Space>(crowded, one), oracle(crowded, one, 0));
  auto const sparse = random_cloud(2, 40000, 40, 4, false);
  auto const fine = cube(0.02F, 40);
  REQUIRE(std::int64_t{grid_shape(fine)[0]} * grid_shape(fine)[1] * grid_shape(fine)[2] > UINT32_MAX);
  expect_same(voxelize<Space>(sparse, fine), oracle(sparse, fine, 0));
}

TEST_CASE_TEMPLATE("voxelize: a worked example", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  float const nan = std::numeric_limits<float>::quiet_NaN();
  Cloud cloud;
  cloud.rows = {1.5F, 0, 0, 10, 0.5F, 0, 0, 20, 1.2F, 0, 0, 30, nan,  0, 0, 1,
                0.7F, 0, 0, 40, 3.5F, 0, 0, 1,  1.0F, 0, 0, 50, 2.0F, 0, 0, 60};
  auto const options =
      VoxelizeOptions({1, 1, 1}, {0, 0, 0}, {3, 2, 1}).points_per_voxel(2).voxels(2).order(AxisOrder::zyx);
  auto const found = voxelize<Space>(cloud, options);
  CHECK(found.coordinates == std::vector<Coordinate<3>>{{0, {0, 0, 1}}, {0, {0, 0, 0}}});
  CHECK(found.num_points == std::vector<std::int32_t>{2, 2});
  CHECK(found.mean == std::vector<float>{1.35F, 0, 0, 20, 0.6F, 0, 0, 30});
  CHECK(found.points == std::vector<float>{1.5F, 0, 0, 10, 1.2F, 0, 0, 30, 0.5F, 0, 0, 20, 0.7F, 0, 0, 40});
}

TEST_CASE_TEMPLATE("voxelize: no points, and none in the grid, give sets without voxels", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Cloud cloud;
  CHECK(voxelize<Space>(cloud, cube(1, 4)).coordinates.empty());
  cloud.rows = {9, 9, 9, 1, -9, 0, 0, 2};
  auto const found = voxelize<Space>(cloud, cube(1, 4));
  CHECK(found.coordinates.empty());
  CHECK(found.mean.empty());
  CHECK(found.points.empty());
}

TEST_CASE_TEMPLATE("voxelize: voxels whose number stays in the space are the same", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for (std::int64_t const size : {1, 5000}) {
    for (int const max_voxels : {30, 4000, 100000}) {
      auto const cloud = random_cloud(7, size, 5, 4, true);
      auto options = cube(0.5F, 4).points_per_voxel(3).voxels(max_voxels);
      options.capacity(FixedCapacity{});
      auto const points = upload_matrix(cloud.rows, cloud.columns, exec);
      auto const found = hard_voxelize<Space>(points.view(), options, exec, 1, {true, true});
      CHECK(found.coordinates->has_device_count());
      CHECK(found.coordinates->capacity() == std::min<std::int64_t>(size, max_voxels));
      auto const expected = oracle(cloud, options, 1);
      auto const count = found.num_voxels();
      REQUIRE(count == static_cast<std::int64_t>(expected.coordinates.size()));
      expect_same(
          {download(found.coordinates->data(), count, exec), download(found.num_points.data(), count, exec),
           download(found.mean.data(), count * cloud.columns, exec),
           download(found.points.data(), count * 3 * cloud.columns, exec)},
          expected);
    }
  }
}

TEST_CASE_TEMPLATE("voxelize: points and means are made only if they are asked for", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const cloud = random_cloud(8, 500, 4, 4, false);
  auto const points = upload_matrix(cloud.rows, cloud.columns, exec);
  auto const expected = oracle(cloud, cube(1, 4), 0);
  for (bool const mean : {false, true}) {
    auto const found = hard_voxelize<Space>(points.view(), cube(1, 4), exec, 0, {mean, false});
    CHECK(download(found.num_points, exec) == expected.num_points);
    CHECK(found.points.size() == 0);
    CHECK(found.mean.size() == (mean ? found.num_voxels() * 4 : 0));
  }
}

TEST_CASE_TEMPLATE("voxelize: dynamic voxels reduce all points, in lexicographic order", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const cloud = random_cloud(9, 4000, 5, 5, true);
  auto const points = upload_matrix(cloud.rows, cloud.columns, exec);
  for (auto const order : {AxisOrder::xyz, AxisOrder::zyx}) {
    auto const options = cube(1.1F, 4).order(order).shape({9, 9, 9});
    std::map<std::array<int, 3>, std::vector<std::int64_t>> lists;
    for (std::int64_t i = 0; i < cloud.size(); ++i) {
      std::array<int, 3> cell{};
      if (!cell_of(cloud.row(i), options, cell)) { continue; }
      if (order == AxisOrder::zyx) { std::swap(cell[0], cell[2]); }
      lists[cell].push_back(i);
    }
    for (auto const kind :
         {VoxelFeatures::first, VoxelFeatures::mean, VoxelFeatures::sum, VoxelFeatures::maximum}) {
      CAPTURE(static_cast<int>(kind));
      std::vector<Coordinate<3>> coordinates;
      std::vector<float> features;
      std::vector<std::int32_t> inverse(static_cast<std::size_t>(cloud.size()), -1);
      for (auto const& [cell, list] : lists) {
        for (auto const i : list) {
          inverse[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(coordinates.size());
        }
        coordinates.push_back({0, cell});
        for (std::int64_t c = 0; c < cloud.columns; ++c) {
          float value = cloud.row(list.front())[c];
          for (std::size_t k = 1; k < list.size() && kind != VoxelFeatures::first; ++k) {
            float const next = cloud.row(list[k])[c];
            value = kind == VoxelFeatures::maximum ? std::max(value, next) : value + next;
          }
          features.push_back(kind == VoxelFeatures::mean ? value / static_cast<float>(list.size()) : value);
        }
      }
      auto const found = dynamic_voxelize<Space>(points.view(), options, kind, exec);
      CHECK(download(found.coordinates->data(), found.num_voxels(), exec) == coordinates);
      CHECK(found.coordinates->spatial_range()->extent == IntArray<3>(9));
      CHECK(same_bits(download(found.features.data(), found.features.size(), exec), features));
      CHECK(download(found.inverse, exec) == inverse);
    }
  }
}

TEST_CASE("voxelize: what is invalid is refused")
{
  Execution<Host> const exec{};
  std::vector<float> const values(8);
  MatrixView<float const> const points{values.data(), 2, 4};
  auto const error = [&](VoxelizeOptions const& options) {
    return test::error_of([&] { static_cast<void>(hard_voxelize<Host>(points, options, exec)); });
  };
  CHECK(error(cube(1, 4)).empty());
  CHECK(error(VoxelizeOptions({1, 0, 1}, {0, 0, 0}, {1, 1, 1})) ==
        "voxelize: voxel size 0 on axis 1; it must be positive and finite");
  CHECK(error(VoxelizeOptions({1, 1, 1}, {0, 0, 2}, {1, 1, 2})) ==
        "voxelize: the range 2 to 2 on axis 2 has 0 voxels of 1; there must be 1 to 2^30");
  CHECK(
      test::has(error(VoxelizeOptions({1, 1, 1}, {0, 0, std::numeric_limits<float>::quiet_NaN()}, {1, 1, 2})),
                "on axis 2"));
  CHECK(error(cube(1, 4).points_per_voxel(0)) ==
        "hard_voxelize: 0 points per voxel and 160000 voxels at most; both must be at least 1 "
        "(dynamic_voxelize has no such caps)");
  CHECK(test::has(error(cube(1, 4).voxels(-1)), "-1 voxels at most"));
  CHECK(test::has(error(cube(1, 4).points_per_voxel(1 << 20)), "more than 2^20 numbers"));
  // Cells are counted in 64 bits; a grid that they cannot count must not be voxelized at all.
  CHECK(error(VoxelizeOptions({1e-6F, 1e-6F, 1e-6F}, {-500, -500, -500}, {500, 500, 500})) ==
        "hard_voxelize: a grid of [1000000000, 1000000000, 1000000000] has more than 2^63 voxels");
  CHECK(error(VoxelizeOptions({1e-4F, 1e-4F, 1e-4F}, {0, 0, 0}, {200, 100, 100})).empty());
  MatrixView<float const> const flat{values.data(), 4, 2};
  CHECK(test::error_of([&] { static_cast<void>(hard_voxelize<Host>(flat, cube(1, 4), exec)); }) ==
        "hard_voxelize: points have 2 columns; the first 3 are x, y, z");
  CHECK(test::error_of([&] {
          static_cast<void>(dynamic_voxelize<Host>(flat, cube(1, 4), VoxelFeatures::mean, exec));
        }) == "dynamic_voxelize: points have 2 columns; the first 3 are x, y, z");
  CHECK(test::has(test::error_of([&] { static_cast<void>(voxel_options("pillars")); }), "second_kitti"));
}

TEST_CASE("voxelize: named options have the published grids")
{
  CHECK(grid_shape(voxel_options("second_kitti")) == IntArray<3>{40, 1600, 1408});
  CHECK(grid_shape(voxel_options("second_waymo")) == IntArray<3>{60, 1280, 1920});
  CHECK(grid_shape(voxel_options("centerpoint_0_1")) == IntArray<3>{40, 1024, 1024});
  CHECK(grid_shape(voxel_options("centerpoint_0_075")) == IntArray<3>{40, 1440, 1440});
  CHECK(grid_shape(voxel_options("bevfusion")) == IntArray<3>{1440, 1440, 40});
  CHECK(voxel_options("second_kitti", VoxelPhase::training).voxels() == 16000);
  CHECK(voxel_options("second_kitti").voxels() == 40000);
  for (auto const name : voxel_option_names()) {
    auto const options = voxel_options(name);
    int const z = options.order() == AxisOrder::zyx ? 0 : 2;
    auto shape = grid_shape(options);
    ++shape[z];
    CHECK(options.shape() == shape);
  }
}

TEST_CASE_TEMPLATE("voxelize: spconv's and mmcv's voxels of real scans, in their order", Space,
                   TESSERA_TEST_SPACES)
{
  auto const file = test::data_file("golden/spconv/voxelize.safetensors");
  if (!file || test::skipped<Space>()) { return; }
  auto const golden = Safetensors{*file};
  for (auto const& entry : golden.metadata()) {
    auto const& name = entry.first;
    CAPTURE(name);
    auto const config = test::golden_config(golden, name);
    auto const numbers = [&](char const* key) {
      std::vector<float> result;
      for (auto const& value : *config.find(key)->template get<detail::Json::Array>()) {
        auto const* const whole = value.template get<std::int64_t>();
        result.push_back(whole != nullptr ? static_cast<float>(*whole)
                                          : static_cast<float>(*value.template get<double>()));
      }
      return result;
    };
    auto const size = numbers("voxel_size");
    auto const range = numbers("point_cloud_range");
    VoxelizeOptions options({size[0], size[1], size[2]}, {range[0], range[1], range[2]},
                            {range[3], range[4], range[5]});
    options.points_per_voxel(test::ints(*config.find("max_points"))[0])
        .voxels(test::ints(*config.find("max_voxels"))[0]);
    auto const reference = golden.to_float(name + ".mean");
    auto const columns = golden.shape(name + ".mean")[1];
    auto const points = test::data_file("data/" + *config.find("points")->template get<std::string>());
    if (!points) { return; }
    auto const found = voxelize<Space>(cloud_of(read_point_bin(*points, static_cast<int>(columns))), options);
    std::vector<float> coordinates;
    for (auto const& row : found.coordinates) {
      for (int const at : row.position) { coordinates.push_back(static_cast<float>(at)); }
    }
    CHECK(coordinates == golden.to_float(name + ".coords_zyx"));
    CHECK(std::vector<float>(found.num_points.begin(), found.num_points.end()) ==
          golden.to_float(name + ".num_points"));
    REQUIRE(found.mean.size() == reference.size());
    CHECK(test::largest_difference(found.mean, reference) <= 1e-5);
  }
}

#ifdef __CUDACC__
TEST_CASE("voxelize: the device's voxels of whole scans are the host's, bit for bit, with both caps binding")
{
  if (test::skipped<Device>()) { return; }
  LidarOptions dense;
  dense.beams = 128;
  auto const cloud = cloud_of(simulate_lidar(dense));
  CAPTURE(cloud.size());
  for (auto const name : voxel_option_names()) {
    CAPTURE(std::string{name});
    for (int const max_points : {2, 10}) {
      auto const options = voxel_options(name).points_per_voxel(max_points);
      expect_same(voxelize<Device>(cloud, options), voxelize<Host>(cloud, options));
      auto const capped = voxel_options(name).points_per_voxel(max_points).voxels(3000);
      expect_same(voxelize<Device>(cloud, capped), voxelize<Host>(cloud, capped));
    }
  }
}
#endif
