// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// What a tape keeps, and when it gives it back.

#include "../support/memory.hpp"
#include "tape_cases.hpp"

using namespace tessera;
using namespace tape_cases;

TEST_CASE_TEMPLATE("tape: values are kept only where a gradient reads them, and given back as it runs", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  test::CountedMemory<Space> memory;
  auto const exec = memory.execution(1);
  constexpr int channels = 64;
  auto const x = input_tensor<Space>(channels, exec, 200);
  std::int64_t const one = x.features().size() * 4;  // bytes of a tensor's features
  nn::Conv<3, float, Space> conv{ConvOptions<3>(channels, channels, 1), exec};
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
