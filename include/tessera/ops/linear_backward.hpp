// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/convolution_backward.hpp>
#include <tessera/ops/detail/row_map.hpp>

namespace tessera {
inline namespace v0 {

/// The view of a linear layer's weight as nn::Linear has it, [in_channels, out_channels].
template <class T>
[[nodiscard]] WeightView<T> linear_weight(T const* data, int in_channels, int out_channels)
{
  return plain_weight(data, 1, in_channels, out_channels);
}
/// The same of one as PyTorch lays it out and linear() reads it, [out_channels, in_channels].
template <class T>
[[nodiscard]] WeightView<T> transposed_linear_weight(T const* data, int in_channels, int out_channels)
{
  return plain_weight(data, 1, out_channels, in_channels).transposed();
}

/// The gradient of a linear layer's input: `dx[i, c] = sum over o of dy[i, o] * weight[c, o]`.
///
/// | name        | shape                       | memory | holds                                        |
/// |-------------|-----------------------------|--------|----------------------------------------------|
/// | grad_output | [rows, out_channels]        | Space  | dy                                           |
/// | weight      | [1, in_channels, out]       | Space  | linear_weight(), transposed_linear_weight()  |
/// | returns     | [rows, in_channels]         | Space  | dx                                           |
///
/// @throws invalid_argument  another number of channels, more rows than 32-bit indices hold
/// Cost: rows * in_channels * out_channels multiply-adds, by the kernels of the forward layer.
/// Stream: enqueues on `exec`, does not wait.
/// Determinism: the same bits on every run and for every order of rows.
template <class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> linear_backward_data(MatrixView<Scalar const> const& grad_output,
                                                         WeightView<Scalar> const& weight, MathMode math,
                                                         Execution<Space> const& exec)
{
  ConvConfig config;
  config.math = math;
  auto const map = detail::row_map<Space>(grad_output.rows, "linear_backward_data", exec);
  return convolution_backward_data(grad_output, weight, *map, config, exec);
}

/// The gradient of a linear layer's weight, [in_channels, out_channels]: `dweight[c, o] = sum over i of x[i,
/// c] * dy[i, o]`. With `x` and `grad_output` in each other's places it is that of a weight as PyTorch lays
/// it out, [out_channels, in_channels].
///
/// | name        | shape                       | memory | holds                |
/// |-------------|-----------------------------|--------|----------------------|
/// | x           | [rows, in_channels]         | Space  | the layer's input    |
/// | grad_output | [rows, out_channels]        | Space  | dy                   |
/// | grad_weight | [in_channels, out_channels] | Space  | written, or added to |
///
/// @tparam Out  Scalar or accumulator_t<Scalar>
/// @throws invalid_argument  other numbers of rows, channels below 1
/// Cost: rows * in_channels * out_channels multiply-adds.
/// Stream: enqueues on `exec`, does not wait.
/// Determinism: as convolution_backward_weight().
template <class Scalar, class Out, class Space>
void linear_backward_weight(MatrixView<Scalar const> const& x, MatrixView<Scalar const> const& grad_output,
                            Out* grad_weight, GradientMode mode, Execution<Space> const& exec)
{
  auto const map = detail::row_map<Space>(grad_output.rows, "linear_backward_weight", exec);
  convolution_backward_weight(x, grad_output, *map, grad_weight, mode, exec);
}

/// The gradient of a linear layer's bias: `dbias[o] = sum over i of dy[i, o]`.
/// @param grad_output  [rows, out_channels]
/// @param grad_bias    [out_channels] written, or added to
/// @tparam Out  Scalar or accumulator_t<Scalar>
/// Cost: one pass.
/// Stream: enqueues on `exec`, does not wait.
/// Determinism: as convolution_backward_weight().
template <class Scalar, class Out, class Space>
void linear_backward_bias(MatrixView<Scalar const> const& grad_output, Out* grad_bias, GradientMode mode,
                          Execution<Space> const& exec)
{
  auto const map = detail::row_map<Space>(grad_output.rows, "linear_backward_bias", exec);
  convolution_backward_bias(grad_output, *map, grad_bias, mode, exec);
}

}  // namespace v0
}  // namespace tessera
