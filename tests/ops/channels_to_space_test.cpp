// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../nn/tensors.hpp"
#include "../support/device.hpp"
#include "gradient_check.hpp"

#include <tessera/ops/channels_to_space.hpp>

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

using namespace tessera;

namespace {

constexpr auto row_major = ChildOrder::last_axis_fastest;
constexpr auto trellis = ChildOrder::first_axis_fastest;

/// A tensor on the host and in the space.
template <int Dim, class Scalar, class Space>
struct Case {
  test::Coordinates<Dim> rows;
  std::vector<Scalar> features;
  SparseTensor<Dim, Scalar, Space> x;
};

template <int Dim, class Scalar, class Space>
Case<Dim, Scalar, Space> make_case(std::size_t count, int channels, unsigned seed,
                                   CoordinateSetOptions<Dim> const& options, Execution<Space> const& exec)
{
  Case<Dim, Scalar, Space> result;
  int const lowest = options.spatial_range ? 0 : -3;
  result.rows =
      test::random_coordinates<Dim>(count, 3, IntArray<Dim>(lowest), IntArray<Dim>(lowest + 6), seed);
  for (auto& row : result.rows) { row.batch = row.batch == 1 ? 2 : row.batch; }  // entry 1 has no voxels
  result.rows = test::sorted_unique(result.rows);
  std::shuffle(result.rows.begin(), result.rows.end(), std::mt19937{seed});
  auto const size = result.rows.size() * static_cast<std::size_t>(channels);
  result.features = test::rounded<Scalar>(test::random_values(size, seed + 1));
  result.x = {make_coordinate_set(result.rows, options, exec),
              upload_matrix(result.features, channels, exec)};
  return result;
}

/// The bits of child `number`, as the documentation gives them.
template <int Dim>
int number_of(IntArray<Dim> const& bits, ChildOrder order)
{
  int number = 0;
  for (int i = 0; i < Dim; ++i) { number += bits[i] << (order == trellis ? i : Dim - 1 - i); }
  return number;
}

template <int Dim>
IntArray<Dim> bits_of(int number, ChildOrder order)
{
  for (auto const& bits : test::kernel_digits(IntArray<Dim>(2))) {
    if (number_of(bits, order) == number) { return bits; }
  }
  return IntArray<Dim>(-1);
}

/// Children of rows in their order, by `has(row, number)`.
template <int Dim, class Scalar, class Has>
std::pair<test::Coordinates<Dim>, std::vector<Scalar>> split(test::Coordinates<Dim> const& rows,
                                                             std::vector<Scalar> const& features, int pieces,
                                                             ChildOrder order, Has const& has)
{
  std::pair<test::Coordinates<Dim>, std::vector<Scalar>> result;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (int k = 0; k < 1 << Dim; ++k) {
      if (!has(i, k)) { continue; }
      auto const bits = bits_of<Dim>(k, order);
      auto child = rows[i];
      for (int axis = 0; axis < Dim; ++axis) { child.position[axis] = 2 * child.position[axis] + bits[axis]; }
      result.first.push_back(child);
      for (int c = 0; c < pieces; ++c) {
        result.second.push_back(
            features[(i * (1U << Dim) + static_cast<std::size_t>(k)) * static_cast<std::size_t>(pieces) +
                     static_cast<std::size_t>(c)]);
      }
    }
  }
  return result;
}

template <int Dim, class Scalar, class Space>
void check_equal(SparseTensor<Dim, Scalar, Space> const& found, test::Coordinates<Dim> const& rows,
                 std::vector<Scalar> const& features, Execution<Space> const& exec)
{
  CHECK(found.coordinates_on_host(exec) == rows);
  CHECK(test::same_bits(found.features_on_host(exec), features));
}

/// Whether row i has child k: some rows none, some all.
bool drawn(std::size_t i, int k)
{
  return i % 5 != 0 &&
         (i % 5 == 1 ||
          (i * 7 + static_cast<std::size_t>(k) * 13 + i * static_cast<std::size_t>(k)) % 3 == 0);
}

std::vector<std::uint8_t> drawn_mask(std::size_t rows, int children)
{
  auto const bytes = static_cast<std::size_t>((children + 7) / 8);
  std::vector<std::uint8_t> mask(rows * bytes, 0);
  for (std::size_t i = 0; i < rows; ++i) {
    for (int k = 0; k < children; ++k) {
      auto& byte = mask[i * bytes + static_cast<std::size_t>(k / 8)];
      if (drawn(i, k)) { byte = static_cast<std::uint8_t>(byte | 1 << k % 8); }
    }
  }
  return mask;
}

template <int Dim, class Scalar, class Space>
void check_split(int pieces, ChildOrder order)
{
  CAPTURE(Dim);
  CAPTURE(pieces);
  Execution<Space> const exec{};
  constexpr int children = 1 << Dim;
  constexpr int bytes = (children + 7) / 8;
  CoordinateSetOptions<Dim> options;
  options.tensor_stride = 6;
  auto const c = make_case<Dim, Scalar, Space>(40, children * pieces, 3, options, exec);
  auto const mask = upload_matrix(drawn_mask(c.rows.size(), children), bytes, exec);
  auto const y = channels_to_space(c.x, mask, order, exec);
  auto const expected = split<Dim>(c.rows, c.features, pieces, order, drawn);
  check_equal(y, expected.first, expected.second, exec);
  CHECK(y.tensor_stride() == IntArray<Dim>(3));
  CHECK(y.coordinates()->num_batches() == c.x.coordinates()->num_batches());

  // logits that mean the same
  std::vector<Scalar> logits;
  for (std::size_t i = 0; i < c.rows.size(); ++i) {
    for (int k = 0; k < children; ++k) {
      logits.push_back(test::from_double<Scalar>(drawn(i, k) ? 0.5 : 0.25));
    }
  }
  auto const by_logits = channels_to_space_above(
      c.x, c.x.with_features(upload_matrix(logits, children, exec)), 0.25, order, exec);
  check_equal(by_logits, expected.first, expected.second, exec);

  // the same children again, with what was remembered
  auto const again = channels_to_space_like(c.x, y, order, exec);
  CHECK(again.coordinates() == y.coordinates());
  CHECK(test::same_bits(again.features_on_host(exec), expected.second));

  // and of children the parents: those of some child, with zeros where a child is not there
  auto const back = space_to_channels(y, order, exec);
  CHECK(back.tensor_stride() == IntArray<Dim>(6));
  test::Coordinates<Dim> parents;
  for (std::size_t i = 0; i < c.rows.size(); ++i) {
    for (int k = 0; k < children; ++k) {
      if (drawn(i, k)) { parents.push_back(c.rows[i]); }
    }
  }
  parents = test::sorted_unique(parents);
  std::vector<Scalar> side_by_side;
  for (auto const& parent : parents) {
    auto const i = static_cast<std::size_t>(std::find(c.rows.begin(), c.rows.end(), parent) - c.rows.begin());
    for (int n = 0; n < children * pieces; ++n) {
      auto const at = i * static_cast<std::size_t>(children * pieces) + static_cast<std::size_t>(n);
      side_by_side.push_back(drawn(i, n / pieces) ? c.features[at] : test::from_double<Scalar>(0));
    }
  }
  check_equal(back, parents, side_by_side, exec);
  // there and back, by looking the children up
  auto const there = channels_to_space_like(back, y, order, exec);
  CHECK(there.coordinates() == y.coordinates());
  CHECK(test::same_bits(there.features_on_host(exec), expected.second));
}

}  // namespace

TEST_CASE_TEMPLATE("channels_to_space: each child its piece of the channels, in both numberings", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  test::for_each_scalar([&](auto scalar) {
    using Scalar = decltype(scalar);
    for (int const pieces : {1, 3, 8}) {
      check_split<3, Scalar, Space>(pieces, row_major);
      check_split<3, Scalar, Space>(pieces, trellis);
    }
  });
  check_split<1, float, Space>(2, row_major);
  check_split<2, float, Space>(4, trellis);
  check_split<4, float, Space>(1, trellis);
  check_split<4, float, Space>(2, row_major);
}

TEST_CASE("channels_to_space: children are numbered as TRELLIS.2 numbers them, or as offsets are")
{
  // x is bit 0 in TRELLIS.2: subidx = x + 2 y + 4 z
  CHECK(detail::child_bits<3>(1, trellis) == IntArray<3>{1, 0, 0});
  CHECK(detail::child_bits<3>(4, trellis) == IntArray<3>{0, 0, 1});
  CHECK(detail::child_bits<3>(1, row_major) == IntArray<3>{0, 0, 1});
  CHECK(detail::child_bits<3>(4, row_major) == IntArray<3>{1, 0, 0});
  CHECK(detail::reordered_child<3>(1, trellis) == 4);
  CHECK(detail::reordered_child<3>(6, trellis) == 3);
  CHECK(detail::reordered_child<3>(6, row_major) == 6);
}

TEST_CASE_TEMPLATE("channels_to_space: nothing to split, nothing split, NaN, and what cannot be meant", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const c = make_case<3, float, Space>(5, 16, 1, {}, exec);
  auto const rows = static_cast<std::int64_t>(c.rows.size());
  auto const masked = [&](std::uint8_t value) {
    return upload_matrix(std::vector<std::uint8_t>(static_cast<std::size_t>(rows), value), 1, exec);
  };
  auto const nothing = channels_to_space(c.x, masked(0), row_major, exec);
  CHECK(nothing.num_rows() == 0);
  CHECK(nothing.channels() == 2);
  Matrix<std::uint8_t, Space> const no_mask{0, 1, exec};
  CHECK(channels_to_space(nothing.with_features(Matrix<float, Space>{0, 8, exec}), no_mask, row_major, exec)
            .num_rows() == 0);
  CHECK(space_to_channels(nothing, row_major, exec).num_rows() == 0);
  CHECK(channels_to_space(c.x, masked(255), row_major, exec).num_rows() == 8 * rows);

  std::vector<float> const logits(static_cast<std::size_t>(8 * rows),
                                  std::numeric_limits<float>::quiet_NaN());
  auto const none = c.x.with_features(upload_matrix(logits, 8, exec));
  CHECK(channels_to_space_above(c.x, none, 0, row_major, exec).num_rows() == 0);

  auto const odd = make_case<3, float, Space>(4, 9, 1, {}, exec);
  auto const four = upload_matrix(std::vector<std::uint8_t>(odd.rows.size(), 1), 1, exec);
  CHECK_THROWS_WITH_AS(static_cast<void>(channels_to_space(odd.x, four, row_major, exec)),
                       "channels_to_space: 9 channels do not make the 8 children of a voxel",
                       invalid_argument);
  Matrix<std::uint8_t, Space> const wide{rows, 2, exec};
  CHECK_THROWS_AS(static_cast<void>(channels_to_space(c.x, wide, row_major, exec)), invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(channels_to_space_above(c.x, c.x, 0, row_major, exec)), invalid_argument);
  CHECK_THROWS_WITH_AS(
      static_cast<void>(channels_to_space_like(c.x, odd.x, row_major, exec)),
      "channels_to_space: the voxels to go back to were not made from, nor led to, those of the tensor",
      invalid_argument);
  std::vector<Coordinate<1>> const far{{0, {1 << 29}}};
  SparseTensor<1, float, Space> const at_limit{make_coordinate_set(far, CoordinateSetOptions<1>{}, exec),
                                               upload_matrix(std::vector<float>{1, 2}, 2, exec)};
  CHECK_THROWS_AS(static_cast<void>(channels_to_space(
                      at_limit, upload_matrix(std::vector<std::uint8_t>{3}, 1, exec), row_major, exec)),
                  invalid_argument);
}

TEST_CASE_TEMPLATE("channels_to_space: the numbers of children stay in the space where room is fixed", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for (bool const fits : {true, false}) {
    CAPTURE(fits);
    CoordinateSetOptions<3> options;
    options.tensor_stride = 4;
    options.spatial_range = SpatialRange<3>{3, {7, 8, 9}};
    options.fixed_capacity = FixedCapacity{400};
    auto const host = make_case<3, float, Space>(60, 16, 5, options, exec);
    auto const used = host.rows.size() - 7;  // the last rows are not in use
    auto const expected = split<3>(host.rows, host.features, 2, row_major,
                                   [&](std::size_t i, int k) { return i < used && drawn(i, k); });
    auto const children = static_cast<std::int64_t>(expected.first.size());
    options.fixed_capacity->max_rows_at = {{2, fits ? children : children - 1}};
    auto const x = test::tensor_in_room(host.rows, host.features, used, options, exec);
    auto const mask = upload_matrix(drawn_mask(host.rows.size(), 8), 1, exec);
    auto const y = channels_to_space(x, mask, row_major, exec);
    CHECK(y.coordinates()->has_device_count());
    CHECK(y.capacity() == (fits ? children : children - 1));
    CHECK(y.coordinates()->spatial_range() == SpatialRange<3>{3, {14, 16, 18}});
    if (!fits) {
      CHECK_THROWS_WITH_AS(static_cast<void>(y.features_on_host(exec)),
                           "coordinates: more rows than the capacity given", invalid_argument);
      continue;
    }
    check_equal(y, expected.first, expected.second, exec);
    auto const back = space_to_channels(y, row_major, exec);
    check_equal(channels_to_space_like(back, y, row_major, exec), expected.first, expected.second, exec);
    auto const dx = channels_to_space_backward<3, float, Space>(y.features(), y, x, row_major, exec);
    auto const found = download(dx.data(), dx.size(), exec);
    for (std::size_t n = 0; n < found.size(); ++n) {
      bool const is_child = n / 16 < used && drawn(n / 16, static_cast<int>(n % 16 / 2));
      CHECK(found[n] == (is_child ? host.features[n] : 0.0F));
    }
  }
}

TEST_CASE_TEMPLATE("channels_to_space, space_to_channels: gradients agree with finite differences", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const c = make_case<2, double, Space>(9, 8, 6, {}, exec);
  auto const mask = upload_matrix(drawn_mask(c.rows.size(), 4), 1, exec);
  for (auto const order : std::array<ChildOrder, 2>{row_major, trellis}) {
    auto const with = [&](std::vector<double> const& v) {
      return c.x.with_features(upload_matrix(v, 8, exec));
    };
    auto const y = channels_to_space(c.x, mask, order, exec);
    auto const cotangent = test::random_values(static_cast<std::size_t>(y.features().size()), 7);
    auto const grad = upload_matrix(cotangent, 2, exec);
    auto const dx = channels_to_space_backward<2, double, Space>(grad.view(), y, c.x, order, exec);
    test::check_close(
        download(dx.data(), dx.size(), exec),
        test::finite_differences(c.features,
                                 [&](auto const& v) {
                                   return test::dot(
                                       channels_to_space(with(v), mask, order, exec).features_on_host(exec),
                                       cotangent);
                                 }),
        1e-8);
    auto const z = space_to_channels(c.x, order, exec);
    auto const coarse = test::random_values(static_cast<std::size_t>(z.features().size()), 8);
    auto const coarse_grad = upload_matrix(coarse, z.channels(), exec);
    auto const dz = space_to_channels_backward<2, double, Space>(coarse_grad.view(), c.x, order, exec);
    test::check_close(download(dz.data(), dz.size(), exec),
                      test::finite_differences(
                          c.features,
                          [&](auto const& v) {
                            return test::dot(space_to_channels(with(v), order, exec).features_on_host(exec),
                                             coarse);
                          }),
                      1e-8);
  }
}
