// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "loss_cases.hpp"

#include <tessera/ops/point_voxel.hpp>

using namespace loss_cases;

TEST_CASE_TEMPLATE("loss: of points whose set has room to spare, those in use alone count", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::vector<std::int32_t> const rows{0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 2, 3, 0, 9, 9, 9, 0, 8, 8, 8};
  CoordinateSetOptions<3> set_options;
  set_options.spatial_range = SpatialRange<3>{1, {10, 10, 10}};
  set_options.fixed_capacity = FixedCapacity{5};
  auto const own_rows = upload(rows, exec);
  auto const count = upload(std::vector<std::int32_t>{3}, exec);  // of 5 rows 3 are in use
  SparseTensor<3, float, Space> const x{
      make_coordinate_set<3>(own_rows.data(), RowCount{5, count.data()}, set_options, exec),
      upload_matrix(std::vector<float>{1, 2, 0, 3, -1, 0.5F, 70, -70, -90, 90}, 2, exec)};
  auto const there = upload(std::vector<std::int32_t>{0, 1, 0, 1, 0}, exec);
  CrossEntropyOptions<float> const options;
  auto const of_voxels = test::on_host(cross_entropy(x, there, options, exec), exec);
  auto const of_points = test::on_host(cross_entropy(points_of_voxels(x, exec), there, options, exec), exec);
  CHECK(of_points == of_voxels);
  CHECK(of_points[0] < 10);
}
