// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/files.hpp"
#include "../support/spaces.hpp"
#include "network.hpp"
#include "optimizer_oracle.hpp"

#include <tessera/train/optimizer.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

using namespace tessera;

namespace {

/// Relative rounding of a step in Sum, and of many of them.
template <class Scalar>
double tolerance()
{
  return std::is_same_v<Scalar, double> ? 1e-12 : 1e-5;
}

template <class Scalar, class Space>
std::vector<test::OracleParameter> oracle_of(train::ParameterArena<Scalar, Space> const& arena,
                                             Execution<Space> const& exec)
{
  std::vector<test::OracleParameter> result;
  for (auto const& segment : arena.segments()) {
    result.push_back({test::values_of<Scalar>(segment, exec), {}, {}});
  }
  return result;
}

/// Gradients of step t for every segment that has one, through the parameters; those of Sum.
template <class Scalar, class Space>
std::vector<std::vector<double>> give_gradients(train::ParameterArena<Scalar, Space> const& arena, int t,
                                                Execution<Space> const& exec, double scale = 1)
{
  std::vector<std::vector<double>> result;
  for (auto const& segment : arena.segments()) {
    auto numbers = test::random_numbers(
        segment.size(), static_cast<std::uint32_t>(100 * t + static_cast<int>(result.size())));
    for (auto& number : numbers) {
      number = static_cast<double>(static_cast<accumulator_t<Scalar>>(number * scale));
    }
    result.push_back(numbers);
    if (segment.is_trainable()) { test::set_gradient<Scalar>(segment, numbers, exec); }
  }
  return result;
}

/// Masters are as the oracle says, and values are masters rounded once.
template <class Scalar, class Space>
void check_values(train::ParameterArena<Scalar, Space>& arena,
                  std::vector<test::OracleParameter> const& oracle, Execution<Space> const& exec)
{
  for (std::size_t s = 0; s < oracle.size(); ++s) {
    auto const& segment = arena.segments()[s];
    CAPTURE(segment.name());
    auto const masters = test::slice_of(std::as_const(arena).masters(), segment, exec);
    auto const values = test::values_of<Scalar>(segment, exec);
    double worst = 0;
    bool rounded = true;
    for (std::size_t i = 0; i < masters.size(); ++i) {
      auto const expected = oracle[s].values[i];
      worst = std::max(worst, std::abs(masters[i] - expected) / std::max(1.0, std::abs(expected)));
      bool const narrow = segment.parameter.dtype == ScalarTraits<Scalar>::dtype;
      auto const once = narrow ? test::as_double(test::as_scalar<Scalar>(masters[i])) : masters[i];
      rounded = rounded && values[i] == once;
    }
    CHECK(worst < tolerance<Scalar>());
    CHECK(rounded);
  }
}

/// 40 steps of a rule against its definition, with a parameter that is frozen from step 10 to 19.
template <class Scalar, class Space, class Rule, class Definition>
void follows(Rule const& rule, Definition const& definition)
{
  Execution<Space> const exec{};
  test::Network<Scalar, Space> net{exec};
  train::ParameterArena<Scalar, Space> arena{
      net, train::ParameterGroups{}.rate("head", 0.5).decay("norm", 0.25), exec};
  auto const schedule = train::Schedule::cosine(0.05, 50).warm_up(5, 0.1);
  train::Optimizer optimizer{arena, rule, schedule, exec};
  auto oracle = oracle_of(arena, exec);
  for (int t = 0; t < 40; ++t) {
    net.bias.freeze(t >= 10 && t < 20);
    auto const gradients = give_gradients(arena, t, exec);
    optimizer.step(exec);
    for (std::size_t s = 0; s < oracle.size(); ++s) {
      auto const& segment = arena.segments()[s];
      if (!segment.is_trained()) { continue; }
      auto const name = segment.name();
      double const decay = test::has(name, "norm") ? 0.25 : test::has(name, "bias") ? 0 : 1;
      oracle[s].step(definition, gradients[s], schedule.learning_rate(t) * (name == "head.weight" ? 0.5 : 1),
                     decay);
    }
  }
  check_values(arena, oracle, exec);
  auto const state = optimizer.state(exec);
  CHECK(state.step == 40);
  CHECK(state.skipped == 0);
  CHECK(state.learning_rate == doctest::Approx(schedule.learning_rate(39)));
}

template <class Scalar, class Space>
void every_rule()
{
  if (test::skipped<Space>()) { return; }
  follows<Scalar, Space>(train::Sgd{}, test::SgdDefinition{});
  follows<Scalar, Space>(train::Sgd{}.weight_decay(0.1), test::SgdDefinition{0, 0, 0.1});
  follows<Scalar, Space>(train::Sgd{}.momentum(0.9).weight_decay(0.01), test::SgdDefinition{0.9, 0, 0.01});
  follows<Scalar, Space>(train::Sgd{}.momentum(0.8).dampening(0.3), test::SgdDefinition{0.8, 0.3});
  follows<Scalar, Space>(train::Sgd{}.momentum(0.9).nesterov(true).weight_decay(0.02),
                         test::SgdDefinition{0.9, 0, 0.02, true});
  follows<Scalar, Space>(train::Adam{}, test::AdamDefinition{});
  follows<Scalar, Space>(train::Adam{}.betas(0.8, 0.95).eps(1e-3).weight_decay(0.1),
                         test::AdamDefinition{0.8, 0.95, 1e-3, 0.1});
  follows<Scalar, Space>(train::AdamW{}, test::AdamDefinition{0.9, 0.999, 1e-8, 0.01, true});
  follows<Scalar, Space>(train::AdamW{}.weight_decay(0.3).betas(0.7, 0.9),
                         test::AdamDefinition{0.7, 0.9, 1e-8, 0.3, true});
}

}  // namespace

TEST_CASE_TEMPLATE("optimizers<Host>: follow PyTorch's definitions over many steps", Scalar,
                   TESSERA_TEST_SCALARS)
{
  every_rule<Scalar, Host>();
}

#ifdef __CUDACC__
TEST_CASE_TEMPLATE("optimizers<Device>: follow PyTorch's definitions over many steps", Scalar,
                   TESSERA_TEST_SCALARS)
{
  every_rule<Scalar, Device>();
}
#endif

TEST_CASE_TEMPLATE("optimizers: a schedule's momentum stands in for the rule's own", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  test::Network<double, Space> net{exec};
  train::ParameterArena<double, Space> arena{net, exec};
  auto const schedule = train::Schedule::one_cycle(0.1, 12).momentum(0.85, 0.95);
  train::Optimizer optimizer{arena, train::AdamW{}, schedule, exec};
  auto oracle = oracle_of(arena, exec);
  for (int t = 0; t < 12; ++t) {
    auto const gradients = give_gradients(arena, t, exec);
    optimizer.step(exec);
    CHECK(optimizer.state(exec).momentum == doctest::Approx(schedule.momentum_of(t, 0)));
    for (std::size_t s = 0; s + 1 < oracle.size(); ++s) {
      oracle[s].step(test::AdamDefinition{schedule.momentum_of(t, 0), 0.999, 1e-8, 0.01, true}, gradients[s],
                     schedule.learning_rate(t), arena.segments()[s].decay_scale);
    }
  }
  check_values(arena, oracle, exec);
}

TEST_CASE_TEMPLATE("optimizers: versions rise with every step, and the same steps give the same bits", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::vector<std::vector<float>> runs;
  for (int run = 0; run < 2; ++run) {
    test::Network<float, Space> net{exec};
    train::ParameterArena<float, Space> arena{net, exec};
    train::Optimizer optimizer{arena, train::AdamW{}, train::Schedule::constant(0.1),
                               StepOptions{}.clip_norm(0.5), exec};
    for (int t = 0; t < 10; ++t) {
      auto const version = net.kernel.version();
      give_gradients(arena, t, exec);
      optimizer.step(exec);
      CHECK(net.kernel.version() > version);
    }
    runs.push_back(download(arena.masters(), arena.size(), exec));
  }
  CHECK(runs[0] == runs[1]);
}

TEST_CASE("optimizers: a network without parameters takes steps")
{
  struct Empty final : nn::ModuleBase {};
  Execution<Host> const exec;
  Empty net;
  train::ParameterArena<float, Host> arena{net, exec};
  train::Optimizer optimizer{arena, train::AdamW{}, train::Schedule::constant(1), exec};
  optimizer.zero_grad(exec);
  optimizer.step(exec);
  CHECK(optimizer.state(exec).step == 1);
}

TEST_CASE("optimizers: refuse what they cannot mean")
{
  CHECK_THROWS_AS(train::Sgd{}.momentum(1), invalid_argument);
  CHECK_THROWS_AS(train::Sgd{}.dampening(-0.1), invalid_argument);
  CHECK_THROWS_AS(train::Sgd{}.weight_decay(-1), invalid_argument);
  CHECK_THROWS_AS(train::Adam{}.betas(0.9, 1), invalid_argument);
  CHECK_THROWS_AS(train::AdamW{}.eps(-1), invalid_argument);
  CHECK_THROWS_AS(train::AdamW{}.weight_decay(std::nan("")), invalid_argument);
  Execution<Host> const exec;
  test::Network<float, Host> net{exec};
  train::ParameterArena<float, Host> arena{net, exec};
  auto const constant = train::Schedule::constant(1);
  CHECK_THROWS_AS(train::Optimizer(arena, train::Sgd{}.nesterov(true), constant, exec), invalid_argument);
  CHECK_THROWS_AS(
      train::Optimizer(arena, train::Sgd{}.momentum(0.9).dampening(0.1).nesterov(true), constant, exec),
      invalid_argument);
  train::Optimizer optimizer{arena, train::Sgd{}, constant, exec};
  CHECK_THROWS_AS(optimizer.set_rule(train::Sgd{}.momentum(0.9)), invalid_argument);
}
