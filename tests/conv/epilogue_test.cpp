// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// convolution() with an epilogue against the same steps one after the other, which in float are the same
// operations and so give the same bits.

#include "../support/spaces.hpp"

#include <tessera/ops/convolution.hpp>
#ifdef __CUDACC__
#include <tessera/tessera.cuh>
#endif

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace ts = tessera;

namespace {

constexpr int in_channels = 8;
constexpr int out_channels = 12;

std::vector<float> random_values(std::size_t size, std::mt19937& random)
{
  std::uniform_real_distribution<float> value{-1, 1};
  std::vector<float> values(size);
  for (auto& v : values) { v = value(random); }
  return values;
}

std::vector<ts::Coordinate<3>> random_voxels(std::mt19937& random)
{
  std::vector<ts::Coordinate<3>> voxels;
  for (int i = 0; i < 8 * 8 * 8; ++i) {
    if (random() % 3 == 0) {
      ts::Coordinate<3> voxel{};
      voxel.position = {i / 64, i / 8 % 8, i % 8};
      voxels.push_back(voxel);
    }
  }
  return voxels;
}

float by_definition(float x, ts::Activation activation, float slope)
{
  if (activation == ts::Activation::relu) { return x > 0 ? x : 0; }
  if (activation == ts::Activation::leaky_relu) { return x > 0 ? x : slope * x; }
  return x;
}

}  // namespace

TEST_CASE_TEMPLATE("convolution: an epilogue gives what its steps give one after the other", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  ts::Execution<Space> const exec;
  std::mt19937 random{11};
  auto const set = ts::make_coordinate_set(random_voxels(random), {}, exec);
  auto const rows = static_cast<std::size_t>(set->num_rows());
  auto const features = random_values(rows * in_channels, random);
  auto const weight = ts::upload(random_values(27 * in_channels * out_channels, random), exec);
  auto const bias = ts::upload(random_values(out_channels, random), exec);
  auto const residual = random_values(rows * out_channels, random);
  auto const residual_there = ts::upload_matrix(residual, out_channels, exec);
  ts::SparseTensor<3, float, Space> const x{set, ts::upload_matrix(features, in_channels, exec)};
  ts::ConvolutionGeometry<3> geometry;
  geometry.kernel_size = 3;
  for (auto const dataflow :
       {ts::Dataflow::implicit_gemm, ts::Dataflow::gather_scatter, ts::Dataflow::fetch_on_demand}) {
    for (int const splits : {1, 3}) {
      CAPTURE(static_cast<int>(dataflow));
      CAPTURE(splits);
      ts::ConvConfig config;
      config.dataflow = dataflow;
      config.splits = splits;
      auto const run = [&](ts::Epilogue<float> const& epilogue) {
        auto const y = ts::convolution(x, weight.data(), bias.data(), out_channels,
                                       ts::ConvolutionKind::submanifold, geometry, config, epilogue, exec);
        return ts::download(y.features().data, y.features().size(), exec);
      };
      auto const plain = run({});
      for (auto const activation : {ts::Activation::none, ts::Activation::relu, ts::Activation::leaky_relu}) {
        ts::Epilogue<float> epilogue;
        epilogue.residual = residual_there.view();
        epilogue.activation = activation;
        epilogue.slope = 0.25F;
        auto const fused = run(epilogue);
        REQUIRE(fused.size() == plain.size());
        std::size_t wrong = 0;
        for (std::size_t i = 0; i < fused.size(); ++i) {
          wrong += fused[i] == by_definition(plain[i] + residual[i], activation, 0.25F) ? 0 : 1;
        }
        CHECK(wrong == 0);
      }
    }
  }
  ts::Epilogue<float> wrong;
  wrong.residual = {residual_there.data(), set->num_rows() - 1, out_channels};
  CHECK_THROWS_AS(
      static_cast<void>(ts::convolution(x, weight.data(), bias.data(), out_channels,
                                        ts::ConvolutionKind::submanifold, geometry, {}, wrong, exec)),
      ts::invalid_argument);
  wrong.residual = {residual_there.data(), set->num_rows(), out_channels - 1};
  CHECK_THROWS_AS(
      static_cast<void>(ts::convolution(x, weight.data(), bias.data(), out_channels,
                                        ts::ConvolutionKind::submanifold, geometry, {}, wrong, exec)),
      ts::invalid_argument);
}

TEST_CASE_TEMPLATE("convolution: an epilogue keeps the NaN of features, bias and residual", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  ts::Execution<Space> const exec;
  std::mt19937 random{12};
  auto const set = ts::make_coordinate_set(random_voxels(random), {}, exec);
  auto const rows = static_cast<std::size_t>(set->num_rows());
  float const nan = std::numeric_limits<float>::quiet_NaN();
  std::size_t const odd_row = 33;
  std::size_t const odd_channel = 7;
  std::size_t const odd_element = 70 * out_channels + 3;
  auto features = random_values(rows * in_channels, random);
  features[odd_row * in_channels + 2] = nan;
  auto bias = random_values(out_channels, random);
  bias[odd_channel] = nan;
  auto residual = random_values(rows * out_channels, random);
  residual[odd_element] = -nan;
  ts::SparseTensor<3, float, Space> const x{set, ts::upload_matrix(features, in_channels, exec)};
  auto const bias_there = ts::upload(bias, exec);
  auto const residual_there = ts::upload_matrix(residual, out_channels, exec);
  for (int const size : {1, 3}) {
    int const volume = size * size * size;
    auto const weight = ts::upload(
        random_values(static_cast<std::size_t>(volume) * in_channels * out_channels, random), exec);
    ts::ConvolutionGeometry<3> geometry;
    geometry.kernel_size = size;
    auto const map =
        ts::kernel_map(*set, ts::ConvolutionKind::submanifold, geometry, ts::Compatibility::none, exec).map;
    auto const out_in = ts::download(map->out_in(exec), map->num_out() * volume, exec);
    auto const is_nan_expected = [&](std::size_t i) {
      auto const own = out_in.begin() + static_cast<std::ptrdiff_t>(i / out_channels) * volume;
      bool const reads = std::find(own, own + volume, static_cast<std::int32_t>(odd_row)) != own + volume;
      return reads || i % out_channels == odd_channel || i == odd_element;
    };
    for (auto const dataflow :
         {ts::Dataflow::implicit_gemm, ts::Dataflow::gather_scatter, ts::Dataflow::fetch_on_demand}) {
      for (auto const activation :
           {ts::Activation::none, ts::Activation::relu, ts::Activation::leaky_relu, ts::Activation::silu}) {
        for (int const splits : {1, 3}) {
          for (auto const math : {ts::MathMode::exact, ts::MathMode::tf32}) {
            CAPTURE(size);
            CAPTURE(static_cast<int>(dataflow));
            CAPTURE(static_cast<int>(activation));
            CAPTURE(splits);
            CAPTURE(static_cast<int>(math));
            ts::ConvConfig config;
            config.dataflow = dataflow;
            config.splits = splits;
            config.math = math;
            ts::Epilogue<float> epilogue;
            epilogue.residual = residual_there.view();
            epilogue.activation = activation;
            auto const y = ts::convolution(x, weight.data(), bias_there.data(), out_channels,
                                           ts::ConvolutionKind::submanifold, geometry, config, epilogue, exec)
                               .features_on_host(exec);
            REQUIRE(y.size() == rows * out_channels);
            std::size_t wrong = 0;
            for (std::size_t i = 0; i < y.size(); ++i) {
              wrong += std::isnan(y[i]) == is_nan_expected(i) ? 0 : 1;
            }
            CHECK(wrong == 0);
          }
        }
      }
    }
  }
}
