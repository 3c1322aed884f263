// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "gradient_check.hpp"

#include <tessera/ops/reorder.hpp>

#include <vector>

using namespace tessera;

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
