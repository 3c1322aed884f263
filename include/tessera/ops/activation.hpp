// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/activation_backward.hpp>
#include <tessera/ops/detail/activation_functions.hpp>
#include <tessera/ops/detail/elementwise.hpp>
#include <tessera/ops/detail/rows.hpp>
#include <tessera/ops/record.hpp>

namespace tessera {
inline namespace v0 {
namespace detail {

template <class Value, class Space, class Function>
[[nodiscard]] Value activate_unrecorded(Value const& x, Function const& function,
                                        Execution<Space> const& exec)
{
  expect_rows(x, Function::name);
  return with_rows(x, map_elements<scalar_of_rows<Value>>(function, exec, rows_of(x)));
}

/// The slope of an activation, 0 where it has none.
template <class Function>
[[nodiscard]] float slope_of(Function const& function)
{
  if constexpr (Function::which == Activation::leaky_relu) {
    return static_cast<float>(function.slope);
  } else {
    return 0;
  }
}

}  // namespace detail

namespace ops {

/// What the records of all activations have: `y[i, c] = activation(x[i, c])`.
struct ActivationInfo {
  Activation activation = Activation::none;  ///< its name in an Epilogue; none where that has no name for it
  float slope = 0;                           ///< of leaky_relu
};

/// An activation of a SparseTensor or a Matrix. `Function` computes an element; see
/// ops/detail/activation_functions.hpp.
template <class Value, class Space, class Function>
struct ActivationRecord final : FunctionRecord<ActivationRecord<Value, Space, Function>, Space, Value, Value>,
                                ActivationInfo {
  ActivationRecord(Value const& x, Function const& by, Value const& y)
      : FunctionRecord<ActivationRecord, Space, Value, Value>{Recorded{y}, Recorded{x}},
        ActivationInfo{Function::activation, detail::slope_of(by)},
        function{by}
  {}

  [[nodiscard]] char const* name() const noexcept override { return Function::name; }
  [[nodiscard]] Value compute(Value const& x, Execution<Space> const& exec) const
  {
    return detail::activate_unrecorded(x, function, exec);
  }
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    using Scalar = detail::scalar_of_rows<Value>;
    auto const& operand = reads_output() ? *this->output().value() : *this->input().value();
    gradients.add(
        this->input().id(),
        tessera::activation_backward<Scalar>(gradients.template of<Scalar>(this->output().id()),
                                             detail::rows_of(operand), Function::which, slope, exec),
        exec);
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/)
  {
    auto& unread = reads_output() ? this->input() : this->output();
    unread.give_back();
  }

  Function function;

 private:
  [[nodiscard]] bool reads_output() const { return detail::gradient_reads_output(Function::which, slope); }
};

}  // namespace ops

namespace detail {

/// `function` of every element of a SparseTensor or a Matrix.
template <class Value, class Space, class Function>
[[nodiscard]] Value activate(Value const& x, Function const& function, Execution<Space> const& exec)
{
  return run_recorded(
      exec, [&](auto const& inside) { return activate_unrecorded(x, function, inside); },
      [&](Value const& y) {
        return std::make_shared<ops::ActivationRecord<Value, Space, Function>>(x, function, y);
      });
}

}  // namespace detail

/// `max(x, 0)` of every feature; NaN stays NaN.
/// @throws invalid_argument  the tensor has no coordinates
/// Cost: one pass over the features.
/// Stream: enqueues one kernel, does not wait.
/// Determinism: same input, same bits.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> relu(SparseTensor<Dim, Scalar, Space> const& x,
                                                    Execution<Space> const& exec)
{
  return detail::activate(x, detail::ReluFunction<accumulator_t<Scalar>>{}, exec);
}

/// `x` where it is positive, else `slope * x`. Errors, cost, stream, determinism: as relu().
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> leaky_relu(SparseTensor<Dim, Scalar, Space> const& x,
                                                          double slope, Execution<Space> const& exec)
{
  using Sum = accumulator_t<Scalar>;
  return detail::activate(x, detail::LeakyReluFunction<Sum>{static_cast<Sum>(slope)}, exec);
}

/// `x / (1 + exp(-x))`. Errors, cost, stream, determinism: as relu(), but host and device round exp()
/// differently.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> silu(SparseTensor<Dim, Scalar, Space> const& x,
                                                    Execution<Space> const& exec)
{
  return detail::activate(x, detail::SiluFunction<accumulator_t<Scalar>>{}, exec);
}

/// `1 / (1 + exp(-x))`. Errors, cost, stream, determinism: as silu().
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> sigmoid(SparseTensor<Dim, Scalar, Space> const& x,
                                                       Execution<Space> const& exec)
{
  return detail::activate(x, detail::SigmoidFunction<accumulator_t<Scalar>>{}, exec);
}

/// The hyperbolic tangent. Errors, cost, stream, determinism: as silu().
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> tanh(SparseTensor<Dim, Scalar, Space> const& x,
                                                    Execution<Space> const& exec)
{
  return detail::activate(x, detail::TanhFunction<accumulator_t<Scalar>>{}, exec);
}

/// `x / 2 * (1 + erf(x / sqrt(2)))`, PyTorch's GELU without approximation. Errors, cost, stream, determinism:
/// as silu().
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> gelu(SparseTensor<Dim, Scalar, Space> const& x,
                                                    Execution<Space> const& exec)
{
  return detail::activate(x, detail::GeluFunction<accumulator_t<Scalar>>{}, exec);
}

}  // namespace v0
}  // namespace tessera
