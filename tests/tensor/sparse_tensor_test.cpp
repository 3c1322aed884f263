// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"

#include <tessera/tensor/sparse_tensor.hpp>

#include <vector>

using namespace tessera;

namespace {

template <int Dim, class Space>
SparseTensor<Dim, float, Space> ones(std::vector<Coordinate<Dim>> const& rows, Execution<Space> const& exec)
{
  std::vector<float> const features(rows.size(), 1);
  return {make_coordinate_set(rows, {}, exec), upload_matrix(features, 1, exec)};
}

}  // namespace

TEST_CASE_TEMPLATE("SparseTensor: duplicates are reported on the way to the host, whatever layers there were",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const good = ones<2, Space>({{0, {1, 2}}, {0, {2, 1}}, {1, {1, 2}}}, exec);
  CHECK(good.features_on_host(exec) == std::vector<float>{1, 1, 1});
  CHECK(good.coordinates_on_host(exec).size() == 3);
  auto const twice = ones<2, Space>({{0, {1, 2}}, {0, {2, 1}}, {0, {1, 2}}}, exec);
  CHECK_THROWS_WITH_AS((void)twice.features_on_host(exec), doctest::Contains("two rows hold the same"),
                       invalid_argument);
  CHECK_THROWS_WITH_AS((void)twice.coordinates_on_host(exec), doctest::Contains("two rows hold the same"),
                       invalid_argument);
}

TEST_CASE_TEMPLATE("SparseTensor: coordinates too far apart for a key come back all the same", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::vector<Coordinate<3>> const rows{{0, {-(1 << 30), -(1 << 30), -(1 << 30)}},
                                        {0, {1 << 30, 1 << 30, 1 << 30}}};
  auto const x = ones<3, Space>(rows, exec);
  CHECK(x.coordinates_on_host(exec) == rows);
  CHECK(x.features_on_host(exec).size() == 2);
}
