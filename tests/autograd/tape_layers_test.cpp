// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Every layer that has parameters of its own tells the tape whose they are.

#include "tape_cases.hpp"

#include <tessera/nn/batch_norm.hpp>
#include <tessera/nn/group_norm.hpp>
#include <tessera/nn/grouped_conv.hpp>
#include <tessera/nn/layer_norm.hpp>
#include <tessera/nn/linear.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

using namespace tessera;
using namespace tape_cases;

TEST_CASE_TEMPLATE("tape: a gradient reaches every parameter of every layer", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const x = input_tensor<Space>(4, exec);
  auto const conv = ConvOptions<3>(4, 4, 3).bias(true);
  auto const check = [&](auto&& layer, bool trains = false) {
    layer.train(trains);
    auto const parameters = layer.parameters();
    auto const is_trained = [](auto const& view) { return view.is_trained(); };
    CAPTURE(parameters.front().name);
    CHECK(std::count_if(parameters.begin(), parameters.end(), is_trained) == 2);
    Tape<Space> tape;
    tape.watch(layer);
    auto const y = layer.forward(x, exec.with_recorder(tape));
    tape.backward(y, x.features(), exec);
    CHECK(tape.unreached_parameters().empty());
    for (auto const& view : parameters) {
      if (!view.is_trained()) { continue; }
      auto const& parameter = view.template as<float, Space>();
      REQUIRE(parameter.grad() != nullptr);
      auto const grad = download(parameter.grad(), view.size, exec);
      CHECK(std::any_of(grad.begin(), grad.end(), [](float value) { return value != 0; }));
    }
  };
  check(nn::Conv<3, float, Space>{conv, exec});
  check(nn::GroupedConv<3, float, Space>{conv, 2, exec});
  check(nn::Linear<3, float, Space>{LinearOptions(4, 4), exec});
  check(nn::BatchNorm<3, float, Space>{4, exec});
  check(nn::BatchNorm<3, float, Space>{4, exec}, true);
  check(nn::GroupNorm<3, float, Space>{2, 4, exec});
  check(nn::InstanceNorm<3, float, Space>{NormOptions(4), exec});
  check(nn::LayerNorm<3, float, Space>{4, exec});
}
