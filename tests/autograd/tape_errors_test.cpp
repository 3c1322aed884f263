// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// What a tape refuses, and what it says.

#include "tape_cases.hpp"

#include <tessera/nn/blocks.hpp>
#include <tessera/nn/fuse.hpp>
#include <tessera/ops/copy.hpp>
#include <tessera/ops/custom.hpp>

using namespace tessera;
using namespace tape_cases;

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
  CHECK(says(error_of(differentiate), "convolution: its parameters were written after the operation ran"));
  CHECK(network.second.weight().grad() == nullptr);

  tape.reset();
  y = run();
  y.mark_written();  // no gradient reads it
  static_cast<void>(network.first.bias().write());
  CHECK(error_of(differentiate).empty());
  CHECK(network.second.weight().grad() != nullptr);
}

TEST_CASE("tape: what was written between two operations is refused, though no gradient reads it")
{
  Execution<Host> const exec{1};
  auto const x = input_tensor<Host>(4, exec);
  Tape<Host> tape;
  auto const recorded = exec.with_recorder(tape);
  auto const error = [&](auto const& body) {
    tape.reset();
    tape.watch(x);
    auto const y = body();
    return error_of([&] { tape.backward(y, y.features(), exec); });
  };
  CHECK(says(error([&] {
               auto const y = add(x, x, recorded);
               y.mark_written();
               return add(y, y, recorded);
             }),
             "Tape: add reads a value that was written since"));
  CHECK(says(error([&] {
               auto const y = add(x, x, recorded);
               y.detached().mark_written();  // the same memory
               return add(y, y, recorded);
             }),
             "Tape: add reads a value that was written since"));
  CHECK(says(error([&] {
               auto const y = add(x, x, recorded);
               x.mark_written();
               return add(x, y, recorded);
             }),
             "Tape: add reads a value that was written since"));
  CHECK(error([&] {
          x.mark_written();  // before it is first read
          auto const y = add(x, x, recorded);
          auto const unused = relu(x, recorded);
          unused.mark_written();
          static_cast<void>(relu(unused, recorded));  // nothing depends on it
          return y;
        }).empty());
}

TEST_CASE("tape: statistics and biases that a gradient reads may not be written in between")
{
  Execution<Host> const exec{1};
  auto const x = input_tensor<Host>(4, exec);
  Tape<Host> tape;
  auto const recorded = exec.with_recorder(tape);
  auto const error = [&](auto const& forward, auto& parameter) {
    tape.reset();
    tape.watch(x);
    auto const y = forward();
    static_cast<void>(parameter.write());
    return error_of([&] { tape.backward(y, y.features(), exec); });
  };
  nn::Parameter<float, Host> mean{{4}, exec};
  nn::Parameter<float, Host> variance{{4}, exec};
  nn::Parameter<float, Host> weight{{1, 4, 4}, exec};
  nn::Parameter<float, Host> bias{{4}, exec};
  for (auto* const parameter : {&mean, &variance, &weight, &bias}) {
    std::fill_n(parameter->write(), parameter->size(), 0.5F);
  }
  auto const norm = [&] { return batch_norm(x, mean, variance, nullptr, bias, 1e-5, recorded); };
  CHECK(says(error(norm, variance), "batch_norm: its parameters were written"));
  CHECK(says(error(norm, mean), "batch_norm: its parameters were written"));
  CHECK(error(norm, bias).empty());
  auto const conv = [&](Activation activation) {
    return [&, activation] {
      ConvolutionOptions<3> options;
      options.out_channels = 4;
      options.geometry = geometry(1);
      options.activation = activation;
      return detail::convolve<3, float, Host>({x}, weight, bias, options, {}, recorded);
    };
  };
  CHECK(says(error(conv(Activation::silu), bias), "convolution: its parameters were written"));
  CHECK(error(conv(Activation::relu), bias).empty());
  auto const fused = [&](Activation activation) {
    return [&, activation] {
      ops::LinearMethod options{4, MathMode::exact, false};
      options.activation = activation;
      return detail::linear<Tensor<Host>, float, Host>(x, weight, bias, options, nullptr, recorded);
    };
  };
  CHECK(says(error(fused(Activation::silu), bias), "linear: its parameters were written"));
  CHECK(error(fused(Activation::relu), bias).empty());
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

TEST_CASE("tape: gradients of gradients are refused")
{
  Execution<Host> const exec{1};
  auto const x = upload_matrix(std::vector<float>{1, -2, 3}, 3, exec);
  Tape<Host> tape;
  auto const recorded = exec.with_recorder(tape);
  auto const same = [](Matrix<float, Host> const& in, Execution<Host> const& inside) {
    return copy(in, inside);
  };
  auto const recording = [&](auto const& grad, auto const&, auto const& in, auto const&) {
    static_cast<void>(copy(in, recorded));
    return Matrix<float, Host>{copy(grad.data, grad.size(), exec), grad.rows, grad.columns};
  };
  tape.watch(x);
  auto const y = ops::differentiable("recording", recorded, same, recording, x);
  CHECK(says(error_of([&] { tape.backward(y, x.view(), exec); }),
             "copy was recorded inside backward(); gradients of gradients"));
  CHECK(tape.num_operations() == 0);

  tape.watch(x);
  auto const z = copy(x, recorded);
  tape.backward(z, x.view(), recorded);  // with the recorder, which is not told
  CHECK(tape.num_operations() == 0);
  CHECK(tape.has_gradient(x));
}

TEST_CASE("tape: weights that were folded are refused, the module itself is trained on")
{
  Execution<Host> const exec{1};
  nn::SparseConvBlock<3, float, Host> block{ConvOptions<3>(2, 3, 1), exec};
  std::vector<Coordinate<3>> const rows{{0, {0, 0, 0}}, {0, {1, 0, 0}}};
  SparseTensor<3, float, Host> const x{make_coordinate_set(rows, {}, exec),
                                       upload_matrix(std::vector<float>{1, -2, 3, 4}, 2, exec)};
  auto const fused = nn::fuse(block, x, exec);
  Tape<Host> tape;
  tape.watch<float>(block);
  auto const y = fused.forward(x, exec.with_recorder(tape));
  CHECK(says(error_of([&] { tape.backward(y, y.features(), exec); }), "folded"));
  Tape<Host> other;
  other.watch<float>(block);
  auto const z = block.forward(x, exec.with_recorder(other));
  other.backward(z, z.features(), exec);
}
