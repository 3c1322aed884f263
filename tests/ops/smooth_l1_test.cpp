// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "gradient_check.hpp"

#include <tessera/ops/loss/add_losses.hpp>
#include <tessera/ops/loss/smooth_l1.hpp>

#include <cmath>
#include <limits>
#include <utility>
#include <vector>

using namespace tessera;

namespace {

double definition(std::vector<double> const& x, std::vector<double> const& target,
                  std::vector<double> const& weights, std::size_t columns, double beta, bool is_mean)
{
  double sum = 0;
  double weight = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    auto const d = std::abs(x[i] - target[i]);
    sum += weights[i / columns] * (d < beta ? d * d / (2 * beta) : d - beta / 2);
    weight += weights[i / columns];
  }
  return !is_mean ? sum : weight > 0 ? sum / weight : 0;
}

}  // namespace

TEST_CASE_TEMPLATE("smooth L1: values and gradients agree with the definition", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  constexpr std::size_t columns = 3;
  for (std::size_t const rows : {0U, 1U, 21U}) {
    auto const values = test::random_values(rows * columns, 1);
    auto const target = test::random_values(rows * columns, 2);
    std::vector<double> weights;
    for (std::size_t i = 0; i < rows; ++i) { weights.push_back(static_cast<double>(i % 3)); }
    auto const target_there = upload_matrix(target, columns, exec);
    auto const weights_there = upload(weights, exec);
    for (double const beta : {0.0, 0.3, 1.0}) {
      for (bool const is_mean : {true, false}) {
        for (bool const is_weighted : {true, false}) {
          CAPTURE(rows);
          CAPTURE(beta);
          auto const by = is_weighted ? weights : std::vector<double>(rows, 1.0);
          auto const options = SmoothL1Options<double>()
                                   .beta(beta)
                                   .reduction(is_mean ? ops::Reduction::mean : ops::Reduction::sum)
                                   .row_weights(is_weighted ? weights_there.data() : nullptr);
          auto const x = upload_matrix(values, columns, exec);
          auto const loss = smooth_l1(x, target_there, options, exec);
          test::check_close(test::on_host(loss, exec),
                            {definition(values, target, by, columns, beta, is_mean)}, 1e-12);
          auto const record = test::recorded(
              exec, [&](auto const& inside) { return smooth_l1(x, target_there, options, inside); });
          auto const grad = upload_matrix(std::vector<double>{2}, 1, exec);
          auto const found =
              test::input_gradients<double>(*record, upload_matrix(std::vector<double>{2}, 1, exec), exec)
                  .at(0);
          auto const expected = test::finite_differences(
              values, [&](auto const& v) { return 2 * definition(v, target, by, columns, beta, is_mean); },
              1e-6);
          test::check_close(found, expected, 1e-8);
          auto const plain = smooth_l1_backward(grad, x, target_there, options, exec);
          CHECK(test::same_bits(test::on_host(plain, exec), found));
        }
      }
    }
  }
}

TEST_CASE_TEMPLATE("smooth L1: every scalar, only the rows in use, and NaN flows", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  test::for_each_scalar([&](auto scalar) {
    using Scalar = decltype(scalar);
    using Sum = accumulator_t<Scalar>;
    auto host = test::random_tensor<Scalar>(300, 5, {0, 1}, 3);
    auto const x = test::upload_tensor<Scalar>(host, exec);
    auto const zeros = upload_matrix(std::vector<Scalar>(1500, test::from_double<Scalar>(0)), 5, exec);
    auto const loss = smooth_l1(x, zeros, {}, exec);
    test::check_close(
        test::on_host(loss, exec),
        {definition(host.features, std::vector<double>(1500), std::vector<double>(300, 1.0), 5, 1, true)},
        10 * test::rounding<Sum>());
    CHECK(test::same_bits(test::on_host(loss, exec), test::on_host(smooth_l1(x, zeros, {}, exec), exec)));

    CoordinateSetOptions<3> const options{1, SpatialRange<3>{2, {50, 50, 50}}};
    auto count = upload(std::vector<std::int32_t>{200}, exec);
    auto set =
        CoordinateSet<3, Space>::make({upload(host.coordinates, exec), std::move(count)}, options, exec);
    auto const used =
        SparseTensor<3, Scalar, Space>{set, upload_matrix(test::rounded<Scalar>(host.features), 5, exec)};
    auto const features = std::vector<double>(host.features.begin(), host.features.begin() + 1000);
    test::check_close(
        test::on_host(smooth_l1(used, zeros, {}, exec), exec),
        {definition(features, std::vector<double>(1000), std::vector<double>(200, 1.0), 5, 1, true)},
        10 * test::rounding<Sum>());
    auto const grad = upload_matrix(std::vector<Sum>{1}, 1, exec);
    auto const dx = test::on_host(smooth_l1_backward(grad, used, zeros, {}, exec), exec);
    for (std::size_t i = 1000; i < dx.size(); ++i) { REQUIRE(test::wide(dx[i]) == 0); }

    host.features[7] = std::numeric_limits<double>::quiet_NaN();
    auto const broken = test::upload_tensor<Scalar>(host, exec);
    CHECK(std::isnan(test::wide(test::on_host(smooth_l1(broken, zeros, {}, exec), exec)[0])));
    CHECK(std::isnan(test::wide(test::on_host(smooth_l1_backward(grad, broken, zeros, {}, exec), exec)[7])));
  });
  auto const x = upload_matrix(std::vector<float>{1, 2}, 2, exec);
  auto const other = upload_matrix(std::vector<float>{1, 2}, 1, exec);
  CHECK_THROWS_WITH_AS(static_cast<void>(smooth_l1(x, other, {}, exec)),
                       doctest::Contains("targets of 2 x 1 for 1 rows of 2 columns"), invalid_argument);
}

TEST_CASE_TEMPLATE("add_losses: a weighted sum, whose gradient for each loss is its own times the weight",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const one = [&](double value) { return upload_matrix(std::vector<double>{value}, 1, exec); };
  auto const a = one(3);
  auto const b = one(5);
  CHECK(test::on_host(add_losses(a, 2, b, 0.5, exec), exec) == std::vector<double>{8.5});
  auto const record = test::recorded(exec, [&](auto const& e) { return add_losses(a, 2, b, 0.5, e); });
  auto const found = test::input_gradients<double>(*record, one(10), exec);
  CHECK(found == std::vector<std::vector<double>>{{20}, {5}});
  auto const two = upload_matrix(std::vector<double>{1, 2}, 2, exec);
  CHECK_THROWS_WITH_AS(static_cast<void>(add_losses(a, 1, two, 1, exec)),
                       doctest::Contains("losses are 1 x 1"), invalid_argument);
}
