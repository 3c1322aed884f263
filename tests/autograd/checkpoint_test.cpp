// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Blocks that are computed again in backward().

#include "../support/memory.hpp"
#include "differentiated.hpp"

#include <tessera/autograd/checkpoint.hpp>
#include <tessera/nn/batch_norm.hpp>
#include <tessera/nn/conv.hpp>
#include <tessera/nn/dropout.hpp>
#include <tessera/ops/copy.hpp>
#include <tessera/ops/custom.hpp>

using namespace tessera;
using namespace differentiated;

namespace {

template <class Space>
using Tensor = SparseTensor<3, float, Space>;

template <class Space>
Tensor<Space> input_tensor(int channels, Execution<Space> const& exec, int count = 30)
{
  auto const values = test::random_values(static_cast<std::size_t>(count * channels), 1);
  return {make_coordinate_set(test::small_grid<3>(count), CoordinateSetOptions<3>{}, exec),
          upload_matrix(test::rounded<float>(values), channels, exec)};
}

/// A block with all that must not happen twice: statistics that are updated, and dropout.
template <class Space>
struct Block {
  explicit Block(Execution<Space> const& exec)
      : conv{ConvOptions<3>(4, 4, 3).bias(true), exec}, norm{4, exec}, dropout{0.5, 7}
  {
    norm.train();
    dropout.train();
  }
  [[nodiscard]] Tensor<Space> operator()(Tensor<Space> const& x, Execution<Space> const& exec)
  {
    return add(x, dropout(relu(norm(conv(x, exec), exec), exec), exec), exec);
  }
  /// Every gradient and statistic, on the host.
  [[nodiscard]] std::vector<std::vector<float>> state(Execution<Space> const& exec) const
  {
    auto const& c = conv;
    auto& n = const_cast<nn::BatchNorm<3, float, Space>&>(norm);
    std::vector<std::vector<float>> result;
    for (auto const* parameter :
         {&c.weight(), &c.bias(), &std::as_const(n.weight()), &std::as_const(n.bias())}) {
      result.push_back(download(parameter->grad(), parameter->size(), exec));
    }
    result.push_back(download(std::as_const(n.running_mean()).data(), 4, exec));
    result.push_back(download(std::as_const(n.running_var()).data(), 4, exec));
    return result;
  }

  nn::Conv<3, float, Space> conv;
  nn::BatchNorm<3, float, Space> norm;
  nn::Dropout<3, float, Space> dropout;
};

/// Gradients and statistics after a step through two blocks, with or without checkpoints.
template <class Space>
std::vector<std::vector<float>> step(bool checkpoints, Execution<Space> const& exec)
{
  auto const x = input_tensor<Space>(4, exec);
  Block<Space> first{exec};
  Block<Space> second{exec};
  Tape<Space> tape;
  tape.watch(x);
  for (auto* block : {&first, &second}) {
    tape.watch(block->conv);
    tape.watch(block->norm);
  }
  auto const recorded = exec.with_recorder(tape);
  auto const run = [&](Block<Space>& block, Tensor<Space> const& in) {
    return checkpoints ? checkpoint(recorded, block, in) : block(in, recorded);
  };
  auto const y = run(second, run(first, x));
  CHECK(tape.num_operations() == (checkpoints ? 2 : 10));
  auto const cotangent = test::random_values(static_cast<std::size_t>(y.features().size()), 5);
  auto const grad = upload_matrix(test::rounded<float>(cotangent), 4, exec);
  tape.backward(y, grad.view(), exec);
  CHECK(tape.unreached_parameters().empty());
  std::vector<std::vector<float>> result{y.features_on_host(exec), test::on_host(tape.gradient(x), exec)};
  for (auto const* block : {&first, &second}) {
    for (auto& values : block->state(exec)) { result.push_back(std::move(values)); }
  }
  return result;
}

template <class Run>
std::string error_of(Run const& run)
{
  try {
    run();
  } catch (invalid_argument const& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE_TEMPLATE(
    "checkpoint: the bits are those without it; dropout is the same twice, statistics move once", Space,
    TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const kept = step(false, exec);
  auto const computed_again = step(true, exec);
  REQUIRE(kept.size() == computed_again.size());
  for (std::size_t i = 0; i < kept.size(); ++i) {
    CAPTURE(i);
    CHECK(kept[i] == computed_again[i]);
    CHECK(test::dot(widened(kept[i]), widened(kept[i])) > 0);
  }
}

TEST_CASE_TEMPLATE("checkpoint: of a block the inputs alone are kept", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  test::CountedMemory<Space> memory;
  auto const exec = memory.execution(1);
  constexpr int channels = 32;
  auto const x = input_tensor<Space>(channels, exec, 300);
  std::int64_t const one = x.features().size() * 4;
  nn::Conv<3, float, Space> conv{ConvOptions<3>(channels, channels, 1), exec};
  auto const block = [&](auto const& in, auto const& inside) {
    auto y = in;
    for (int i = 0; i < 6; ++i) { y = relu(conv(y, inside), inside); }
    return y;
  };
  static_cast<void>(block(x, exec));
  static_cast<void>(conv.weight().grad(exec));
  Tape<Space> tape;
  tape.watch(conv);
  auto const recorded = exec.with_recorder(tape);
  auto const before = memory.bytes_in_use();
  auto y = x;
  for (int i = 0; i < 4; ++i) { y = checkpoint(recorded, block, y); }
  CHECK(tape.num_operations() == 4);
  CHECK(memory.bytes_in_use() - before == 4 * one);  // y among them
  auto const grad =
      upload_matrix(std::vector<float>(static_cast<std::size_t>(one / 4), 1.0F), channels, exec);
  tape.backward(y, grad.view(), exec);
  y = {};
  CHECK(memory.bytes_in_use() - before == one);  // `grad`
}

TEST_CASE("checkpoint: several inputs, matrices, and one in another")
{
  Execution<Host> const exec{1};
  auto const at = [&](double first) {
    return upload_matrix(std::vector<double>{first, first + 0.5, -first}, 3, exec);
  };
  auto const a = at(1);
  auto const b = at(2);
  auto const times = [](auto const& x, auto const& y, auto const& inside) {
    auto const run = [](auto const& p, auto const& q, auto const& e) {
      return detail::map_elements<double>(detail::MultiplyFunction<double>{}, e, p.view(), q.view());
    };
    auto const backward = [run](auto const& grad, auto const&, auto const& p, auto const& q, auto const& e) {
      Matrix<double, Host> const dy{copy(grad.data, grad.size(), e), grad.rows, grad.columns};
      return std::make_tuple(run(dy, q, e), run(dy, p, e));
    };
    return ops::differentiable("times", inside, run, backward, x, y);
  };
  Tape<Host> tape;
  tape.watch(a);
  auto const recorded = exec.with_recorder(tape);
  auto const square_times = [&](auto const& x, auto const& y, auto const& inside) {
    auto const square = checkpoint(
        inside, [&](auto const& in, auto const& deeper) { return times(in, in, deeper); }, x);
    return times(square, y, inside);
  };
  auto const y = checkpoint(recorded, square_times, a, b);
  CHECK(tape.num_operations() == 1);
  auto const grad = at(3);
  tape.backward(y, grad.view(), exec);
  auto const da = tape.gradient(a);
  CHECK_FALSE(tape.has_gradient(b));
  for (int i = 0; i < 3; ++i) {
    CHECK(da.data()[i] == doctest::Approx(2 * a.data()[i] * b.data()[i] * grad.data()[i]));
  }
}

TEST_CASE("checkpoint: without a tape the block runs, and its operations are recorded as ever")
{
  Execution<Host> const exec{1};
  auto const x = input_tensor<Host>(4, exec);
  auto const block = [](auto const& in, auto const& inside) { return relu(relu(in, inside), inside); };
  CHECK(checkpoint(exec, block, x).features_on_host(exec) == relu(x, exec).features_on_host(exec));
  test::RecordList<Host> list;
  static_cast<void>(checkpoint(exec.with_recorder(list), block, x));
  CHECK(list.records.size() == 2);
}

TEST_CASE("checkpoint: what it cannot compute again is refused when it runs")
{
  Execution<Host> const exec{1};
  auto const x = input_tensor<Host>(4, exec);
  auto const other = x.with_features(Matrix<float, Host>{x.capacity(), 4, exec});
  Tape<Host> tape;
  tape.watch(x);
  auto const recorded = exec.with_recorder(tape);
  auto const reads_other = [&](auto const& in, auto const& inside) { return add(in, other, inside); };
  CHECK(error_of([&] { static_cast<void>(checkpoint(recorded, reads_other, x)); }) ==
        "checkpoint: add reads a tensor that the block neither was given nor made; pass it to checkpoint() "
        "as an "
        "input");
  auto const makes_nothing = [](auto const& in, auto const&) { return in; };
  CHECK(error_of([&] { static_cast<void>(checkpoint(recorded, makes_nothing, x)); }) ==
        "checkpoint: the block returns a value that none of its operations made");
  CHECK(tape.num_operations() == 0);

  // A weight that was stepped in between is found, though the block is not kept.
  nn::Conv<3, float, Host> conv{ConvOptions<3>(4, 4, 3), exec};
  tape.watch(conv);
  auto const y = checkpoint(recorded, conv, x);
  static_cast<void>(conv.weight().write());
  auto const grad = Matrix<float, Host>{x.capacity(), 4, exec};
  CHECK(error_of([&] { tape.backward(y, grad.view(), exec); }).find("its parameters were written") !=
        std::string::npos);

  // So is a bias, on which what comes behind it in the block depends.
  nn::Conv<3, float, Host> biased{ConvOptions<3>(4, 4, 3).bias(true), exec};
  auto const block = [&](auto const& in, auto const& inside) {
    return relu(biased.forward(in, inside), inside);
  };
  tape.reset();
  tape.watch(x);
  auto const z = checkpoint(recorded, block, x);
  static_cast<void>(biased.bias().write());
  CHECK(error_of([&] { tape.backward(z, grad.view(), exec); }).find("its parameters were written") !=
        std::string::npos);

  // And what the block writes by itself, which would not be written again.
  auto const writes = [](auto const& in, auto const& inside) {
    auto const made = relu(in, inside);
    made.mark_written();
    return relu(made, inside);
  };
  CHECK(error_of([&] { static_cast<void>(checkpoint(recorded, writes, x)); }) ==
        "checkpoint: relu reads a tensor that was written after it was made, by no recorded operation");
  auto const writes_last = [](auto const& in, auto const& inside) {
    auto made = relu(in, inside);
    made.mark_written();
    return made;
  };
  CHECK(error_of([&] { static_cast<void>(checkpoint(recorded, writes_last, x)); }) ==
        "checkpoint: the block returns a value that none of its operations made");
}
