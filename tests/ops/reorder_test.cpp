// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "gradient_check.hpp"

#include <tessera/ops/reorder.hpp>

#include <vector>

using namespace tessera;

namespace {

/// reorder() and restore_order() of `rows` voxels, and their gradients by finite differences.
template <int Dim, class Space>
void check_dimension(int rows, SpaceFillingCurve curve)
{
  CAPTURE(Dim);
  CAPTURE(rows);
  Execution<Space> const exec{};
  auto coordinates = test::small_grid<Dim>(rows);
  for (auto& row : coordinates) { row.batch *= 2; }  // entry 1 has no voxels
  auto const set = make_coordinate_set(coordinates, CoordinateSetOptions<Dim>{}, exec);
  auto const values = test::random_values(coordinates.size() * 2, 3);
  auto const cotangent = test::random_values(coordinates.size() * 2, 4);
  auto const tensor = [&](std::vector<double> const& v) {
    return SparseTensor<Dim, double, Space>{set, upload_matrix(v, 2, exec)};
  };
  auto const x = tensor(values);
  auto const order = curve_order(*set, curve, exec);
  auto const y = reorder(x, order, exec);
  auto const numbers = download(order.data(), order.size(), exec);
  std::vector<Coordinate<Dim>> expected;
  for (auto const number : numbers) { expected.push_back(coordinates[static_cast<std::size_t>(number)]); }
  CHECK(y.coordinates_on_host(exec) == expected);
  CHECK(restore_order(y, order, x, exec).features_on_host(exec) == values);

  auto const gradient_of = [&](auto const& run) {
    auto const record = test::recorded(exec, run);
    return test::input_gradients<double>(*record, upload_matrix(cotangent, 2, exec), exec).at(0);
  };
  auto const there = [&](std::vector<double> const& v) {
    return test::dot(reorder(tensor(v), order, exec).features_on_host(exec), cotangent);
  };
  test::check_close(gradient_of([&](auto const& own) { return reorder(x, order, own); }),
                    test::finite_differences(values, there), 1e-8);
  auto const back = [&](std::vector<double> const& v) {
    auto const moved = y.with_features(upload_matrix(v, 2, exec));
    return test::dot(restore_order(moved, order, x, exec).features_on_host(exec), cotangent);
  };
  test::check_close(gradient_of([&](auto const& own) { return restore_order(y, order, x, own); }),
                    test::finite_differences(values, back), 1e-8);
}

}  // namespace

TEST_CASE_TEMPLATE("reorder, restore_order: values and gradients in one to four dimensions", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  for (int const rows : std::vector<int>{0, 1, 13}) {
    check_dimension<1, Space>(rows, SpaceFillingCurve::hilbert);
    check_dimension<2, Space>(rows, SpaceFillingCurve::z_order);
    check_dimension<3, Space>(rows, SpaceFillingCurve::hilbert);
    check_dimension<4, Space>(rows, SpaceFillingCurve::hilbert);
  }
}

TEST_CASE_TEMPLATE("reorder: rows along a curve, and back", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  test::for_each_scalar([&](auto scalar) {
    using Scalar = decltype(scalar);
    for (int const channels : {3, 8}) {
      auto const host = test::random_tensor<Scalar>(300, channels, {0, 2}, 5);
      auto const x = test::upload_tensor<Scalar>(host, exec);
      auto const order = curve_order(*x.coordinates(), SpaceFillingCurve::hilbert, exec);
      auto const rows = download(order.data(), order.size(), exec);
      auto const y = reorder(x, order, exec);
      std::vector<Coordinate<3>> coordinates;
      std::vector<double> features;
      for (auto const row : rows) {
        coordinates.push_back(host.coordinates[static_cast<std::size_t>(row)]);
        for (int c = 0; c < channels; ++c) { features.push_back(host.at(static_cast<std::size_t>(row), c)); }
      }
      CHECK(y.coordinates_on_host(exec) == coordinates);
      CHECK(test::same_bits(y.features_on_host(exec), test::rounded<Scalar>(features)));
      auto const codes = download(curve_codes(*y.coordinates(), SpaceFillingCurve::hilbert, exec), exec);
      CHECK(std::is_sorted(codes.begin(), codes.end()));
      auto const back = restore_order(y, order, x, exec);
      CHECK(back.coordinates() == x.coordinates());
      CHECK(test::same_bits(back.features_on_host(exec), test::rounded<Scalar>(host.features)));
    }
  });
  auto const x = test::upload_tensor<float>(test::random_tensor<float>(5, 1, {0}, 1), exec);
  Matrix<std::int32_t, Space> const wrong{4, 1, exec};
  CHECK_THROWS_AS(static_cast<void>(reorder(x, wrong, exec)), invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(restore_order(x, wrong, x, exec)), invalid_argument);
  auto const nothing = test::upload_tensor<float>(test::random_tensor<float>(0, 1, {0}, 1), exec);
  auto const none = curve_order(*nothing.coordinates(), SpaceFillingCurve::z_order, exec);
  CHECK(reorder(nothing, none, exec).num_rows() == 0);
}

TEST_CASE_TEMPLATE("reorder, restore_order: the gradient of each is the other", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const host = test::random_tensor<double>(40, 2, {0, 1}, 6);
  auto const x = test::upload_tensor<double>(host, exec);
  auto const order = curve_order(*x.coordinates(), SpaceFillingCurve::z_order, exec);
  auto const y = reorder(x, order, exec);
  auto const values = test::random_values(80, 2);
  auto const there = test::recorded(exec, [&](auto const& own) { return reorder(x, order, own); });
  auto const found = test::input_gradients<double>(*there, upload_matrix(values, 2, exec), exec);
  auto const expected = restore_order(y.with_features(upload_matrix(values, 2, exec)), order, x, exec);
  CHECK(found[0] == expected.features_on_host(exec));
  auto const back = test::recorded(exec, [&](auto const& own) { return restore_order(y, order, x, own); });
  auto const again = test::input_gradients<double>(*back, upload_matrix(values, 2, exec), exec);
  auto const of_back = reorder(x.with_features(upload_matrix(values, 2, exec)), order, exec);
  CHECK(again[0] == of_back.features_on_host(exec));
}
