// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/data.hpp"
#include "../support/device.hpp"
#include "../support/files.hpp"
#include "quantize_cases.hpp"

#include <tessera/coords/quantize.hpp>
#include <tessera/coords/vote_labels.hpp>
#include <tessera/io/point_bin.hpp>
#include <tessera/io/safetensors.hpp>

#include <algorithm>
#include <climits>

using namespace tessera;
using namespace quantize_cases;

TEST_CASE_TEMPLATE("quantize: agrees with the definition in 1 to 4 dimensions under every option", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  expect_oracle_with_all_options<Space, 1>();
  expect_oracle_with_all_options<Space, 2>();
  expect_oracle_with_all_options<Space, 3>();
  expect_oracle_with_all_options<Space, 4>();
}

TEST_CASE_TEMPLATE("quantize: many points, few voxels and the other way round", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  auto const mean = QuantizeOptions<3>(1.0F).features(VoxelFeatures::mean);
  expect_oracle<Space>(random_cloud<3>(1, 30000, 2, 2, true), mean);
  expect_oracle<Space>(random_cloud<3>(2, 30000, 400, 2, false), mean);     // 32-bit keys
  expect_oracle<Space>(random_cloud<3>(3, 20000, 200000, 7, false), mean);  // 64-bit keys
}

TEST_CASE_TEMPLATE("quantize: a worked example", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Cloud<3> cloud;
  cloud.positions = {0.9F, 0, 0, -0.1F, 0, 0, 0.2F, 0, 0, no_number, 0, 0};
  cloud.features = {1, 10, 2, 20, 3, 30, 4, 40};
  cloud.batch = {0, 0, 0, 0};
  auto const found = quantize<Space>(cloud, QuantizeOptions<3>(1.0F));
  CHECK(found.rows == std::vector<Coordinate<3>>{{0, {-1, 0, 0}}, {0, {0, 0, 0}}});
  CHECK(found.first_point == std::vector<std::int32_t>{1, 0});
  CHECK(found.inverse == std::vector<std::int32_t>{1, 0, 1, -1});
  CHECK(found.features == std::vector<float>{2, 20, 1, 10});
  CHECK(found.num_dropped == 1);
  auto const mean = quantize<Space>(cloud, QuantizeOptions<3>(1.0F).features(VoxelFeatures::mean));
  CHECK(mean.features == std::vector<float>{2, 20, 2, 20});
}

TEST_CASE_TEMPLATE("quantize: halves round to even, then the lowest voxel is 0", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Cloud<1> cloud;
  cloud.positions = {-0.5F, 0.5F, 1.5F, 2.5F, -1.5F};
  cloud.features.resize(10);
  cloud.batch.resize(5);
  auto options = QuantizeOptions<1>(1.0F).rounding(Rounding::nearest_even);
  auto const fixed = quantize<Space>(cloud, options);
  CHECK(fixed.rows == std::vector<Coordinate<1>>{{0, {-2}}, {0, {0}}, {0, {2}}});
  CHECK(fixed.inverse == std::vector<std::int32_t>{1, 1, 2, 2, 0});
  auto const shifted = quantize<Space>(cloud, options.origin(GridOrigin::lowest_voxel));
  CHECK(shifted.rows == std::vector<Coordinate<1>>{{0, {0}}, {0, {2}}, {0, {4}}});
}

TEST_CASE_TEMPLATE("quantize: no points, one point and none that is left give sets like any other", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  for (auto const grid_origin : {GridOrigin::fixed, GridOrigin::lowest_point, GridOrigin::lowest_voxel}) {
    for (bool const grid : {false, true}) {
      auto options = QuantizeOptions<3>(0.5F).origin(grid_origin);
      if (grid) { options.grid({4, 5, 6}); }
      Cloud<3> cloud;
      cloud.num_batches = 2;
      auto const none = quantize<Space>(cloud, options);
      CHECK(none.rows.empty());
      CHECK(none.inverse.empty());
      cloud.positions = {no_number, 0, 0};
      cloud.features = {1, 2};
      cloud.batch = {1};
      auto const left_out = quantize<Space>(cloud, options);
      CHECK(left_out.rows.empty());
      CHECK(left_out.inverse == std::vector<std::int32_t>{-1});
      CHECK(left_out.num_dropped == 1);
      cloud.positions = {1, 1, 1};
      auto const one = quantize<Space>(cloud, options);
      int const at = grid_origin == GridOrigin::fixed ? 2 : 0;
      CHECK(one.rows == std::vector<Coordinate<3>>{{1, {at, at, at}}});
      CHECK(one.features == std::vector<float>{1, 2});
    }
  }
}

TEST_CASE_TEMPLATE("quantize: one cloud has the batch entry asked for, and needs no features", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const positions = upload_matrix(std::vector<float>{5, 5, 1, 1}, 2, exec);
  PointsView<double> points{positions.view()};
  points.batch_entry = 3;
  auto const found = sparse_quantize(points, QuantizeOptions<2>(1.0F), exec);
  CHECK(download(found.coordinates->data(), 2, exec) == std::vector<Coordinate<2>>{{3, {1, 1}}, {3, {5, 5}}});
  CHECK(found.coordinates->num_batches() == 4);
  CHECK(found.features.rows() == 2);
  CHECK(found.features.columns() == 0);
}

TEST_CASE_TEMPLATE("quantize: a NaN feature flows through and touches no other voxel", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Cloud<1> cloud;
  cloud.positions = {0, 0, 3};
  cloud.features = {1, no_number, 2, 2, 3, 3};
  cloud.batch = {0, 0, 0};
  auto const found = quantize<Space>(cloud, QuantizeOptions<1>(1.0F).features(VoxelFeatures::mean));
  CHECK(found.features[0] == 1.5F);
  CHECK(std::isnan(found.features[1]));
  CHECK(found.features[3] == 3.0F);
}

TEST_CASE_TEMPLATE("quantize: voxels that do not fit are refused by point, and a grid leaves them out", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Cloud<3> cloud;
  cloud.positions = {1, 1, 1, 2, 3e9F, 4, 1e30F, 2, 3};
  cloud.features.resize(6);
  cloud.batch.resize(3);
  CHECK(test::error_of([&] { quantize<Space>(cloud, QuantizeOptions<3>(1.0F)); }) ==
        "sparse_quantize: the voxel of point 1 at [2, 3e+09, 4] is beyond 2^30; choose larger voxels, or a "
        "range that leaves it out");
  CHECK(quantize<Space>(cloud, QuantizeOptions<3>(1.0F).grid(100)).inverse ==
        std::vector<std::int32_t>{0, -1, -1});
  auto const ranged = QuantizeOptions<3>(1.0F).range({0, 0, 0}, {9, 9, 9});
  CHECK(quantize<Space>(cloud, ranged).inverse == std::vector<std::int32_t>{0, -1, -1});
  cloud.positions = {1, 1, 1, 0, 9, 0, 0, 0, 0};  // a range has its lower end and not its upper one
  CHECK(quantize<Space>(cloud, ranged).inverse == std::vector<std::int32_t>{1, -1, 0});

  cloud.positions = {-1e9F, -1e9F, -1e9F, 0, 0, 0, 1e9F, 1e9F, 1e9F};
  CHECK(test::has(test::error_of([&] { quantize<Space>(cloud, QuantizeOptions<3>(1.0F)); }),
                  "a key of 93 bits is needed but 63 is the most"));

  float const most = 1 << 30;
  Cloud<1> line;
  line.positions = {-most, most, 0};
  line.features.resize(6);
  line.batch.resize(3);
  CHECK(quantize<Space>(line, QuantizeOptions<1>(1.0F)).rows ==
        std::vector<Coordinate<1>>{{0, {-(1 << 30)}}, {0, {0}}, {0, {1 << 30}}});
  CHECK(test::has(test::error_of([&] {
                    quantize<Space>(line, QuantizeOptions<1>(1.0F).origin(GridOrigin::lowest_voxel));
                  }),
                  "point 1"));
}

TEST_CASE_TEMPLATE("quantize: points of no cloud are refused", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Cloud<2> cloud;
  cloud.positions = {1, 1, 2, 2, no_number, no_number};
  cloud.features.resize(6);
  cloud.num_batches = 2;
  for (bool const grid : {false, true}) {
    auto options = QuantizeOptions<2>(1.0F);
    if (grid) { options.grid(4); }
    cloud.batch = {0, 1, 2};
    CHECK(test::error_of([&] { quantize<Space>(cloud, options); }) ==
          "sparse_quantize: point 2 belongs to cloud 2 of 2");
    cloud.batch = {0, -1, 1};
    CHECK(test::error_of([&] { quantize<Space>(cloud, options.origin(GridOrigin::lowest_point)); }) ==
          "sparse_quantize: point 1 belongs to cloud -1 of 2");
  }
}

TEST_CASE("quantize: invalid sizes, ranges, grids and shapes are refused")
{
  Execution<Host> const exec{};
  std::vector<float> const values(6);
  MatrixView<float const> const three{values.data(), 2, 3};
  auto const error = [&](PointsView<float> const& points, QuantizeOptions<3> const& options) {
    return test::error_of([&] { static_cast<void>(sparse_quantize(points, options, exec)); });
  };
  PointsView<float> const good{three, three};
  CHECK(error(good, QuantizeOptions<3>(1.0F)).empty());
  CHECK(error(good, QuantizeOptions<3>(0.0F)) ==
        "sparse_quantize: voxel size 0 on axis 0; it must be positive and finite");
  CHECK(test::has(error(good, QuantizeOptions<3>({1, -2, 1})), "voxel size -2 on axis 1"));
  CHECK(test::has(error(good, QuantizeOptions<3>(no_number)), "voxel size nan"));
  CHECK(test::has(error(good, QuantizeOptions<3>(infinity)), "voxel size inf"));
  CHECK(test::has(error(good, QuantizeOptions<3>(1.0F).origin({0, 0, no_number})), "origin nan on axis 2"));
  CHECK(error(good, QuantizeOptions<3>(1.0F).range({0, 2, 0}, {1, 2, 1})) ==
        "sparse_quantize: the range 2 to 2 on axis 1 is empty");
  CHECK(error(good, QuantizeOptions<3>(1.0F).grid({4, 0, 4})) ==
        "sparse_quantize: a grid of [4, 0, 4] voxels");
  CHECK(test::has(error({MatrixView<float const>{values.data(), 3, 2}}, QuantizeOptions<3>(1.0F)),
                  "positions have 2 columns, not 3"));
  CHECK(test::has(error({three, {values.data(), 1, 3}}, QuantizeOptions<3>(1.0F)),
                  "2 points but 1 rows of features"));
  std::vector<std::int32_t> const batch{0, 0};
  CHECK(
      test::has(error({three, three, batch.data()}, QuantizeOptions<3>(1.0F)), "num_batches must be given"));
  CHECK(test::has(error({three, three, nullptr, 2, 2}, QuantizeOptions<3>(1.0F)),
                  "batch entry 2 of only 2 clouds"));
}

#ifdef __CUDACC__
TEST_CASE_TEMPLATE("quantize: means of half features are summed in single precision", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::vector<__half> features;
  for (int i = 0; i < 4096; ++i) { features.push_back(static_cast<__half>(i % 2 == 0 ? 1024.0F : 1.0F)); }
  auto const positions = upload_matrix(std::vector<float>(4096), 1, exec);
  auto const matrix = upload_matrix(features, 1, exec);
  auto const found = sparse_quantize(PointsView<__half>{positions.view(), matrix.view()},
                                     QuantizeOptions<1>(1.0F).features(VoxelFeatures::mean), exec);
  CHECK(static_cast<float>(download(found.features.data(), 1, exec)[0]) == 512.5F);
}
#endif

TEST_CASE_TEMPLATE("quantize: a whole scan has the voxels that numpy finds", Space, TESSERA_TEST_SPACES)
{
  auto const file = test::data_file("data/semkitti_000000.bin");
  if (!file || test::skipped<Space>()) { return; }
  auto const scan = read_kitti(*file);
  Cloud<3> cloud;
  cloud.positions = scan.positions;
  cloud.batch.resize(cloud.size());
  for (float const intensity : scan.features) { cloud.features.insert(cloud.features.end(), {intensity, 1}); }
  auto options = QuantizeOptions<3>(0.05F).origin(GridOrigin::lowest_voxel);
  bool const is_the_scan = scan.size() == 123'389;  // numpy's numbers are those of one file
  if (is_the_scan) { CHECK(quantize<Space>(cloud, options).rows.size() == 94444); }
  expect_oracle<Space>(cloud, options);
  expect_oracle<Space>(cloud, options.rounding(Rounding::nearest_even).features(VoxelFeatures::mean));
  options = QuantizeOptions<3>(0.05F).origin(GridOrigin::lowest_point);
  if (is_the_scan) { CHECK(quantize<Space>(cloud, options).rows.size() == 94590); }
}

TEST_CASE_TEMPLATE("quantize: voxels already made stay what they are", Space, TESSERA_TEST_SPACES)
{
  auto const file = test::data_file("golden/minkunet_semkitti.safetensors");
  if (!file || test::skipped<Space>()) { return; }
  Safetensors const golden{*file};
  auto const coords = golden.to<std::int32_t>("input.coords");
  Cloud<3> cloud;
  std::vector<Coordinate<3>> rows;
  for (std::size_t i = 0; i < coords.size(); i += 4) {
    rows.push_back({coords[i], {coords[i + 1], coords[i + 2], coords[i + 3]}});
    cloud.batch.push_back(coords[i]);
    cloud.num_batches = std::max(cloud.num_batches, coords[i] + 1);
    for (std::size_t k = 1; k <= 3; ++k) { cloud.positions.push_back(static_cast<float>(coords[i + k])); }
    cloud.features.insert(cloud.features.end(), {static_cast<float>(i / 4), 0});
  }
  auto const found = quantize<Space>(cloud, QuantizeOptions<3>(1.0F));
  REQUIRE(found.rows.size() == rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    REQUIRE(found.rows[static_cast<std::size_t>(found.inverse[i])] == rows[i]);
  }
}
