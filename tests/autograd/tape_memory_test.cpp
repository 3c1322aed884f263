// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// What a tape keeps in memory, whom it tells, and what it does beside other recorders and lists.

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

TEST_CASE("tape: it is told of each parameter once, as soon as its gradient is whole")
{
  Execution<Host> const exec{1};
  auto const x = input_tensor<Host>(4, exec);
  Network<Host> network{exec};
  nn::Conv<3, float, Host> twice{nn::ConvOptions<3>(2, 2, 3), exec};
  nn::Conv<3, float, Host> unused{nn::ConvOptions<3>(2, 2, 3), exec};
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

TEST_CASE_TEMPLATE("tape: values are kept only where a gradient reads them, and given back as it runs", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  test::CountedMemory<Space> memory;
  auto const exec = memory.execution(1);
  constexpr int channels = 64;
  auto const x = input_tensor<Space>(channels, exec, 200);
  std::int64_t const one = x.features().size() * 4;  // bytes of a tensor's features
  nn::Conv<3, float, Space> conv{nn::ConvOptions<3>(channels, channels, 1), exec};
  auto const grad = uploaded_ones(x, exec);
  Tape<Space> tape;
  auto const recorded = exec.with_recorder(tape);
  auto const forward = [&](auto const& operation) {
    auto y = x;
    for (int i = 0; i < 8; ++i) { y = operation(y); }
    return y;
  };
  static_cast<void>(
      forward([&](auto const& y) { return relu(conv(y, exec), exec); }));  // maps, packed weights

  SUBCASE("sums keep nothing")
  {
    auto const before = memory.bytes_in_use();
    tape.watch(x);
    auto const y = forward([&](auto const& h) { return add(h, h, recorded); });
    CHECK(tape.num_operations() == 8);
    CHECK(memory.bytes_in_use() - before < 2 * one);
  }
  SUBCASE("activations keep their output, which the next convolution reads too")
  {
    auto const before = memory.bytes_in_use();
    tape.watch(conv);
    auto y = forward([&](auto const& h) { return relu(conv(h, recorded), recorded); });
    auto const kept = memory.bytes_in_use() - before;
    CHECK(kept >= 8 * one);
    CHECK(kept < 9 * one);
    y = {};
    tape.reset();
    CHECK(memory.bytes_in_use() == before);
    std::vector<std::int64_t> in_use;
    tape.on_parameter_done(
        [&](VariableId, Execution<Space> const&) { in_use.push_back(memory.bytes_in_use()); });
    auto const z = forward([&](auto const& h) { return relu(conv(h, recorded), recorded); });
    tape.backward(z, grad.view(), exec);
    REQUIRE(in_use.size() == 1);
    CHECK(in_use[0] - before < 4 * one);  // when the last gradient was added, all but it was given back
  }
  SUBCASE("nothing is left")
  {
    tape.watch(conv);
    tape.watch(x);
    static_cast<void>(conv.weight().grad(exec));
    auto const before = memory.bytes_in_use();
    {
      auto const y = forward([&](auto const& h) { return relu(conv(h, recorded), recorded); });
      tape.backward(y, grad.view(), exec);
    }
    CHECK(memory.bytes_in_use() - before == one);  // the gradient of x
    tape.reset();
    CHECK(memory.bytes_in_use() == before);
  }
}

TEST_CASE_TEMPLATE("tape: memory that runs out in backward() leaves an empty tape, which works on", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  test::CountedMemory<Space> memory;
  auto const exec = memory.execution(1);
  auto const x = input_tensor<Space>(4, exec);
  Network<Space> network{exec};
  Tape<Space> tape;
  tape.watch(network);
  auto const recorded = exec.with_recorder(tape);
  auto const y = network.forward(x, recorded);
  auto const grad = uploaded_ones(y, exec);
  memory.fail_at(3);
  CHECK_THROWS_AS(tape.backward(y, grad.view(), exec), test::OutOfMemory<Space>);
  memory.fail_at(-1);
  CHECK(tape.num_operations() == 0);
  network.first.weight().drop_grad();
  auto const z = network.forward(x, recorded);
  tape.backward(z, grad.view(), exec);
  CHECK(grad_of(network.first.weight(), exec).size() == 27 * 32);
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

TEST_CASE("tape: weights that were folded are refused, the module itself is trained on")
{
  Execution<Host> const exec{1};
  nn::SparseConvBlock<3, float, Host> block{nn::ConvOptions<3>(2, 3, 1), exec};
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
