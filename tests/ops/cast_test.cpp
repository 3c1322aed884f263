// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"

#include <tessera/ops/cast.hpp>

#include <vector>

using namespace tessera;

TEST_CASE_TEMPLATE("cast: features of another type on the same voxels", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  SparseTensor<1, double, Space> const x{
      make_coordinate_set(std::vector<Coordinate<1>>{{0, {3}}, {1, {5}}}, {}, exec),
      upload_matrix(std::vector<double>{1.0 + 0x1.0p-25, -2.5, 0.1, 1e30}, 2, exec)};
  auto const y = cast<float>(x, exec);
  CHECK(y.coordinates() == x.coordinates());
  auto const values = y.features_on_host(exec);
  CHECK(values[0] == 1.0F);
  CHECK(values[1] == -2.5F);
  CHECK(values[2] == 0.1F);
  CHECK(cast<double>(y, exec).features_on_host(exec)[2] == static_cast<double>(0.1F));
  CHECK(cast<float>(SparseTensor<1, double, Space>{}, exec).coordinates() == nullptr);
  Matrix<double, Space> const rows = upload_matrix(std::vector<double>{0.1, -2.5}, 2, exec);
  Matrix<float, Space> const rounded = cast<float>(rows, exec);
  CHECK(rounded.rows() == 1);
  CHECK(rounded.columns() == 2);
  CHECK(download(rounded.data(), 2, exec) == std::vector<float>{0.1F, -2.5F});
  CHECK(cast<float>(Matrix<double, Space>{0, 3, exec}, exec).columns() == 3);
#ifdef __CUDACC__
  auto const halves = cast<__half>(y, exec).features_on_host(exec);
  CHECK(static_cast<float>(halves[1]) == -2.5F);
  CHECK(static_cast<float>(halves[2]) == 0.0999755859375F);
#endif
}
