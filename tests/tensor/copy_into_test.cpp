// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/foreign.hpp"

#include <tessera/ops/dense.hpp>
#include <tessera/tensor/copy_into.hpp>

#include <cstdint>
#include <vector>

using namespace tessera;

namespace {

/// Three rows of three channels, two of them in use, which only the space knows.
template <class Space>
SparseTensor<1, float, Space> counted_in_space(Execution<Space> const& exec)
{
  std::vector<Coordinate<1>> const rows{{0, {1}}, {0, {2}}, {0, {7}}};
  auto set = CoordinateSet<1, Space>::make({upload(rows, exec), upload(std::vector<std::int32_t>{2}, exec)},
                                           CoordinateSetOptions<1>{}, exec);
  return {std::move(set), upload_matrix(std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8, 9}, 3, exec)};
}

}  // namespace

TEST_CASE_TEMPLATE("copy_into: rows in use go to the caller's memory, and the others stay", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const x = counted_in_space<Space>(exec);
  test::Foreign<float, Space> features{std::vector<float>(16, -1), exec};
  test::Foreign<std::int32_t, Space> coordinates{std::vector<std::int32_t>(8, -1), exec};
  test::Foreign<std::int32_t, Space> count{{-1}, exec};
  for (int shift : {0, 1, 4}) {  // one that is and ones that are not aligned as the rows are
    CAPTURE(shift);
    fill_bytes(features.memory, 0, exec);
    TensorDestination<float> to;
    to.features = {features.data() + shift, 4, 3};
    to.coordinates = {coordinates.data(), 4, 2};
    to.num_rows = count.data();
    copy_into(x, to, exec);
    std::vector<float> expected(16, 0);
    for (int i = 0; i < 6; ++i) { expected[static_cast<std::size_t>(i + shift)] = static_cast<float>(i + 1); }
    CHECK(features.values(exec) == expected);
    CHECK(coordinates.values(exec) == std::vector<std::int32_t>{0, 1, 0, 2, -1, -1, -1, -1});
    CHECK(count.values(exec) == std::vector<std::int32_t>{2});
  }
}

TEST_CASE_TEMPLATE("copy_into: features alone, and what is left out is not written", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  SparseTensor<1, float, Space> const x{make_coordinate_set(std::vector<Coordinate<1>>{{0, {1}}}, {}, exec),
                                        upload_matrix(std::vector<float>{5, 6}, 2, exec)};
  test::Foreign<float, Space> features{{0, 0, 0, 0}, exec};
  copy_into(x, MatrixView<float>{features.data(), 2, 2}, exec);
  CHECK(features.values(exec) == std::vector<float>{5, 6, 0, 0});
  copy_into(x, TensorDestination<float>{}, exec);
  CHECK(features.values(exec) == std::vector<float>{5, 6, 0, 0});
}

TEST_CASE_TEMPLATE("copy_into: a destination without room or with other columns is refused", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const x = counted_in_space<Space>(exec);
  test::Foreign<float, Space> features{std::vector<float>(16, -1), exec};
  test::Foreign<std::int32_t, Space> coordinates{std::vector<std::int32_t>(8, -1), exec};
  CHECK_THROWS_WITH_AS(copy_into(x, MatrixView<float>{features.data(), 2, 3}, exec),
                       "copy_into: features of 2 x 3 have no room for 3 x 3", invalid_argument);
  CHECK_THROWS_WITH_AS(copy_into(x, MatrixView<float>{features.data(), 4, 4}, exec),
                       doctest::Contains("4 x 4"), invalid_argument);
  TensorDestination<float> to;
  to.coordinates = {coordinates.data(), 4, 3};
  CHECK_THROWS_WITH_AS(copy_into(x, to, exec), doctest::Contains("coordinates of 4 x 3"), invalid_argument);
  CHECK_THROWS_WITH_AS(copy_into(SparseTensor<1, float, Space>{}, to, exec),
                       doctest::Contains("no coordinates"), invalid_argument);
  CHECK(features.values(exec) == std::vector<float>(16, -1));
}

TEST_CASE_TEMPLATE("copy_into: a dense tensor goes to as many elements", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  SparseTensor<1, float, Space> const x{make_coordinate_set(std::vector<Coordinate<1>>{{0, {1}}}, {}, exec),
                                        upload_matrix(std::vector<float>{5, 6}, 2, exec)};
  auto const map = dense(x, DenseOptions<1>{SpatialRange<1>{1, {3}}}, exec);
  test::Foreign<float, Space> to{std::vector<float>(6, -1), exec};
  copy_into(map, to.data(), 6, exec);
  CHECK(to.values(exec) == std::vector<float>{0, 0, 5, 6, 0, 0});
  CHECK_THROWS_WITH_AS(copy_into(map, to.data(), 5, exec), doctest::Contains("a destination of 5"),
                       invalid_argument);
}
