// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// What happens to gradients before a step: clipping, accumulation, loss scaling, and gradients that are not finite.

#include "../support/files.hpp"
#include "../support/memory.hpp"
#include "network.hpp"

#include <tessera/nn/initialize.hpp>
#include <tessera/train/moving_average.hpp>
#include <tessera/train/optimizer.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

using namespace tessera;

namespace {

/// Plain steps of size 1, so that a step's change is the gradient it was taken along.
template <class Space>
struct Steps {
  explicit Steps(StepOptions const& options)
      : net{exec},
        arena{net, exec},
        optimizer{arena, train::Sgd{}, train::Schedule::constant(1), options, exec},
        before(download(arena.masters(), arena.size(), exec))
  {}

  /// Sets all gradients and steps; the change.
  std::vector<double> step(std::vector<double> const& gradient)
  {
    std::vector<float> values(gradient.begin(), gradient.end());
    detail::Transfer<Space>::from_host(arena.gradients().data, values.data(), sizeof(float) * values.size(),
                                       exec);
    optimizer.step(exec);
    auto const after = download(arena.masters(), arena.size(), exec);
    std::vector<double> result;
    for (std::size_t i = 0; i < values.size(); ++i) {
      result.push_back(static_cast<double>(before[i]) - static_cast<double>(after[i]));
    }
    before = after;
    return result;
  }

  Execution<Space> exec{};
  test::Network<float, Space> net;
  train::ParameterArena<float, Space> arena;
  train::Optimizer<train::Sgd, float, Space> optimizer;
  std::vector<float> before;
};

double norm_of(std::vector<double> const& values)
{
  double sum = 0;
  for (auto const value : values) { sum += value * value; }
  return std::sqrt(sum);
}

}  // namespace

TEST_CASE_TEMPLATE("step: gradients of a larger norm are clipped to it, smaller ones stay", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Steps<Space> steps{StepOptions{}.clip_norm(2)};
  auto const size = steps.arena.gradient_size();
  auto large = test::random_numbers(size, 5);
  auto const norm = norm_of(large);
  REQUIRE(norm > 2);
  auto const change = steps.step(large);
  CHECK(steps.optimizer.state(steps.exec).gradient_norm == doctest::Approx(norm).epsilon(1e-6));
  for (std::size_t i = 0; i < change.size(); ++i) {
    CHECK(change[i] == doctest::Approx(large[i] * 2 / (norm + 1e-6)).epsilon(1e-4).scale(1));
  }
  CHECK(norm_of(change) == doctest::Approx(2).epsilon(1e-3));
  for (auto& value : large) { value *= 1 / norm; }
  CHECK(norm_of(steps.step(large)) == doctest::Approx(1).epsilon(1e-3));
}

TEST_CASE_TEMPLATE("step: frozen parameters are not part of the norm", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Steps<Space> steps{StepOptions{}.clip_norm(1)};
  steps.net.kernel.freeze();
  std::vector<double> gradient(static_cast<std::size_t>(steps.arena.gradient_size()), 0.0);
  gradient[0] = 1000;  // of the kernel
  auto const bias = static_cast<std::size_t>(steps.arena.segments()[1].offset);
  gradient[bias] = 0.5;
  auto const change = steps.step(gradient);
  CHECK(change[0] == 0);
  CHECK(change[bias] == doctest::Approx(0.5));
  CHECK(steps.optimizer.state(steps.exec).gradient_norm == doctest::Approx(0.5));
}

TEST_CASE_TEMPLATE("step: elements are clipped to a magnitude, after the norm", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Steps<Space> steps{StepOptions{}.clip_norm(5).clip_value(2)};
  std::vector<double> gradient(static_cast<std::size_t>(steps.arena.gradient_size()), 0.0);
  gradient[0] = -6;
  gradient[1] = 8;
  auto const change = steps.step(gradient);
  CHECK(change[0] == doctest::Approx(-2));
  CHECK(change[1] == doctest::Approx(2));
  gradient[0] = -1.5;
  gradient[1] = 1;
  auto const small = steps.step(gradient);
  CHECK(small[0] == doctest::Approx(-1.5));
  CHECK(small[1] == doctest::Approx(1));
}

TEST_CASE_TEMPLATE("step: of several backward passes the mean counts", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Steps<Space> steps{StepOptions{}.accumulate(4)};
  std::vector<double> gradient(static_cast<std::size_t>(steps.arena.gradient_size()), 2.0);
  CHECK(steps.step(gradient)[3] == doctest::Approx(0.5));
}

TEST_CASE_TEMPLATE("step: the sum of squares is the same for many sizes, with its tail", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  struct Module final : nn::ModuleBase {
    void add(nn::ParameterBase& parameter)
    {
      register_parameter("weight", nn::ParameterRole::matrix, parameter);
    }
  };
  Execution<Space> const exec{};
  for (std::int64_t const size : {1, 7, 8, 63, 64, 65, 4096, 4097, 300'001, 5'000'001}) {
    CAPTURE(size);
    Module net;
    nn::Parameter<float, Space> parameter{{size}, exec};
    detail::fill_constant(parameter, 0, exec);
    net.add(parameter);
    train::ParameterArena<float, Space> arena{net, exec};
    train::Optimizer optimizer{arena, train::Sgd{}, train::Schedule::constant(0), exec};
    std::vector<float> gradient(static_cast<std::size_t>(size));
    double sum = 0;
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      gradient[i] = static_cast<float>(i % 17) - 5;
      sum += static_cast<double>(gradient[i]) * static_cast<double>(gradient[i]);
    }
    detail::Transfer<Space>::from_host(parameter.grad(exec), gradient.data(), 4 * gradient.size(), exec);
    optimizer.step(exec);
    CHECK(optimizer.state(exec).gradient_norm == doctest::Approx(std::sqrt(sum)).epsilon(1e-14));
  }
}

TEST_CASE_TEMPLATE("step: a gradient that is not finite changes nothing and is told", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  for (float const bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    Execution<Space> const exec{};
    test::Network<float, Space> net{exec};
    train::ParameterArena<float, Space> arena{net, exec};
    train::Optimizer optimizer{arena, train::AdamW{}, train::Schedule::cosine(0.1, 10), exec};
    train::MovingAverage average{arena, 0.5, exec};
    auto const step = [&](float value) {
      std::vector<float> gradient(static_cast<std::size_t>(arena.gradient_size()), 1.0F);
      gradient[9] = value;
      detail::Transfer<Space>::from_host(arena.gradients().data, gradient.data(), 4 * gradient.size(), exec);
      optimizer.step(exec);
      average.update(optimizer.device_state(), exec);
    };
    auto const everything = [&] {
      auto all = download(arena.masters(), arena.size(), exec);
      for (auto const* const more : {&optimizer.kept(0), &optimizer.kept(1), &average.values()}) {
        auto const values = download(*more, exec);
        all.insert(all.end(), values.begin(), values.end());
      }
      for (auto const steps : download(optimizer.segment_steps(), exec)) {
        all.push_back(static_cast<float>(steps));
      }
      return all;
    };
    step(1);
    optimizer.check(exec);
    auto const before = everything();
    step(bad);
    CHECK(everything() == before);
    auto const state = optimizer.state(exec);
    CHECK(state.step == 1);
    CHECK(state.skipped == 1);
    CHECK(test::has(test::error_of([&] { optimizer.check(exec); }),
                    "a gradient is not finite, so the step after 1 was not taken"));
    step(1);
    optimizer.check(exec);
    CHECK(optimizer.state(exec).step == 2);
    CHECK(optimizer.state(exec).learning_rate ==
          doctest::Approx(train::Schedule::cosine(0.1, 10).learning_rate(1)));
    CHECK(everything() != before);
  }
}

TEST_CASE_TEMPLATE("step: the loss scale falls with an overflow and grows after steps without", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  auto const scaler = train::LossScaler{}.initial(1024).interval(3).minimum(256);
  Steps<Space> steps{StepOptions{}.loss_scaler(scaler).clip_norm(100)};
  auto const size = static_cast<std::size_t>(steps.arena.gradient_size());
  auto const scale = [&] {
    auto const seed = download(steps.optimizer.loss_gradient().data, 1, steps.exec)[0];
    CHECK(static_cast<double>(seed) == steps.optimizer.state(steps.exec).loss_scale);
    return static_cast<double>(seed);
  };
  std::vector<double> overflowed(size, 1.0);
  overflowed[3] = std::numeric_limits<double>::infinity();
  // the definition: torch._amp_update_scale_, not below the minimum
  double expected = 1024;
  int good = 0;
  int taken = 0;
  for (bool const overflows : {false, false, true, false, false, false, false, false, false, true, true, true,
                               true, false, false, false}) {
    REQUIRE(scale() == expected);
    auto const change = steps.step(overflows ? overflowed : std::vector<double>(size, expected));
    CHECK(change[0] == doctest::Approx(overflows ? 0 : 1));  // gradients came scaled
    if (overflows) {
      expected = std::max(256.0, expected / 2);
      good = 0;
    } else {
      ++taken;
      if (++good == 3) {
        expected *= 2;
        good = 0;
      }
    }
    CHECK(steps.optimizer.state(steps.exec).step == taken);
  }
  CHECK(scale() == expected);
}

TEST_CASE_TEMPLATE("step: allocates nothing and reads nothing back", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  struct Reads final : Recorder {
    void record(std::shared_ptr<OperationRecord const>) override {}
    void reads_on_host(char const* what) override { FAIL_CHECK(what); }
  };
  test::CountedMemory<Space> memory;
  {
    Reads reads;
    auto const exec = memory.execution(2);
    auto const recorded = exec.with_recorder(reads);
    test::Network<float, Space> net{exec};
    train::ParameterArena<float, Space> arena{net, exec};
    train::Optimizer optimizer{arena, train::AdamW{}, train::Schedule::constant(1),
                               StepOptions{}.clip_norm(1), exec};
    train::MovingAverage average{arena, 0.5, exec};
    auto const before = memory.allocations();
    for (int t = 0; t < 3; ++t) {
      net.kernel.freeze(t == 1);
      optimizer.zero_grad(recorded);
      optimizer.step(recorded);
      average.update(optimizer.device_state(), recorded);
      average.exchange(recorded);
    }
    CHECK(memory.allocations() == before);
  }
  CHECK(memory.bytes_in_use() == 0);
}

TEST_CASE("step: an overflow at the smallest loss scale is an error")
{
  Steps<Host> steps{StepOptions{}.loss_scaler(train::LossScaler{}.initial(4).minimum(2))};
  std::vector<double> bad(static_cast<std::size_t>(steps.arena.gradient_size()),
                          std::numeric_limits<double>::quiet_NaN());
  steps.step(bad);
  CHECK_THROWS_AS(steps.optimizer.check(steps.exec), invalid_argument);  // the scale is 2 now
  Steps<Host> higher{StepOptions{}.loss_scaler(train::LossScaler{}.initial(8).minimum(2))};
  higher.step(bad);
  higher.optimizer.check(higher.exec);  // 4: the next step may do
  CHECK_THROWS_AS(train::LossScaler{}.initial(0), invalid_argument);
  CHECK_THROWS_AS(train::LossScaler{}.interval(0), invalid_argument);
  CHECK_THROWS_AS(StepOptions{}.clip_norm(-1), invalid_argument);
  CHECK_THROWS_AS(StepOptions{}.accumulate(0), invalid_argument);
}
