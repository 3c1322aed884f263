// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "point_scenes.hpp"

using namespace point_scenes;

TEST_CASE_TEMPLATE("points and voxels: no points, no voxels and one point are legal", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  Scene<3> scene;
  check_scene<3, float>(scene, 4, exec);
  scene.positions = {0, 0.5F, 1.25F, -3};
  check_scene<3, float>(scene, 4, exec);
  scene.voxels = {{0, {0, 1, -3}}};
  check_scene<3, float>(scene, 4, exec);
  scene.positions = {};
  check_scene<3, float>(scene, 4, exec);

  PointTensor<3, float, Space> const none;
  CHECK(none.num_points() == 0);
  CHECK(none.channels() == 0);
  CHECK_THROWS_WITH_AS(static_cast<void>(initial_voxelize(none, 1, 1, exec)),
                       "initial_voxelize: the tensor has no points", invalid_argument);
}

TEST_CASE_TEMPLATE("points and voxels: cells at the ends of what a set may hold are found", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  constexpr int most = 1 << 30;
  Scene<1> scene;
  scene.voxels = {{0, {most}}, {0, {-most}}, {0, {-most + 64}}};
  scene.positions = {0, 1073741824.0F, 0, -1073741824.0F, 0, -1073741760.0F,
                     0, 1073741952.0F, 0, -2147483648.0F};
  check_scene<1, double>(scene, 1, exec);
}

TEST_CASE_TEMPLATE("points and voxels: the nearest voxel is the one that a point is in", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  Scene<3> scene;
  scene.voxels = {{0, {0, 0, 0}}, {0, {1, 0, 0}}};
  scene.positions = {0, 0.75F, 0.5F, 0.5F, 0, 1, 0, 0, 0, -0.25F, 0, 0};
  std::vector<double> const of_voxels{3, 5};
  Uploaded<3, float, Space> const x{scene, {0, 0, 0}, of_voxels, 1, exec};
  auto const nearest = voxel_to_point(x.voxels, x.points, exec, Interpolation::nearest);
  CHECK(nearest.features_on_host(exec) == std::vector<float>{3, 5, 0});
  // TorchSparse: corner 0 with its weight among the corners that exist
  auto const first =
      voxel_to_point(x.voxels, x.points, exec, Interpolation::nearest, Compatibility::torchsparse);
  test::check_close(first.features_on_host(exec), {3 * 0.25, 5, 0}, 1e-6);
}

TEST_CASE_TEMPLATE("initial_voxelize: a voxel has the mean of the points in its cell", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto scene = random_scene<3>(400, 0, IntArray<3>(1), 11);
  for (auto& number : scene.positions) {
    if (std::abs(number) > 1e8F) { number = nan_position; }  // beyond 2^30 is an error
  }
  std::size_t const channels = 5;
  auto const of_points = values_held<float>(random_values(scene.num_points() * channels, 5));
  Uploaded<3, float, Space> const x{scene, of_points, {}, channels, exec};
  auto const result = initial_voxelize(x.points, 0.3F, 0.2F, exec);

  auto expected = scene;
  for (std::size_t i = 0; i < expected.positions.size(); ++i) {
    if (i % 4 != 0) { expected.positions[i] = expected.positions[i] * 0.3F * (1 / 0.2F); }
  }
  test::Coordinates<3> cells;
  for (std::size_t i = 0; i < expected.num_points(); ++i) {
    Coordinate<3> cell;
    std::vector<float> fraction(3);
    if (locate(expected, i, cell, fraction)) { cells.push_back(cell); }
  }
  expected.voxels = test::sorted_unique(cells);
  REQUIRE(expected.voxels.size() > 20);
  CHECK(result.voxels.coordinates_on_host(exec) == expected.voxels);
  test::check_close(result.voxels.features_on_host(exec),
                    multiply(mean_matrix(expected, false), of_points, channels), 1e-5);
  CHECK(result.points.features_on_host(exec) == x.points.features_on_host(exec));

  // voxelizing again by the map gives the same bits, so that the map's gradient is this operation's
  auto const again = point_to_voxel(result.points, result.voxels.coordinates(), exec);
  CHECK(test::same_bits(again.features_on_host(exec), result.voxels.features_on_host(exec)));
}

TEST_CASE("initial_voxelize: sizes that are not positive, far points and unknown batch entries are refused")
{
  Execution<Host> const exec{};
  auto const voxelize = [&](std::vector<float> const& positions, float from, float to) {
    auto const rows = static_cast<std::int64_t>(positions.size()) / 4;
    std::vector<float> const features(static_cast<std::size_t>(rows));
    PointTensor<3, float, Host> const z{{positions.data(), rows, 4}, {features.data(), rows, 1}, exec};
    return initial_voxelize(z, from, to, exec);
  };
  CHECK_THROWS_AS(voxelize({0, 1, 1, 1}, 0, 1), invalid_argument);
  CHECK_THROWS_AS(voxelize({0, 1, 1, 1}, 1, infinite), invalid_argument);
  CHECK_THROWS_WITH_AS(voxelize({0, 1, 1, 1, 1, 0, 0, 0}, 1, 1),
                       "sparse_quantize: point 1 belongs to cloud 1 of 1", invalid_argument);
  CHECK_THROWS_AS(voxelize({-0.5F, 1, 1, 1}, 1, 1), invalid_argument);
  CHECK_THROWS_AS(voxelize({0, 1, 1, 3e9F}, 1, 1), invalid_argument);
  CHECK(voxelize({0, 1, 1, infinite}, 1, 1).voxels.num_rows() == 0);
  // finite, but not when it is scaled: as far as the others that are refused
  CHECK_THROWS_WITH_AS(voxelize({0, 1, 1, -1e38F}, 1, 0.01F), doctest::Contains("beyond 2^30"),
                       invalid_argument);
  CHECK_THROWS_WITH_AS(voxelize({0, 1, 1, 1}, 1, 1e-40F), doctest::Contains("positive and finite"),
                       invalid_argument);
}

TEST_CASE_TEMPLATE("points and voxels: numbers that are no row of the voxels mean none, forward and backward",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  // of three voxels: a point of voxel 3 and one of the largest number are in none
  constexpr auto largest = std::numeric_limits<std::int32_t>::max();
  std::vector<std::int32_t> const rows{3, 1, largest, 1, -7, 0};
  auto const features = [&](std::vector<float> const& values) { return upload_matrix(values, 1, exec); };
  auto const points = features({1, 2, 4, 8, 16, 32});
  auto const voxels = features({10, 20, 30});
  PointMap<Space> means{upload(rows, exec), {}, 6, 3, 1};
  CHECK(on_host(voxelize_features<float>(points, means, exec), exec) == std::vector<float>{32, 5, 0});
  CHECK(on_host(voxelize_features_backward<float>(voxels, means, exec), exec) ==
        std::vector<float>{0, 10, 0, 10, 0, 10});
  PointMap<Space> pairs{upload(rows, exec), upload(std::vector<float>{1, 2, 3, 4, 5, 6}, exec), 3, 3, 2};
  CHECK(on_host(devoxelize_features<float>(voxels, pairs, exec), exec) == std::vector<float>{40, 80, 60});
  CHECK(on_host(devoxelize_features_backward<float>(features({1, 10, 100}), pairs, exec), exec) ==
        std::vector<float>{600, 42, 0});
}

TEST_CASE("points and voxels: rows that do not fit a map are refused by name")
{
  Execution<Host> const exec{};
  Scene<3> const scene = random_scene<3>(20, 10, IntArray<3>(1), 3);
  Uploaded<3, float, Host> const x{scene, random_values(20, 1), random_values(10, 1), 1, exec};
  auto const map =
      x.points.points()->map_to(x.voxels.coordinates(), PointCells::corners, Compatibility::none, exec);
  CHECK_THROWS_WITH_AS(static_cast<void>(devoxelize_features<float>(x.points.features(), *map, exec)),
                       "devoxelize_features: 20 rows of features for 10 voxels", invalid_argument);
  CHECK_THROWS_WITH_AS(
      static_cast<void>(devoxelize_features_backward<float>(x.voxels.features(), *map, exec)),
      "devoxelize_features_backward: 10 rows of features for 20 points", invalid_argument);
  CHECK_THROWS_AS(
      static_cast<void>(x.points.points()->map_to(nullptr, PointCells::corners, Compatibility::none, exec)),
      invalid_argument);
}
