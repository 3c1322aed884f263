// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "loss_cases.hpp"

#include <tessera/nn/batch_norm.hpp>
#include <tessera/ops/point_voxel.hpp>

using namespace loss_cases;

namespace {

/// Two channels of 5 rows, of which so many are in use, as only the space knows.
template <class Space>
SparseTensor<3, float, Space> spare_tensor(std::size_t used, Execution<Space> const& exec)
{
  std::vector<Coordinate<3>> const rows{
      {0, {0, 0, 0}}, {0, {1, 0, 0}}, {0, {1, 2, 3}}, {0, {9, 9, 9}}, {0, {8, 8, 8}}};
  CoordinateSetOptions<3> options;
  options.spatial_range = SpatialRange<3>{1, {10, 10, 10}};
  return test::tensor_in_room(rows, std::vector<float>{1, 2, 0, 3, -1, 0.5F, 70, -70, -90, 90}, used, options,
                              exec);
}

}  // namespace

TEST_CASE_TEMPLATE("loss: of points whose set has room to spare, those in use alone count", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const x = spare_tensor<Space>(3, exec);
  auto const there = upload(std::vector<std::int32_t>{0, 1, 0, 1, 0}, exec);
  CrossEntropyOptions<float> const options;
  auto const of_voxels = test::on_host(cross_entropy(x, there, options, exec), exec);
  auto const of_points = test::on_host(cross_entropy(points_of_voxels(x, exec), there, options, exec), exec);
  CHECK(of_points == of_voxels);
  CHECK(of_points[0] < 10);
}

TEST_CASE_TEMPLATE("loss: of points, a label that is no class is noted in their voxels", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const x = spare_tensor<Space>(3, exec);
  auto const there = upload(std::vector<std::int32_t>{0, 7, 0, 1, 0}, exec);
  constexpr auto const* sentence =
      "loss: the label of row 1 is neither a class nor the label that is ignored";
  auto const measure = [&](PointTensor<3, float, Space> const& z) {
    try {
      static_cast<void>(cross_entropy(z, there, CrossEntropyOptions<float>{}, exec));
    } catch (invalid_argument const&) {
      // the host sees it at once as well
    }
  };
  measure(points_of_voxels(x, exec));
  CHECK_THROWS_WITH_AS(x.coordinates()->check(exec), sentence, invalid_argument);

  PointTensor<3, float, Space> const positions{points_of_voxels(x, exec).points()->positions(), x.features(),
                                               exec};
  auto const made = initial_voxelize(positions, 1, 1, exec);
  CHECK(positions.points()->voxels() == nullptr);
  measure(positions);  // nobody asks
  made.voxels.coordinates()->check(exec);
  measure(made.points);
  CHECK_THROWS_WITH_AS(made.voxels.coordinates()->check(exec), sentence, invalid_argument);
}

TEST_CASE_TEMPLATE("batch_norm_training: of one point alone is noted in its voxels", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const x = spare_tensor<Space>(1, exec);
  nn::BatchNorm<3, float, Space> norm{2, exec};
  norm.train();
  try {
    static_cast<void>(norm.forward(points_of_voxels(x, exec), exec));
  } catch (invalid_argument const&) {
    // the host sees it at once as well
  }
  CHECK_THROWS_WITH_AS(x.coordinates()->check(exec),
                       "batch_norm_training: training needs more than 1 row to have a variance",
                       invalid_argument);
}
