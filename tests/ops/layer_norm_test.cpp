// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../nn/tensors.hpp"
#include "../support/device.hpp"
#include "gradient_check.hpp"

#include <tessera/nn/layer_norm.hpp>

#include <cmath>
#include <limits>
#include <vector>

using namespace tessera;

namespace {

constexpr double eps = 1e-3;

/// layer_norm() as its formula says.
std::vector<double> by_definition(std::vector<double> const& x, std::vector<double> const& weight,
                                  std::vector<double> const& bias)
{
  auto const channels = weight.size();
  std::vector<double> y;
  for (std::size_t row = 0; row * channels < x.size(); ++row) {
    double mean = 0;
    for (std::size_t c = 0; c < channels; ++c) { mean += x[row * channels + c]; }
    mean /= static_cast<double>(channels);
    double variance = 0;
    for (std::size_t c = 0; c < channels; ++c) { variance += std::pow(x[row * channels + c] - mean, 2); }
    variance /= static_cast<double>(channels);
    for (std::size_t c = 0; c < channels; ++c) {
      y.push_back((x[row * channels + c] - mean) / std::sqrt(variance + eps) * weight[c] + bias[c]);
    }
  }
  return y;
}

template <class Sum, class Space>
ParameterRef<Sum> ref(Buffer<Sum, Space> const& values)
{
  return {values.data()};
}

}  // namespace

TEST_CASE_TEMPLATE("layer_norm: each voxel by the mean and variance of its own channels", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  test::for_each_scalar([&](auto scalar) {
    using Scalar = decltype(scalar);
    using Sum = accumulator_t<Scalar>;
    for (int const channels : {1, 3, 8, 40, 257, 1024}) {
      CAPTURE(channels);
      auto const host = test::random_tensor<Scalar>(70, channels, {0, 2}, 11);
      auto const count = static_cast<std::size_t>(channels);
      auto const weight = test::random_values(count, 1);
      auto const bias = test::random_values(count, 2);
      auto const own_weight = upload(test::rounded<Sum>(weight), exec);
      auto const own_bias = upload(test::rounded<Sum>(bias), exec);
      auto const x = test::upload_tensor<Scalar>(host, exec);
      auto const y = layer_norm(x, ref(own_weight), ref(own_bias), eps, exec);
      CHECK(y.coordinates() == x.coordinates());
      auto const expected = by_definition(host.features, weight, bias);
      test::check_close(y.features_on_host(exec), expected, 4 * test::rounding<Scalar>());

      auto const rows = upload_matrix(test::rounded<Scalar>(host.features), channels, exec);
      auto const of_rows = layer_norm(rows, ref(own_weight), ref(own_bias), eps, exec);
      CHECK(test::same_bits(download(of_rows.data(), of_rows.size(), exec), y.features_on_host(exec)));

      auto const plain = layer_norm(x, {nullptr}, {nullptr}, eps, exec);
      auto const of_plain =
          by_definition(host.features, std::vector<double>(count, 1), std::vector<double>(count, 0));
      test::check_close(plain.features_on_host(exec), of_plain, 4 * test::rounding<Scalar>());
    }
  });
}

TEST_CASE_TEMPLATE("layer_norm: NaN stays in its row, and no rows are no rows", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto host = test::random_tensor<float>(3, 4, {0}, 5);
  host.features[5] = std::numeric_limits<double>::quiet_NaN();
  auto const y = layer_norm(test::upload_tensor<float>(host, exec), {nullptr}, {nullptr}, eps, exec);
  auto const found = y.features_on_host(exec);
  for (std::size_t n = 0; n < found.size(); ++n) { CHECK(detail::is_nan(found[n]) == (n / 4 == 1)); }

  auto const nothing = test::upload_tensor<float>(test::random_tensor<float>(0, 4, {0}, 5), exec);
  CHECK(layer_norm(nothing, {nullptr}, {nullptr}, eps, exec).num_rows() == 0);
  Buffer<float, Space> grad_weight{4, exec};
  Matrix<float, Space> const no_grad{0, 4, exec};
  auto const dx =
      layer_norm_backward<float, Space>(no_grad.view(), nothing.features(), {0, nullptr}, {nullptr}, eps,
                                        grad_weight.data(), nullptr, GradientMode::overwrite, exec);
  CHECK(dx.rows() == 0);
  CHECK(download(grad_weight, exec) == std::vector<float>(4, 0.0F));
  CHECK_THROWS_WITH_AS(
      static_cast<void>(layer_norm(SparseTensor<3, float, Space>{}, {nullptr}, {nullptr}, eps, exec)),
      "layer_norm: the tensor has no coordinates", invalid_argument);
}

TEST_CASE_TEMPLATE("layer_norm: gradients agree with finite differences", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for (int const channels : {1, 3, 6}) {
    CAPTURE(channels);
    auto const count = static_cast<std::size_t>(channels);
    constexpr std::size_t rows = 7;
    auto const x = test::random_values(rows * count, 3);
    auto const weight = test::random_values(count, 4);
    auto const bias = test::random_values(count, 5);
    auto const cotangent = test::random_values(rows * count, 6);
    auto const own_weight = upload(weight, exec);
    auto const own_x = upload_matrix(x, channels, exec);
    auto const own_grad = upload_matrix(cotangent, channels, exec);
    auto grad_weight = upload(std::vector<double>(count, 100), exec);  // accumulated
    auto grad_bias = upload(std::vector<double>(count, -50), exec);
    auto const dx = layer_norm_backward<double, Space>(own_grad.view(), own_x.view(), {rows, nullptr},
                                                       ref(own_weight), eps, grad_weight.data(),
                                                       grad_bias.data(), GradientMode::accumulate, exec);
    test::check_close(
        download(dx.data(), dx.size(), exec),
        test::finite_differences(
            x, [&](auto const& v) { return test::dot(by_definition(v, weight, bias), cotangent); }),
        1e-6);
    auto expected = test::finite_differences(
        weight, [&](auto const& v) { return test::dot(by_definition(x, v, bias), cotangent); });
    for (auto& value : expected) { value += 100; }
    test::check_close(download(grad_weight, exec), expected, 1e-8);
    expected = test::finite_differences(
        bias, [&](auto const& v) { return test::dot(by_definition(x, weight, v), cotangent); });
    for (auto& value : expected) { value -= 50; }
    test::check_close(download(grad_bias, exec), expected, 1e-8);
  }
}

TEST_CASE_TEMPLATE("layer_norm: parameters learn of the rows in use alone, the same bits in any capacity",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  constexpr int channels = 5;
  auto const gradient_in = [&](std::int64_t capacity, std::int32_t used) {
    auto x = test::rounded<float>(test::random_values(3000 * channels, 8));
    auto grad = test::rounded<float>(test::random_values(3000 * channels, 9));
    x.resize(static_cast<std::size_t>(capacity) * channels, 7.0F);
    grad.resize(x.size(), 13.0F);
    auto const own_x = upload_matrix(x, channels, exec);
    auto const own_grad = upload_matrix(grad, channels, exec);
    auto const count = upload(std::vector<std::int32_t>{used}, exec);
    Buffer<float, Space> grad_weight{channels, exec};
    static_cast<void>(
        layer_norm_backward<float, Space>(own_grad.view(), own_x.view(), {capacity, count.data()}, {nullptr},
                                          eps, grad_weight.data(), nullptr, GradientMode::overwrite, exec));
    return download(grad_weight, exec);
  };
  CHECK(test::same_bits(gradient_in(3000, 3000), gradient_in(9000, 3000)));
  CHECK_FALSE(test::same_bits(gradient_in(3000, 3000), gradient_in(3000, 2999)));
}

TEST_CASE_TEMPLATE("LayerNorm: a layer of rows, for voxels and matrices", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  nn::LayerNorm<3, float, Space> norm{NormOptions{6}.eps(eps), exec};
  auto const host = test::random_tensor<float>(20, 6, {0}, 2);
  auto const x = test::upload_tensor<float>(host, exec);
  test::check_close(norm(x, exec).features_on_host(exec),
                    by_definition(host.features, std::vector<double>(6, 1), std::vector<double>(6, 0)), 1e-5);
  CHECK(norm.parameters().size() == 2);
  nn::LayerNorm<3, float, Space> const plain{NormOptions{6}.affine(false), exec};
  CHECK(plain.parameters().empty());
  nn::LayerNorm<3, float, Space> narrow{5, exec};
  CHECK_THROWS_WITH_AS(static_cast<void>(narrow(x, exec)),
                       "LayerNorm: the tensor has 6 channels but 5 were expected", invalid_argument);
}
