// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/files.hpp"
#include "../support/spaces.hpp"
#include "network.hpp"

#include <tessera/nn/initialize.hpp>
#include <tessera/train/moving_average.hpp>
#include <tessera/train/optimizer.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

using namespace tessera;

namespace {

template <class Scalar, class Space>
void averages()
{
  if (test::skipped<Space>()) { return; }
  for (bool const warms_up : {false, true}) {
    CAPTURE(warms_up);
    Execution<Space> const exec{};
    test::Network<Scalar, Space> net{exec};
    train::ParameterArena<Scalar, Space> arena{net, exec};
    train::Optimizer optimizer{arena, train::Sgd{}, train::Schedule::constant(0.25), exec};
    train::MovingAverage average{arena, 0.4, exec, warms_up};
    auto const masters = [&] { return download(arena.masters(), arena.size(), exec); };
    auto const first = masters();
    std::vector<double> expected(first.begin(), first.end());
    using Sum = accumulator_t<Scalar>;
    for (int t = 1; t <= 12; ++t) {
      std::vector<Sum> gradient;
      for (auto const value : test::random_numbers(arena.gradient_size(), static_cast<std::uint32_t>(t))) {
        gradient.push_back(static_cast<Sum>(value));
      }
      detail::Transfer<Space>::from_host(arena.gradients().data, gradient.data(),
                                         sizeof(Sum) * gradient.size(), exec);
      optimizer.step(exec);
      // running statistics change by forward passes
      detail::fill_constant(net.running_mean, t, exec);
      average.update(optimizer.device_state(), exec);
      auto const values = masters();
      double const decay = warms_up ? std::min(0.4, (1.0 + t) / (10.0 + t)) : 0.4;
      for (std::size_t i = 0; i < expected.size(); ++i) {
        expected[i] = decay * expected[i] + (1 - decay) * static_cast<double>(values[i]);
      }
    }
    auto const trained = masters();
    auto const before = test::values_of<Scalar>(arena.segments()[0], exec);
    auto const version = net.kernel.version();
    {
      train::AveragedWeights const scope{average, exec};
      CHECK(net.kernel.version() > version);
      auto const now = masters();
      double worst = 0;
      for (std::size_t i = 0; i < expected.size(); ++i) {
        worst = std::max(worst, std::abs(static_cast<double>(now[i]) - expected[i]));
      }
      CHECK(worst < (sizeof(Sum) == 8 ? 1e-13 : 1e-5));
      // what the network computes with are the averages, rounded once
      for (auto const& segment : arena.segments()) {
        auto const own = test::slice_of(std::as_const(arena).masters(), segment, exec);
        auto const values = test::values_of<Scalar>(segment, exec);
        bool const narrow = segment.parameter.dtype == ScalarTraits<Scalar>::dtype;
        bool rounded = true;
        for (std::size_t i = 0; i < own.size(); ++i) {
          rounded =
              rounded && values[i] == (narrow ? test::as_double(test::as_scalar<Scalar>(own[i])) : own[i]);
        }
        CHECK(rounded);
      }
    }
    CHECK(masters() == trained);
    CHECK(test::values_of<Scalar>(arena.segments()[0], exec) == before);
  }
}

}  // namespace

TEST_CASE_TEMPLATE("moving average<Host>: is the sum by its definition, and goes into the network and back",
                   Scalar, TESSERA_TEST_SCALARS)
{
  averages<Scalar, Host>();
}

#ifdef __CUDACC__
TEST_CASE_TEMPLATE("moving average<Device>: is the sum by its definition, and goes into the network and back",
                   Scalar, TESSERA_TEST_SCALARS)
{
  averages<Scalar, Device>();
}
#endif

TEST_CASE_TEMPLATE("moving average: begins anew where weights were loaded", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  test::Network<float, Space> net{exec};
  train::ParameterArena<float, Space> arena{net, exec};
  train::MovingAverage average{arena, 0.9, exec};
  detail::fill_constant(net.head, 3, exec);
  average.reset(exec);
  train::AveragedWeights const scope{average, exec};
  CHECK(download(net.head.data(), net.head.size(), exec) == std::vector<float>(21, 3.0F));
}

TEST_CASE("moving average: a decay is in [0, 1]")
{
  Execution<Host> const exec;
  test::Network<float, Host> net{exec};
  train::ParameterArena<float, Host> arena{net, exec};
  CHECK_THROWS_AS(train::MovingAverage(arena, 1.01, exec), invalid_argument);
  CHECK_THROWS_AS(train::MovingAverage(arena, -0.5, exec), invalid_argument);
}
