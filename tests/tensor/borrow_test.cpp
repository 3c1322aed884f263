// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/foreign.hpp"
#include "../support/memory.hpp"

#include <tessera/ops/cast.hpp>
#include <tessera/tensor/borrow.hpp>

#include <cstdint>
#include <memory>
#include <type_traits>
#include <vector>

using namespace tessera;

namespace {

/// Three voxels in two dimensions, in memory of the caller's.
template <class Space>
struct Rows {
  explicit Rows(Execution<Space> const& exec)
      : coordinates{{0, 1, 2, 0, 3, 4, 1, 1, 2}, exec}, features{{1, 2, 3, 4, 5, 6}, exec}
  {}
  [[nodiscard]] MatrixView<std::int32_t const> coordinate_view() { return {coordinates.data(), 3, 3}; }
  [[nodiscard]] MatrixView<float const> feature_view() { return {features.data(), 3, 2}; }

  test::Foreign<std::int32_t, Space> coordinates;
  test::Foreign<float, Space> features;
};

}  // namespace

TEST_CASE_TEMPLATE("borrow_tensor: stands on the caller's rows without a copy", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  Rows<Space> rows{exec};
  test::CountedMemory<Space> memory;
  auto const counted = memory.execution(1);
  CoordinateSetOptions<2> options;
  options.spatial_range = SpatialRange<2>{2, {5, 5}};
  auto const x = borrow_tensor<2>(rows.coordinate_view(), rows.feature_view(), nullptr, counted, options);
  CHECK(static_cast<void const*>(x.coordinates()->data()) == rows.coordinates.data());
  CHECK(x.features().data == rows.features.data());
  CHECK(memory.bytes_in_use() <= 8);  // the coordinate manager's error bits
  CHECK(x.num_rows() == 3);
  CHECK(x.channels() == 2);
  CHECK(x.features_on_host(counted) == std::vector<float>{1, 2, 3, 4, 5, 6});
  CHECK(x.coordinates_on_host(counted) == std::vector<Coordinate<2>>{{0, {1, 2}}, {0, {3, 4}}, {1, {1, 2}}});
}

TEST_CASE_TEMPLATE(
    "borrow_tensor: the owner is kept by the coordinates' coordinate manager and by the features", Space,
    TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  Rows<Space> rows{exec};
  auto x = borrow_tensor<2>(rows.coordinate_view(), rows.feature_view(), rows.features.owner(), exec);
  auto y = cast<double>(x, exec);
  auto const copy = x;
  x = {};
  CHECK(copy.features_on_host(exec).size() == 6);
  CHECK(rows.features.released == 0);
  SUBCASE("the last tensor on the coordinates lets go")
  {
    const_cast<SparseTensor<2, float, Space>&>(copy) = {};
    CHECK(rows.features.released == 0);
    CHECK(y.coordinates_on_host(exec).size() == 3);
    y = {};
  }
  SUBCASE("the last tensor that has the features lets go")
  {
    y = {};
    CHECK(rows.features.released == 0);
    const_cast<SparseTensor<2, float, Space>&>(copy) = {};
  }
  CHECK(rows.features.released == 1);
}

TEST_CASE_TEMPLATE("borrow_tensor: rows that cannot be taken are refused, and the owner released", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  Rows<Space> rows{exec};
  auto const borrow = [&](MatrixView<std::int32_t const> coordinates, MatrixView<float const> features) {
    return borrow_tensor<2>(coordinates, features, rows.features.owner(), exec);
  };
  auto* const coordinates = rows.coordinates.data();
  auto* const features = rows.features.data();
  CHECK_THROWS_WITH_AS((void)borrow({coordinates, 2, 3}, {features, 3, 2}),
                       "borrow_tensor: 2 coordinates but 3 rows of features", invalid_argument);
  CHECK_THROWS_WITH_AS((void)borrow({coordinates, 2, 4}, {features, 2, 2}),
                       doctest::Contains("4 columns, but 2 dimensions need 3"), invalid_argument);
  CHECK_THROWS_WITH_AS((void)borrow({coordinates, 2, 3}, {features + 1, 2, 2}),
                       doctest::Contains("not aligned to 16 bytes"), invalid_argument);
  CHECK_THROWS_WITH_AS((void)borrow({nullptr, 2, 3}, {features, 2, 2}), doctest::Contains("null pointer"),
                       invalid_argument);
  fill_bytes(rows.coordinates.memory, 0xff, exec);  // batch entry -1
  CHECK_THROWS_WITH_AS((void)borrow({coordinates, 3, 3}, {features, 3, 2}), doctest::Contains("is negative"),
                       invalid_argument);
  CHECK(rows.features.released == 5);
}

TEST_CASE_TEMPLATE("borrow_coordinates: rows of three dimensions begin at 16 bytes, others anywhere", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  test::Foreign<std::int32_t, Space> memory{{9, 0, 1, 2, 3, 0, 4, 5, 6}, exec};
  auto const borrow = [&](auto dim, std::int64_t rows, int first) {
    constexpr int axes = decltype(dim)::value;
    CoordinateSetOptions<axes> options;
    options.spatial_range = SpatialRange<axes>{1, IntArray<axes>(10)};
    MatrixView<std::int32_t const> const view{memory.data() + first, rows, 1 + axes};
    return borrow_coordinates<axes>(view, memory.owner(), exec, options);
  };
  using Dim2 = std::integral_constant<int, 2>;
  using Dim3 = std::integral_constant<int, 3>;
  CHECK_THROWS_WITH_AS((void)borrow(Dim3{}, 2, 1), doctest::Contains("not aligned to the 16 bytes of a row"),
                       invalid_argument);
  CHECK(memory.released == 1);
  CHECK(borrow(Dim3{}, 1, 4)->capacity() == 1);
  CHECK(borrow(Dim3{}, 0, 1)->capacity() == 0);
  CHECK(borrow(Dim2{}, 2, 1)->capacity() == 2);
}

TEST_CASE_TEMPLATE("borrow_tensor: no rows need no memory", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const x = borrow_tensor<3>(MatrixView<std::int32_t const>{nullptr, 0, 4},
                                  MatrixView<float const>{nullptr, 0, 7}, nullptr, exec);
  CHECK(x.num_rows() == 0);
  CHECK(x.channels() == 7);
  CHECK(x.features_on_host(exec).empty());
}
