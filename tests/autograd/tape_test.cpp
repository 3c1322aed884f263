// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// What a tape records, and what becomes of it.

#include "tape_cases.hpp"

#include <tessera/nn/trace.hpp>
#include <tessera/ops/copy.hpp>
#include <tessera/ops/prune.hpp>

using namespace tessera;
using namespace tape_cases;

TEST_CASE_TEMPLATE("tape: gradients of parameters add up, those of tensors are made anew", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  Network<Space> network{exec};
  auto const x = input_tensor<Space>(4, exec);
  Tape<Space> tape;
  tape.watch(network);
  auto const step = [&] {
    tape.watch(x);
    auto const y = network.forward(x, exec.with_recorder(tape));
    CHECK(tape.num_operations() == 3);
    tape.backward(y, uploaded_ones(y, exec).view(), exec);
    CHECK(tape.num_operations() == 0);
    return std::make_pair(test::on_host(tape.gradient(x), exec), grad_of(network.first.weight(), exec));
  };
  auto const [dx, dw] = step();
  auto const [dx_again, dw_twice] = step();
  CHECK(dx_again == dx);
  REQUIRE(dw.size() == dw_twice.size());
  for (std::size_t i = 0; i < dw.size(); ++i) { CHECK(dw_twice[i] == 2 * dw[i]); }
  CHECK(test::dot(widened(dw), widened(dw)) > 0);
}

TEST_CASE_TEMPLATE("tape: a branch that only decides gets no gradient, and the others theirs", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  nn::Conv<3, float, Space> scores{ConvOptions<3>(4, 1, 3), exec};
  auto const x = input_tensor<Space>(4, exec);
  Tape<Space> tape;
  tape.watch(scores);
  tape.watch(x);
  auto const recorded = exec.with_recorder(tape);
  auto const y = prune_above(x, relu(scores(x, recorded), recorded), -1.0, recorded);  // keeps all rows
  tape.backward(y, uploaded_ones(y, exec).view(), exec);
  auto const gradient = test::on_host(tape.gradient(x), exec);
  CHECK(gradient == std::vector<float>(gradient.size(), 1.0F));
  CHECK(tape.num_operations() == 0);
}

TEST_CASE_TEMPLATE("tape: two runs have the same bits, and so has a model that runs from its list", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  Network<Space> network{exec};
  auto const x = input_tensor<Space>(4, exec);
  auto const differentiate = [&](auto& model) {
    network.first.weight().drop_grad();
    Tape<Space> tape;
    tape.watch(network);
    tape.watch(x);
    auto const y = model.forward(x, exec.with_recorder(tape));
    tape.backward(y, uploaded_ones(y, exec).view(), exec);
    return std::make_pair(test::on_host(tape.gradient(x), exec), grad_of(network.first.weight(), exec));
  };
  auto const found = differentiate(network);
  CHECK(differentiate(network) == found);
  auto traced = nn::trace(network, x, exec);
  CHECK(differentiate(traced) == found);
}

TEST_CASE("tape: a loss is one element, and its gradient starts at 1")
{
  Execution<Host> const exec{1};
  auto const x = upload_matrix(std::vector<double>{3}, 1, exec);
  auto const two = upload_matrix(std::vector<double>{3, 4}, 2, exec);
  Tape<Host> tape;
  tape.watch(x);
  tape.watch(two);
  auto const recorded = exec.with_recorder(tape);
  auto const loss = detail::activate(x, detail::SigmoidFunction<double>{}, recorded);
  auto const values = copy(two, recorded);
  CHECK(says(error_of([&] { tape.backward(values, exec); }), "backward() of a value of 1 x 2 elements"));
  CHECK(says(error_of([&] { tape.backward(two, x.view(), exec); }),
             "a gradient of 1 x 1 for a value of 1 x 2"));
  tape.backward(loss, exec);
  auto const y = 1 / (1 + std::exp(-3.0));
  CHECK(tape.gradient(x).data()[0] == doctest::Approx(y * (1 - y)));
  CHECK_FALSE(tape.has_gradient(two));
  CHECK(says(error_of([&] { static_cast<void>(tape.gradient(two)); }), "there is no gradient of this value"));
}

TEST_CASE("tape: several outputs start one backward(), their gradients add up")
{
  Execution<Host> const exec{1};
  auto const x = upload_matrix(std::vector<float>{1, -2, 3}, 3, exec);
  auto const grad = upload_matrix(std::vector<float>{10, 20, 30}, 3, exec);
  Tape<Host> tape;
  tape.watch(x);
  auto const recorded = exec.with_recorder(tape);
  auto const a = detail::activate(x, detail::ReluFunction<float>{}, recorded);
  auto const b = copy(x, recorded);
  tape.add_gradient(a, grad.view(), exec);
  tape.add_gradient(b, grad.view(), exec);
  tape.add_gradient(b, grad.view(), exec);
  tape.backward(exec);
  CHECK(test::on_host(tape.gradient(x), exec) == std::vector<float>{30, 40, 90});
  CHECK(says(error_of([&] { tape.backward(exec); }), "no gradient to start with"));
}

TEST_CASE("tape: frozen parameters have no gradient, but gradients pass through their layers")
{
  Execution<Host> const exec{1};
  auto const x = input_tensor<Host>(4, exec);
  Network<Host> network{exec};
  network.second.weight().freeze();
  Tape<Host> tape;
  tape.watch(network);
  auto const recorded = exec.with_recorder(tape);
  auto const y = network.forward(x, recorded);
  tape.backward(y, uploaded_ones(y, exec).view(), exec);
  CHECK(network.second.weight().grad() == nullptr);
  REQUIRE(network.first.weight().grad() != nullptr);
  CHECK(tape.unreached_parameters().empty());
  CHECK(says(error_of([&] { tape.expect_gradient("second.kernel"); }), "no parameter \"second.kernel\""));

  network.second.weight().freeze(false);
  tape.watch(network);
  auto const z = network.forward(x, recorded);
  tape.backward(z, uploaded_ones(z, exec).view(), exec);
  CHECK(network.second.weight().grad() != nullptr);
  tape.expect_gradient("second.kernel");
}

TEST_CASE("tape: what runs in a pause, or on detached values, is constant")
{
  Execution<Host> const exec{1};
  auto const x = upload_matrix(std::vector<float>{1, -2, 3}, 3, exec);
  Tape<Host> tape;
  auto const recorded = exec.with_recorder(tape);
  tape.watch(x);
  {
    Tape<Host>::Pause const pause{tape};
    static_cast<void>(copy(x, recorded));
  }
  CHECK(tape.num_operations() == 0);
  auto const constant = x.detached();
  CHECK(constant.id() != x.id());
  CHECK(constant.data() == x.data());
  static_cast<void>(copy(constant, recorded));
  CHECK(tape.num_operations() == 0);
  static_cast<void>(copy(x, recorded));
  CHECK(tape.num_operations() == 1);

  auto const tensor = input_tensor<Host>(4, exec);
  CHECK(tensor.detached().id() != tensor.id());
  CHECK(tensor.detached().features().data == tensor.features().data);
  CHECK(Matrix<float, Host>{0, 3, exec}.detached().columns() == 3);
}

TEST_CASE("tape: it is told of each parameter once, as soon as its gradient is whole")
{
  Execution<Host> const exec{1};
  auto const x = input_tensor<Host>(4, exec);
  Network<Host> network{exec};
  nn::Conv<3, float, Host> twice{ConvOptions<3>(2, 2, 3), exec};
  nn::Conv<3, float, Host> unused{ConvOptions<3>(2, 2, 3), exec};
  Tape<Host> tape;
  tape.watch(unused);
  tape.watch(network);
  tape.watch(twice);
  std::vector<VariableId> told;
  std::vector<float> whole;
  tape.on_parameter_done([&](VariableId id, Execution<Host> const& inside) {
    told.push_back(id);
    if (id == twice.weight().id()) { whole = grad_of(twice.weight(), inside); }
  });
  auto const recorded = exec.with_recorder(tape);
  auto const y = twice(twice(network.forward(x, recorded), recorded), recorded);
  tape.backward(y, uploaded_ones(y, exec).view(), exec);
  CHECK(told == std::vector<VariableId>{twice.weight().id(), network.second.weight().id(),
                                        network.first.weight().id(), network.first.bias().id(),
                                        unused.weight().id()});
  CHECK(whole == grad_of(twice.weight(), exec));
}

TEST_CASE("tape: it can be one of two recorders")
{
  Execution<Host> const exec{1};
  auto const x = upload_matrix(std::vector<float>{1, -2, 3}, 3, exec);
  Tape<Host> tape;
  test::RecordList<Host> list;
  RecorderChain both{list, tape};
  tape.watch(x);
  auto const y = copy(x, exec.with_recorder(both));
  CHECK(list.records.size() == 1);
  tape.backward(y, x.view(), exec);
  CHECK(test::on_host(tape.gradient(x), exec) == std::vector<float>{1, -2, 3});
}
