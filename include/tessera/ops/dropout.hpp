// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/detail/random.hpp>
#include <tessera/ops/detail/elementwise.hpp>
#include <tessera/ops/detail/rows.hpp>
#include <tessera/ops/record.hpp>

#include <cstdint>
#include <memory>

namespace tessera {
inline namespace v0 {
namespace ops {

/// What decides which elements are dropped: a number, and where it is given, a number of steps in the
/// operation's space, so that a graph that is launched again drops other elements.
struct DropoutSeed {
  DropoutSeed(std::uint64_t seed = 0,  // NOLINT(google-explicit-constructor)
              std::uint64_t const* steps = nullptr)
      : value{seed}, step{steps}
  {}

  std::uint64_t value;
  std::uint64_t const* step;  ///< [1]; must have the same value in a forward pass and its backward pass
};

}  // namespace ops
namespace detail {

/// Keeps element i when the random number of (seed, step, i) says so.
template <class Sum>
struct DropoutFunction {
  std::uint64_t seed;
  std::uint64_t const* step;  // [1], or null
  std::uint64_t threshold;    // of 2^53: below it an element is dropped
  Sum scale;

  TESSERA_HOST_DEVICE Sum operator()(Sum const* x, std::int64_t i) const
  {
    std::uint64_t state = seed;
    if (step != nullptr) {
      state += *step * 0xd1342543de82ef95ULL;
      state = next_random(state);
    }
    state += static_cast<std::uint64_t>(i) * 0x9e3779b97f4a7c15ULL;
    return (next_random(state) >> 11) < threshold ? Sum{0} : x[0] * scale;
  }
};

template <class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> drop_elements(MatrixView<Scalar const> const& x, double probability,
                                                  ops::DropoutSeed seed, Execution<Space> const& exec)
{
  using Sum = accumulator_t<Scalar>;
  expects(probability >= 0 && probability <= 1, "dropout: probability ", probability, " is not in [0, 1]");
  DropoutFunction<Sum> function{};
  function.seed = next_random(seed.value);
  function.step = seed.step;
  function.threshold = static_cast<std::uint64_t>(probability * 0x1.0p53);
  function.scale = static_cast<Sum>(probability < 1 ? 1 / (1 - probability) : 0);
  return map_elements<Scalar>(function, exec, x);
}

template <class Value, class Space>
[[nodiscard]] Value dropout_unrecorded(Value const& x, double probability, ops::DropoutSeed const& seed,
                                       Execution<Space> const& exec)
{
  expect_rows(x, "dropout");
  return with_rows(x, drop_elements<scalar_of_rows<Value>>(rows_of(x), probability, seed, exec));
}

}  // namespace detail

namespace ops {

/// Dropout of the elements that the seed says.
template <class Value, class Space>
struct DropoutRecord final : FunctionRecord<DropoutRecord<Value, Space>, Space, Value, Value> {
  using DropoutRecord::FunctionRecord::FunctionRecord;

  [[nodiscard]] char const* name() const noexcept override { return "dropout"; }
  [[nodiscard]] Value compute(Value const& x, Execution<Space> const& exec) const
  {
    return detail::dropout_unrecorded(x, probability, seed, exec);
  }
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    using Scalar = detail::scalar_of_rows<Value>;
    auto const& x = this->input();
    if (!gradients.wants(x.id())) { return; }
    auto const grad = gradients.template of<Scalar>(this->output().id());
    gradients.add(x.id(), detail::drop_elements<Scalar>(grad, probability, seed, exec), exec);
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/)
  {
    this->input().give_back();
    this->output().give_back();
  }

  double probability = 0.5;
  DropoutSeed seed;
};

}  // namespace ops

namespace detail {

template <class Value, class Space>
[[nodiscard]] Value dropout(Value const& x, double probability, ops::DropoutSeed const& seed,
                            Execution<Space> const& exec)
{
  return run_recorded(
      exec, [&](auto const& inside) { return dropout_unrecorded(x, probability, seed, inside); },
      [&](Value const& y) {
        auto record = std::make_shared<ops::DropoutRecord<Value, Space>>(ops::Recorded<Value>{y},
                                                                         ops::Recorded<Value>{x});
        record->probability = probability;
        record->seed = seed;
        return record;
      });
}

}  // namespace detail

/// Sets every feature to 0 with the given probability and divides the others by `1 - probability`.
///
/// Element i is dropped or not by a hash of (seed, i), or of (seed, step, i): the same in every space and on
/// every run.
/// @throws invalid_argument  a probability outside [0, 1]
/// Cost: one pass over the features.
/// Stream: enqueues one kernel, does not wait.
/// Determinism: same input and seed, same bits.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> dropout(SparseTensor<Dim, Scalar, Space> const& x,
                                                       double probability, ops::DropoutSeed const& seed,
                                                       Execution<Space> const& exec)
{
  return detail::dropout(x, probability, seed, exec);
}
/// The same of the elements of a matrix.
template <class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> dropout(Matrix<Scalar, Space> const& x, double probability,
                                            ops::DropoutSeed const& seed, Execution<Space> const& exec)
{
  return detail::dropout(x, probability, seed, exec);
}

/// The gradient of dropout() with this probability and seed for its input: of an element that was kept
/// `grad[i, c] / (1 - probability)`, of the others 0. The mask is computed again, not kept.
/// @param grad  [rows, channels] in `Space`
/// @throws invalid_argument  a probability outside [0, 1]
/// Cost: one pass.
/// Stream: enqueues one kernel, does not wait.
/// Determinism: same input and seed, same bits.
template <class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> dropout_backward(MatrixView<Scalar const> const& grad, double probability,
                                                     ops::DropoutSeed const& seed,
                                                     Execution<Space> const& exec)
{
  return detail::drop_elements<Scalar>(grad, probability, seed, exec);
}

}  // namespace v0
}  // namespace tessera
