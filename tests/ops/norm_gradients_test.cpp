// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "norm_cases.hpp"

#include <cmath>
#include <type_traits>
#include <vector>

using namespace norm_cases;

namespace {

/// Normalises by means over (key of a row, group), or by `given` statistics; the definition.
template <class KeyOf>
std::vector<double> definition(std::vector<double> const& x, int channels, int groups, KeyOf const& key_of,
                               std::vector<double> const& weight, std::vector<double> const& bias)
{
  auto const rows = static_cast<int>(x.size()) / channels;
  auto const size = channels / groups;
  std::vector<double> y(x.size());
  for (int row = 0; row < rows; ++row) {
    for (int c = 0; c < channels; ++c) {
      double mean = 0;
      double square = 0;
      double count = 0;
      for (int pass = 0; pass < 2; ++pass) {
        for (int other = 0; other < rows; ++other) {
          if (key_of(other) != key_of(row)) { continue; }
          for (int d = c / size * size; d < (c / size + 1) * size; ++d) {
            auto const value = x[static_cast<std::size_t>(other * channels + d)];
            if (pass == 0) {
              mean += value;
              count += 1;
            } else {
              square += (value - mean) * (value - mean);
            }
          }
        }
        if (pass == 0) { mean /= count; }
      }
      auto const at = static_cast<std::size_t>(row * channels + c);
      auto const channel = static_cast<std::size_t>(c);
      y[at] = (x[at] - mean) / std::sqrt(square / count + eps) * weight[channel] + bias[channel];
    }
  }
  return y;
}

/// Finite differences of the definition.
template <class Function>
Found<double> differences(std::vector<double> const& x, std::vector<double> const& weight,
                          std::vector<double> const& bias, std::vector<double> const& cotangent,
                          Function const& function)
{
  return {test::finite_differences(
              x, [&](auto const& v) { return test::dot(function(v, weight, bias), cotangent); }),
          test::finite_differences(weight,
                                   [&](auto const& v) { return test::dot(function(x, v, bias), cotangent); }),
          test::finite_differences(
              bias, [&](auto const& v) { return test::dot(function(x, weight, v), cotangent); })};
}

void check_all(Found<double> const& found, Found<double> const& expected)
{
  test::check_close(found.x, expected.x, 1e-7);
  test::check_close(found.weight, expected.weight, 1e-7);
  test::check_close(found.bias, expected.bias, 1e-7);
}

}  // namespace

TEST_CASE_TEMPLATE("batch norm: gradients in training agree with finite differences of the definition", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for (int const channels : {1, 3, 4}) {
    for (int const rows : {2, 9, 70}) {
      if (rows * channels > 210) { continue; }
      CAPTURE(channels);
      CAPTURE(rows);
      auto const count = static_cast<std::size_t>(rows * channels);
      auto const values = test::random_values(count, 1);
      auto const cotangent = test::random_values(count, 2);
      Affine<double, Space> affine{channels, exec};
      Running<double, Space> running{channels, exec};
      auto const expected = differences(values, affine.weight_values, affine.bias_values, cotangent,
                                        [&](auto const& x, auto const& weight, auto const& bias) {
                                          return definition(
                                              x, channels, channels, [](int) { return 0; }, weight, bias);
                                        });
      auto const x = tensor_of<3, double>(values, channels, exec);
      check_all(by_record<double>(affine, cotangent, channels, exec,
                                  [&](auto const& inside) {
                                    return batch_norm_training(x, running.options(), affine.weight_ref(),
                                                               affine.bias_ref(), eps, inside);
                                  }),
                expected);
      // the plain function, of a matrix, adds where it is told to
      auto const matrix = upload_matrix(values, channels, exec);
      auto const grad = upload_matrix(cotangent, channels, exec);
      auto const statistics = batch_statistics(matrix, nullptr, exec);
      ops::AffineGradients<double> const to{affine.weight_grad.data(), affine.bias_grad.data(),
                                            GradientMode::accumulate};
      auto const dx = batch_norm_training_backward(grad, matrix, statistics, affine.weight.data(), eps, to,
                                                   nullptr, exec);
      auto twice = expected;
      for (auto& value : twice.weight) { value *= 2; }
      for (auto& value : twice.bias) { value *= 2; }
      check_all(
          {test::on_host(dx, exec), download(affine.weight_grad, exec), download(affine.bias_grad, exec)},
          twice);
    }
  }
}

TEST_CASE_TEMPLATE("batch norm: gradients in evaluation agree with finite differences of the definition",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  constexpr int channels = 3;
  auto const values = test::random_values(15, 1);
  auto const cotangent = test::random_values(15, 2);
  std::vector<double> const mean{0.5, -1, 2};
  std::vector<double> const variance{0.1, 2, 30};
  Affine<double, Space> affine{channels, exec};
  auto const mean_there = upload(mean, exec);
  auto const variance_there = upload(variance, exec);
  auto const expected =
      differences(values, affine.weight_values, affine.bias_values, cotangent,
                  [&](auto const& x, auto const& weight, auto const& bias) {
                    std::vector<double> y;
                    for (std::size_t i = 0; i < x.size(); ++i) {
                      auto const c = i % channels;
                      y.push_back((x[i] - mean[c]) / std::sqrt(variance[c] + eps) * weight[c] + bias[c]);
                    }
                    return y;
                  });
  auto const x = tensor_of<2, double>(values, channels, exec);
  auto const run = [&](auto const& value) {
    return [&](auto const& inside) {
      return batch_norm(value, mean_there.data(), variance_there.data(), affine.weight_ref(),
                        affine.bias_ref(), eps, inside);
    };
  };
  check_all(by_record<double>(affine, cotangent, channels, exec, run(x)), expected);
  Affine<double, Space> again{channels, exec};
  auto const matrix = upload_matrix(values, channels, exec);
  BatchNormOptions<double> const options{
      mean_there.data(), variance_there.data(), again.weight.data(), again.bias.data(), channels, eps};
  auto const grad = upload_matrix(cotangent, channels, exec);
  auto const dx =
      batch_norm_backward(grad, matrix, options, {again.weight_grad.data(), again.bias_grad.data()}, exec);
  check_all({test::on_host(dx, exec), download(again.weight_grad, exec), download(again.bias_grad, exec)},
            expected);
}

TEST_CASE_TEMPLATE("group norm: gradients agree with finite differences of the definition", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const check = [&](auto dim, int channels, int groups, int rows) {
    constexpr int Dim = decltype(dim)::value;
    CAPTURE(Dim);
    CAPTURE(groups);
    auto const count = static_cast<std::size_t>(rows * channels);
    auto const values = test::random_values(count, 1);
    auto const cotangent = test::random_values(count, 2);
    auto const coordinates = test::small_grid<Dim>(rows);
    Affine<double, Space> affine{channels, exec};
    auto const expected = differences(
        values, affine.weight_values, affine.bias_values, cotangent,
        [&](auto const& x, auto const& weight, auto const& bias) {
          return definition(
              x, channels, groups, [&](int row) { return coordinates[static_cast<std::size_t>(row)].batch; },
              weight, bias);
        });
    auto const x = tensor_of<Dim, double>(values, channels, exec);
    check_all(by_record<double>(affine, cotangent, channels, exec,
                                [&](auto const& inside) {
                                  return group_norm(x, groups, affine.weight_ref(), affine.bias_ref(), eps,
                                                    inside);
                                }),
              expected);
    auto const grad = upload_matrix(cotangent, channels, exec);
    ops::AffineGradients<double> const to{affine.weight_grad.data(), affine.bias_grad.data()};
    auto const dx = group_norm_backward(grad.view(), x, groups, affine.weight.data(), eps, to, exec);
    check_all({test::on_host(dx, exec), download(affine.weight_grad, exec), download(affine.bias_grad, exec)},
              expected);
  };
  check(std::integral_constant<int, 1>{}, 4, 2, 9);
  check(std::integral_constant<int, 2>{}, 4, 4, 9);  // instance norm
  check(std::integral_constant<int, 3>{}, 6, 2, 20);
  check(std::integral_constant<int, 4>{}, 2, 1, 3);
}
