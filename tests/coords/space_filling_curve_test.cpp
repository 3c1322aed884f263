// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/oracle.hpp"

#include <tessera/coords/space_filling_curve.hpp>

#include <algorithm>
#include <cstdlib>
#include <vector>

using namespace tessera;

namespace {

constexpr auto z_order = SpaceFillingCurve::z_order;
constexpr auto hilbert = SpaceFillingCurve::hilbert;

/// Every cell of a cube of `size` cells an axis from `lower` on, shuffled, as a set.
template <int Dim>
test::Coordinates<Dim> cube(int size, int lower)
{
  test::Coordinates<Dim> rows;
  for (auto const& digits : test::kernel_digits(IntArray<Dim>(size))) {
    Coordinate<Dim> row;
    for (int i = 0; i < Dim; ++i) { row.position[i] = lower + digits[i]; }
    rows.push_back(row);
  }
  std::shuffle(rows.begin(), rows.end(), std::mt19937{3});
  return rows;
}

template <int Dim, class Space>
void check_cube(int bits)
{
  CAPTURE(Dim);
  Execution<Space> const exec{};
  auto const rows = cube<Dim>(1 << bits, -5);
  auto const set = make_coordinate_set(rows, CoordinateSetOptions<Dim>{}, exec);
  auto const codes = download(curve_codes(*set, z_order, exec), exec);
  for (std::size_t n = 0; n < rows.size(); ++n) {
    std::uint64_t expected = 0;
    for (int bit = 0; bit < bits; ++bit) {
      for (int i = 0; i < Dim; ++i) {
        auto const is_set = static_cast<std::uint64_t>((rows[n].position[i] + 5) >> bit & 1);
        expected |= is_set << (bit * Dim + Dim - 1 - i);
      }
    }
    CHECK(codes[n] == expected);
  }
  // Hilbert's codes are all of [0, cells), and cells of neighbouring codes are neighbours
  auto const along = download(curve_codes(*set, hilbert, exec), exec);
  auto const own_order = curve_order(*set, hilbert, exec);
  auto const order = download(own_order.data(), own_order.size(), exec);
  for (std::size_t place = 0; place < order.size(); ++place) {
    auto const row = static_cast<std::size_t>(order[place]);
    REQUIRE(along[row] == place);
    if (place == 0) { continue; }
    int steps = 0;
    for (int i = 0; i < Dim; ++i) {
      steps += std::abs(rows[row].position[i] - rows[static_cast<std::size_t>(order[place - 1])].position[i]);
    }
    CHECK(steps == 1);
  }
}

}  // namespace

TEST_CASE_TEMPLATE(
    "curve codes: Z-order takes the axes' bits by turns, Hilbert's curve goes from cell to cell", Space,
    TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  check_cube<1, Space>(5);
  check_cube<2, Space>(4);
  check_cube<3, Space>(3);
  check_cube<4, Space>(2);
  check_cube<2, Space>(1);
}

TEST_CASE_TEMPLATE(
    "curve order: batch entries one after the other, rows not in use last, equal for none and one", Space,
    TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const order_of = [&](CoordinateSet<2, Space> const& set, SpaceFillingCurve curve) {
    auto const order = curve_order(set, curve, exec);
    return download(order.data(), order.size(), exec);
  };
  using Order = std::vector<std::int32_t>;
  test::Coordinates<2> const rows{{2, {0, 0}}, {0, {3, 3}}, {0, {0, 1}}, {2, {0, 3}}, {0, {1, 0}}};
  auto const set = make_coordinate_set(rows, CoordinateSetOptions<2>{}, exec);
  CHECK(order_of(*set, z_order) == Order{2, 4, 1, 0, 3});
  auto const none = make_coordinate_set(test::Coordinates<2>{}, CoordinateSetOptions<2>{}, exec);
  CHECK(order_of(*none, hilbert).empty());
  auto const one = make_coordinate_set(test::Coordinates<2>{{0, {7, -7}}}, CoordinateSetOptions<2>{}, exec);
  CHECK(order_of(*one, hilbert) == Order{0});

  CoordinateSetOptions<2> options;
  options.spatial_range = SpatialRange<2>{3, {4, 4}};
  auto const own_rows = upload(rows, exec);
  auto const count = upload(Order{3}, exec);
  RowCount const in_use{5, count.data()};
  auto const partly =
      make_coordinate_set<2>(reinterpret_cast<std::int32_t const*>(own_rows.data()), in_use, options, exec);
  CHECK(order_of(*partly, z_order) == Order{2, 1, 0, 3, 4});
}

TEST_CASE_TEMPLATE("curve codes: of 63 bits at most, also at the limits of coordinates", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  constexpr int most = 1 << 30;
  test::Coordinates<1> const line{{0, {most}}, {0, {-most}}, {0, {0}}};
  auto const set = make_coordinate_set(line, CoordinateSetOptions<1>{}, exec);
  for (auto const curve : std::vector<SpaceFillingCurve>{z_order, hilbert}) {
    auto const codes = download(curve_codes(*set, curve, exec), exec);
    CHECK(codes == std::vector<std::uint64_t>{std::uint64_t{2} * most, 0, most});
  }
  test::Coordinates<3> const far{{0, {0, 0, 0}}, {0, {1 << 21, 0, 0}}};
  auto const wide = make_coordinate_set(far, CoordinateSetOptions<3>{}, exec);
  CHECK_THROWS_WITH_AS(
      static_cast<void>(curve_codes(*wide, z_order, exec)),
      "curve_codes: 3 axes of 22 bits and 1 batch entries need codes of 66 bits; 63 is the most",
      invalid_argument);
}
