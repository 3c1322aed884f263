// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Data gradients get choices of their own.

#include "tune_cases.hpp"

#include <tessera/autograd/tape.hpp>

#include <doctest/doctest.h>

using namespace tessera;
using namespace tune_cases;

namespace {

/// A clock for which choice `fast` takes half of what others take, in one operation.
nn::TuneTimer prefers(Operation operation, ConvChoice const& fast)
{
  return clock_of([=](TuneTrial const& trial) {
    return trial.group.operation == operation && trial.choice == fast ? 0.5 : 1.0;
  });
}

/// The gradient of ones for `x`, through `net`.
template <class Space>
std::vector<float> gradient_of(Net<Space>& net, SparseTensor<3, float, Space> const& x,
                               Execution<Space> const& exec)
{
  Tape<Space> tape;
  tape.watch(x);
  auto const y = net.forward(x, exec.with_recorder(tape));
  auto const ones = upload_matrix(std::vector<float>(static_cast<std::size_t>(y.features().size()), 1.0F),
                                  y.channels(), exec);
  tape.backward(y, ones.view(), exec);
  auto const gradient = tape.gradient(x);
  return download(gradient.data(), gradient.rows() * gradient.columns(), exec);
}

}  // namespace

TEST_CASE("tune: data gradients get a choice of their own when asked for, and backward() takes it")
{
  Execution<Host> const exec;
  auto const samples = samples_of(5, exec);
  auto const made = [&] {
    auto net = std::make_unique<Net<Host>>();
    net->add<Conv<Host>>(ConvOptions<3>(5, 6, 3), exec);
    net->add<Conv<Host>>(ConvOptions<3>(6, 7, 2).stride(2).seed(1), exec);
    return net;
  };
  auto const net = made();
  auto const& first = *detail::convs_of(*net)[0].layer;
  auto const before = gradient_of(*net, samples[0], exec);
  auto const output = output_of(*net, samples[0], exec);
  auto const clock = prefers(Operation::backward_data, gemm(true, 3));

  CHECK(nn::tune(*net, samples, options_of(clock), exec).groups.size() == 2);
  CHECK(!first.config().data_gradient);
  CHECK(gradient_of(*net, samples[0], exec) == before);

  auto const tuning = nn::tune(*net, samples, options_of(clock).gradients(), exec);
  REQUIRE(tuning.groups.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) {
    CAPTURE(i);
    auto const& group = tuning.groups[i];
    CHECK(group.group.operation == (i < 2 ? Operation::forward : Operation::backward_data));
    CHECK(group.choice == (i < 2 ? gemm(true, 1) : gemm(true, 3)));
    CHECK(group.refused.empty());
    CHECK(group.layers == std::vector<std::string>{i % 2 == 0 ? "0" : "1"});
  }
  CHECK(detail::text_of(tuning.groups[2].group).rfind("data gradient of submanifold 5 -> 6", 0) == 0);
  REQUIRE(first.config().data_gradient);
  CHECK(first.config().data_gradient->splits == 3);
  CHECK(first.config().splits == 1);
  CHECK(output_of(*net, samples[0], exec) == output);
  auto const after = gradient_of(*net, samples[0], exec);
  CHECK(after != before);  // three sums are added up in another order
  CHECK(test::largest_difference(after, before) < 1e-4);

  // applied to another network, by names and by a sample
  auto const other = made();
  CHECK(nn::apply_tuning(*other, tuning, exec).unknown.empty());
  CHECK(gradient_of(*other, samples[0], exec) == after);
  auto const third = made();
  CHECK(nn::apply_tuning(*third, tuning, samples[0], exec).unknown.empty());
  CHECK(gradient_of(*third, samples[0], exec) == after);
}

TEST_CASE("tune: what the forward pass has made of a map costs its data gradient nothing")
{
  Execution<Host> const exec;
  auto const chosen = [&](double forward_seconds) {
    Net<Host> net;
    net.add<Conv<Host>>(ConvOptions<3>(4, 4, 3), exec);
    // two splits gain 0.5 in the gradient, and their form of the map costs 2
    auto const clock = clock_of([=](TuneTrial const& trial) {
      bool const two = trial.choice == gemm(true, 2);
      auto const of_two = trial.group.operation == Operation::forward ? forward_seconds : 0.5;
      auto const layer = two ? of_two : 1.0;
      return trial.step == TuneStep::first_use && two ? layer + 2 : layer;
    });
    auto const tuning =
        nn::tune(net, samples_of(4, exec), options_of(clock).margin(0).splits({1, 2}).gradients(), exec);
    REQUIRE(tuning.groups.size() == 2);
    return tuning.groups[1].choice;
  };
  CHECK(chosen(1.0) == gemm(true, 1));
  CHECK(chosen(-5.0) == gemm(true, 2));
}

TEST_CASE("tune: gradients of samples without rows, and of layers that no sample led to, stay as they were")
{
  Execution<Host> const exec;
  Net<Host> net;
  net.add<Conv<Host>>(ConvOptions<3>(4, 4, 3), exec);
  Samples<Host> const empty{random_networks::input<3>(0, 1, 4, exec)};
  auto const tuning =
      nn::tune(net, empty, options_of(prefers(Operation::backward_data, gemm(true, 3))).gradients(), exec);
  REQUIRE(tuning.groups.size() == 2);
  CHECK(tuning.groups[1].choice == gemm(true, 1));
}

TEST_CASE_TEMPLATE("tune: data gradients are tuned by the space's own clock", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  Net<Space> net;
  net.template add<Conv<Space>>(ConvOptions<3>(16, 32, 3), exec);
  net.template add<Conv<Space>>(ConvOptions<3>(32, 32, 2).stride(2), exec);
  auto const samples = samples_of(16, exec, 20);
  auto const before = gradient_of(net, samples[0], exec);
  auto const tuning = nn::tune(net, samples, TuneOptions().quiet().repetitions(2).gradients(), exec);
  REQUIRE(tuning.groups.size() == 4);
  for (auto const& group : tuning.groups) {
    CHECK(group.refused.empty());
    CHECK(group.seconds > 0);
  }
  CHECK(test::largest_difference(gradient_of(net, samples[0], exec), before) < 1e-3);
}
