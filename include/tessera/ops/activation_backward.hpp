// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/detail/activation_functions.hpp>
#include <tessera/ops/detail/elementwise.hpp>

namespace tessera {
inline namespace v0 {

/// What activation_backward() reads besides the gradient.
enum class ActivationOperand : std::uint8_t { input, output };

/// The operand that activation_backward() reads: the output where the derivative follows from it, so that the
/// input need not be kept, which is so of none, relu, leaky_relu of a slope of 0 or more, sigmoid and tanh.
[[nodiscard]] constexpr ActivationOperand activation_backward_operand(Activation activation,
                                                                      float slope) noexcept
{
  return detail::gradient_reads_output(activation, slope) ? ActivationOperand::output
                                                          : ActivationOperand::input;
}

/// The gradient of an activation's input: `dx[i, c] = dy[i, c] * activation'(x[i, c])`; of relu and
/// leaky_relu at 0 it is that of the negative side, as in PyTorch.
///
/// | name        | shape            | memory | holds                                                            |
/// |-------------|------------------|--------|------------------------------------------------------------------|
/// | grad_output | [rows, channels] | Space  | dy                                                               |
/// | operand     | [rows, channels] | Space  | what activation_backward_operand() says: the input or the output |
/// | returns     | [rows, channels] | Space  | dx                                                               |
///
/// @param slope  of Activation::leaky_relu
/// @throws invalid_argument  the shapes differ
/// Cost: one pass.
/// Stream: enqueues one kernel, does not wait.
/// Determinism: same input, same bits.
template <class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> activation_backward(MatrixView<Scalar const> const& grad_output,
                                                        MatrixView<Scalar const> const& operand,
                                                        Activation activation, float slope,
                                                        Execution<Space> const& exec)
{
  detail::expects(grad_output.rows == operand.rows && grad_output.columns == operand.columns,
                  "activation_backward: a gradient of ", grad_output.rows, " x ", grad_output.columns,
                  " for ", operand.rows, " x ", operand.columns, " values");
  detail::ActivationGradientFunction<accumulator_t<Scalar>> const function{activation, slope};
  return detail::map_elements<Scalar>(function, exec, grad_output, operand);
}

}  // namespace v0
}  // namespace tessera
