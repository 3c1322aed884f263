// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "tensors.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution_kernels.cuh>
#endif
#include <tessera/conv/detail/convolution_host.hpp>
#include <tessera/nn/blocks.hpp>
#include <tessera/nn/calibrate.hpp>
#include <tessera/nn/sequential.hpp>

#include <cmath>
#include <utility>
#include <vector>

using namespace tessera;

namespace {

/// Mean and variance of channel `c`.
std::pair<double, double> moments(std::vector<float> const& values, std::size_t channels, std::size_t c)
{
  double mean = 0;
  double square = 0;
  auto const rows = static_cast<double>(values.size() / channels);
  for (std::size_t i = c; i < values.size(); i += channels) {
    mean += values[i] / rows;
    square += double{values[i]} * values[i] / rows;
  }
  return {mean, square - mean * mean};
}

}  // namespace

TEST_CASE_TEMPLATE("calibrate: activations have mean 0 and variance 1 afterwards", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const x = test::upload_tensor<float>(test::random_tensor<float>(4000, 4, {0, 1}, 1), exec);
  nn::Sequential<3, float, Space> net;
  net.template add<nn::SparseConvBlock<3, float, Space>>(ConvOptions<3>(4, 8, 3), exec);
  net.template add<nn::Conv<3, float, Space>>(ConvOptions<3>(8, 5, 3), exec);
  auto& last = net.template add<nn::BatchNorm<3, float, Space>>(5, exec);
  nn::calibrate(net, x, exec);
  CHECK_FALSE(net.is_training());
  CHECK(last.options().momentum() == 0.1);
  auto const y = net(x, exec).features_on_host(exec);
  for (std::size_t c = 0; c < 5; ++c) {
    auto const [mean, variance] = moments(y, 5, c);
    CHECK(std::abs(mean) < 1e-2);
    CHECK(std::abs(variance - 1) < 1e-2);
  }
  auto const wrong = test::upload_tensor<float>(test::random_tensor<float>(10, 3, {0}, 1), exec);
  CHECK_FALSE(test::error_of([&] { nn::calibrate(net, wrong, exec); }).empty());
  CHECK(last.options().momentum() == 0.1);
  CHECK_FALSE(net.is_training());
}
