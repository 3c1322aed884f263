// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// What a tape records, gives back and refuses.

#include "../support/memory.hpp"
#include "tape_cases.hpp"

#include <tessera/nn/blocks.hpp>
#include <tessera/nn/fuse.hpp>
#include <tessera/nn/sequential.hpp>
#include <tessera/nn/trace.hpp>
#include <tessera/ops/copy.hpp>
#include <tessera/ops/custom.hpp>

using namespace tessera;
using namespace differentiated;
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

TEST_CASE("tape: a graph is used once")
{
  Execution<Host> const exec{1};
  auto const x = upload_matrix(std::vector<float>{1, -2, 3}, 3, exec);
  Tape<Host> tape;
  auto const recorded = exec.with_recorder(tape);
  tape.watch(x);
  auto const h = copy(x, recorded);
  auto const y = copy(h, recorded);
  tape.backward(y, x.view(), exec);
  CHECK(says(error_of([&] { tape.backward(y, x.view(), exec); }), "has used up the graph"));
  CHECK(says(error_of([&] { tape.backward(h, x.view(), exec); }), "has used up the graph"));

  // What reads a value of a used graph cannot be differentiated, what reads its detached() can.
  tape.watch(x);
  auto const later = copy(h, recorded);
  CHECK(says(error_of([&] { tape.backward(later, x.view(), exec); }), "copy reads a value whose graph"));
  tape.reset();
  tape.watch(x);
  static_cast<void>(copy(h.detached(), recorded));
  auto const z = copy(x, recorded);
  tape.backward(z, x.view(), exec);
  CHECK(tape.has_gradient(x));
}

TEST_CASE("tape: what was written since it was read is refused, and nothing is added then")
{
  Execution<Host> const exec{1};
  Network<Host> network{exec};
  auto const x = input_tensor<Host>(4, exec);
  Tape<Host> tape;
  tape.watch(network);
  auto const recorded = exec.with_recorder(tape);
  auto const run = [&] { return network.forward(x, recorded); };

  auto y = run();
  x.mark_written();
  auto const grad = uploaded_ones(y, exec);
  auto const differentiate = [&] { tape.backward(y, grad.view(), exec); };
  CHECK(says(error_of(differentiate), "convolution: a tensor that its gradient reads was written"));
  CHECK(network.second.weight().grad() == nullptr);

  tape.reset();
  y = run();
  static_cast<void>(network.second.weight().write());
  CHECK(says(error_of(differentiate), "convolution: its weight was written after the operation ran"));
  CHECK(network.second.weight().grad() == nullptr);

  tape.reset();
  y = run();
  y.mark_written();  // no gradient reads it
  static_cast<void>(network.first.bias().write());
  CHECK(error_of(differentiate).empty());
  CHECK(network.second.weight().grad() != nullptr);
}

TEST_CASE("tape: an operation without a gradient is named, where the loss depends on it")
{
  Execution<Host> const exec{1};
  auto const x = upload_matrix(std::vector<float>{1, -2, 3}, 3, exec);
  Tape<Host> tape;
  auto const recorded = exec.with_recorder(tape);
  auto const same = [](Matrix<float, Host> const& in, Execution<Host> const& inside) {
    return copy(in, inside);
  };
  tape.watch(x);
  auto const y = ops::custom("my_kernel", recorded, same, x);
  CHECK(
      says(error_of([&] { tape.backward(copy(y, recorded), x.view(), exec); }), "my_kernel has no gradient"));
  tape.reset();
  tape.watch(x);
  static_cast<void>(ops::custom("my_kernel", recorded, same, x));
  tape.backward(copy(x, recorded), x.view(), exec);
  CHECK(tape.has_gradient(x));
}

TEST_CASE("tape: what depends on nothing that is watched is not kept and has no gradient")
{
  Execution<Host> const exec{1};
  auto const x = input_tensor<Host>(4, exec);
  Network<Host> network{exec};
  Tape<Host> tape;
  auto const recorded = exec.with_recorder(tape);
  auto const y = network.forward(x, recorded);
  CHECK(tape.num_operations() == 0);
  CHECK(says(error_of([&] { tape.backward(y, uploaded_ones(y, exec).view(), exec); }),
             "does not depend on anything that is watched"));
  CHECK(says(error_of([&] { tape.watch(Tensor<Host>{}); }), "a value without elements cannot be watched"));

  tape.watch(network.second.weight(), "w");
  auto const z = network.forward(x, recorded);
  CHECK(tape.num_operations() == 1);  // of the first convolution and the activation none needs a gradient
  tape.backward(z, uploaded_ones(z, exec).view(), exec);
  CHECK(network.first.weight().grad() == nullptr);
  CHECK(network.second.weight().grad() != nullptr);
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

TEST_CASE("tape: a parameter that no gradient reached is named")
{
  Execution<Host> const exec{1};
  auto const x = input_tensor<Host>(4, exec);
  Network<Host> network{exec};
  Tape<Host> tape;
  tape.watch(network, "net.");
  auto const y = network.first(x, exec.with_recorder(tape));
  tape.backward(y, uploaded_ones(y, exec).view(), exec);
  tape.expect_gradient("net.first.kernel");
  tape.expect_gradient("net.first.bias");
  CHECK(tape.unreached_parameters() == std::vector<std::string>{"net.second.kernel"});
  CHECK(says(error_of([&] { tape.expect_gradient("net.second.kernel"); }),
             "no gradient reached parameter \"net.second.kernel\""));
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
