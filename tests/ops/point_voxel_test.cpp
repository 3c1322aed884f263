// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "gradient_check.hpp"
#include "point_scenes.hpp"

using namespace point_scenes;

namespace {

/// The same points and voxels with one value of a gradient check.
template <class Space>
struct LossOf {
  Scene<3> const& scene;
  std::vector<double> const& cotangent;
  std::size_t channels;
  Execution<Space> const& exec;

  [[nodiscard]] double sum(std::vector<double> const& values) const
  {
    double result = 0;
    for (std::size_t i = 0; i < values.size(); ++i) { result += values[i] * cotangent[i]; }
    return result;
  }
  [[nodiscard]] double voxelized(std::vector<double> const& of_points) const
  {
    std::vector<double> const zeros(scene.voxels.size() * channels);
    Uploaded<3, double, Space> const x{scene, of_points, zeros, channels, exec};
    return sum(point_to_voxel(x.points, x.voxels.coordinates(), exec).features_on_host(exec));
  }
  [[nodiscard]] double interpolated(std::vector<double> const& of_voxels) const
  {
    std::vector<double> const zeros(scene.num_points() * channels);
    Uploaded<3, double, Space> const x{scene, zeros, of_voxels, channels, exec};
    return sum(voxel_to_point(x.voxels, x.points, exec).features_on_host(exec));
  }
};

}  // namespace

TEST_CASE_TEMPLATE("points and voxels: agree with the definition in one to four dimensions", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  check_dimension<1>({1}, exec);
  check_dimension<2>({2, 3}, exec);
  check_dimension<3>(IntArray<3>(1), exec);
  check_dimension<3>({2, 1, 4}, exec);
  check_dimension<4>(IntArray<4>(2), exec);
}

TEST_CASE_TEMPLATE("points and voxels: gradients agree with finite differences", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::size_t const channels = 2;
  auto const scene = random_scene<3>(24, 12, IntArray<3>(2), 7);
  auto const of_points = random_values(scene.num_points() * channels, 3);
  auto const of_voxels = random_values(scene.voxels.size() * channels, 4);
  Uploaded<3, double, Space> const x{scene, of_points, of_voxels, channels, exec};
  auto const set = x.voxels.coordinates();

  auto const containing = x.points.points()->map_to(set, PointCells::containing, Compatibility::none, exec);
  LossOf<Space> const of_mean{scene, of_voxels, channels, exec};
  test::check_close(on_host(voxelize_features_backward<double>(x.voxels.features(), *containing, exec), exec),
                    test::finite_differences(
                        of_points, [&](auto const& v) { return of_mean.voxelized(v); }, 1e-3),
                    1e-9);

  auto const corners = x.points.points()->map_to(set, PointCells::corners, Compatibility::none, exec);
  LossOf<Space> const of_interpolation{scene, of_points, channels, exec};
  test::check_close(on_host(devoxelize_features_backward<double>(x.points.features(), *corners, exec), exec),
                    test::finite_differences(
                        of_voxels, [&](auto const& v) { return of_interpolation.interpolated(v); }, 1e-3),
                    1e-9);
}

TEST_CASE_TEMPLATE("interpolation weights: the example of TorchSparse's, and those of a map", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const positions = upload_matrix(std::vector<float>{0, 0.25F, 0.5F, 0, 0, 0.25F, 0.5F, 0}, 4, exec);
  auto const rows =
      upload_matrix(std::vector<std::int32_t>{0, 1, 2, 3, 4, 5, 6, 7, 0, 1, -1, 3, 4, 5, 6, 7}, 8, exec);
  auto const weights = interpolation_weights<3, Space>(positions, rows, IntArray<3>(1), exec);
  test::check_close(on_host(weights, exec),
                    {0.375, 0, 0.375, 0, 0.125, 0, 0.125, 0, 0.6, 0, 0, 0, 0.2, 0, 0.2, 0}, 1e-6);

  auto const scene = random_scene<3>(100, 40, {2, 1, 3}, 17);
  Uploaded<3, float, Space> const x{scene, random_values(100, 1), random_values(scene.voxels.size(), 1), 1,
                                    exec};
  auto const map =
      x.points.points()->map_to(x.voxels.coordinates(), PointCells::corners, Compatibility::none, exec);
  auto const again = interpolation_weights<3, Space>(x.points.points()->positions(), {map->rows(), 100, 8},
                                                     scene.stride, exec);
  CHECK(test::same_bits(on_host(again, exec), download(map->weights(), 800, exec)));
}
