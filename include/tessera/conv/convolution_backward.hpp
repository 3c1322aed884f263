// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/convolution.hpp>
#include <tessera/conv/detail/weight_gradient/slabs.hpp>
#include <tessera/conv/weight_view.hpp>
#include <tessera/coords/detail/reduce_rows.hpp>
#include <tessera/kmap/transpose.hpp>

#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

namespace tessera {
inline namespace v0 {

/// Whether a gradient is written or added to.
enum class GradientMode : std::uint8_t { overwrite, accumulate };

namespace detail {

/// The convolution that is the data gradient: its map, and its arguments but the output.
template <class Scalar, class Space>
struct DataGradient {
  std::shared_ptr<KernelMap<Space>> map;
  ConvolutionArguments<Scalar> arguments;
};

/// @param weight  of the forward convolution over `map`
/// Stream: as gradient_map().
template <class Scalar, class Space>
[[nodiscard]] DataGradient<Scalar, Space> data_gradient(MatrixView<Scalar const> const& grad_output,
                                                        WeightView<Scalar> const& weight,
                                                        KernelMap<Space>& map, MathMode math,
                                                        Execution<Space> const& exec)
{
  expects(weight.volume == map.volume(), "convolution_backward_data: a weight of ", weight.volume,
          " offsets for a map of ", map.volume());
  expects(grad_output.rows == map.num_out() && grad_output.columns == weight.out_channels,
          "convolution_backward_data: a gradient of ", grad_output.rows, " x ", grad_output.columns, " for ",
          map.num_out(), " output rows of ", weight.out_channels, " channels");
  // A weight is read from the last offset to the first, but not in any other order.
  bool const shares_map = map.is_symmetric() && map.mirror().is_reversal();
  auto gradient = shares_map || !map.is_symmetric() ? gradient_map(map, exec)
                                                    : GradientMap<Space>{transpose(map, exec), false};
  auto const transposed = (gradient.is_mirrored ? weight.mirrored() : weight).transposed();
  DataGradient<Scalar, Space> result;
  result.map = std::move(gradient.map);
  auto& arguments = result.arguments;
  arguments.operation = Operation::backward_data;
  arguments.features = grad_output.data;
  arguments.weight = transposed.data;
  arguments.weight_steps = transposed.steps();
  arguments.in_channels = transposed.in_channels;
  arguments.out_channels = transposed.out_channels;
  arguments.math = math;
  check_arguments(arguments, "convolution_backward_data");
  return result;
}

/// Computes it by `run(arguments, map)`.
template <class Scalar, class Space, class Run>
[[nodiscard]] Matrix<Scalar, Space> convolution_backward_data(DataGradient<Scalar, Space> gradient,
                                                              Execution<Space> const& exec, Run const& run)
{
  auto& arguments = gradient.arguments;
  Matrix<Scalar, Space> result{gradient.map->num_out(), arguments.out_channels, exec};
  arguments.output = result.data();
  if (result.size() > 0) { run(arguments, *gradient.map); }
  return result;
}

}  // namespace detail

/// The gradient of a convolution's input:
/// `dx[i] = sum over k, and the rows o with map.out_in(o, k) = i, of dy[o] * transpose(weight[k])`.
///
/// | name        | shape                               | memory | holds                                        |
/// |-------------|-------------------------------------|--------|----------------------------------------------|
/// | grad_output | [map.num_out(), out_channels]       | Space  | dy                                           |
/// | weight      | [volume, in_channels, out_channels] | Space  | of the convolution, in any order of memory   |
/// | map         |                                     | Space  | of the convolution                           |
/// | returns     | [map.num_in(), in_channels]         | Space  | dx; 0 in rows that no output reads           |
///
/// It is a convolution by the same kernels, with another packing of the weight. A symmetric map serves both
/// directions; else the transposed map is made, which `map` keeps.
/// @tparam Policy  a ConvPolicy; where its dataflow lacks backward_data(), GatherScatter runs it
/// @throws invalid_argument  another number of offsets, rows or channels
/// Cost: transpose() the first time where the map is not symmetric; packing of the weight; num_pairs *
/// in_channels * out_channels multiply-adds.
/// Stream: enqueues on `exec`; gather-scatter and fetch-on-demand wait once per map for their pair lists.
/// Determinism: the same bits on every run and for every order of rows.
template <class Policy = ConvPolicy<>, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> convolution_backward_data(MatrixView<Scalar const> const& grad_output,
                                                              WeightView<Scalar> const& weight,
                                                              KernelMap<Space>& map, MathMode math,
                                                              Execution<Space> const& exec)
{
  static_assert(is_conv_policy<Policy>::value,
                "convolution_backward_data: Policy must be a ConvPolicy or a type with its members");
  return detail::convolution_backward_data(detail::data_gradient(grad_output, weight, map, math, exec), exec,
                                           [&](auto const& arguments, auto& gradient_map) {
                                             detail::run_operation<typename Policy::dataflow>(
                                                 arguments, gradient_map, exec);
                                           });
}

/// The same with every choice made at run time.
/// @throws invalid_argument  also: splits below 1
template <class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> convolution_backward_data(MatrixView<Scalar const> const& grad_output,
                                                              WeightView<Scalar> const& weight,
                                                              KernelMap<Space>& map, ConvConfig const& config,
                                                              Execution<Space> const& exec)
{
  detail::expects(config.splits >= 1, "convolution_backward_data: ", config.splits, " splits; at least 1");
  return detail::convolution_backward_data(detail::data_gradient(grad_output, weight, map, config.math, exec),
                                           exec, [&](auto const& arguments, auto& gradient_map) {
                                             detail::run_dataflow(config, arguments, gradient_map, exec);
                                           });
}

/// The gradient of a convolution's weight:
/// `dweight[k, c, j] = sum over the output rows o with i = map.out_in(o, k) >= 0 of x[i, c] * dy[o, j]`.
///
/// | name        | shape                               | memory | holds                                        |
/// |-------------|-------------------------------------|--------|----------------------------------------------|
/// | x           | [map.num_in(), in_channels]         | Space  | the convolution's input                      |
/// | grad_output | [map.num_out(), out_channels]       | Space  | dy                                           |
/// | map         |                                     | Space  | of the convolution                           |
/// | grad_weight | [volume, in_channels, out_channels] | Space  | written, or added to                         |
/// | steps       |                                     | host   | from element to element of grad_weight       |
///
/// Products are exact in every MathMode. Sums are kept in accumulator_t<Scalar> and rounded once; tensor cores,
/// which sum 16-bit scalars, add 16 products at a time.
/// @tparam Policy  a ConvPolicy; where its dataflow lacks backward_weight(), GatherScatter runs it
/// @tparam Out  Scalar or accumulator_t<Scalar>
/// @throws invalid_argument  another number of rows, channels below 1
/// Cost: num_pairs * in_channels * out_channels multiply-adds; up to 64 MB of memory, or twice the gradient; for
/// 16-bit scalars on the device pair_list() the first time, which `map` keeps.
/// Stream: enqueues on `exec`, does not wait.
/// Determinism: the same bits on every run, and whatever the capacity of the sets; another order of rows
/// differs by rounding.
template <class Policy = ConvPolicy<>, class Scalar, class Out, class Space>
void convolution_backward_weight(MatrixView<Scalar const> const& x,
                                 MatrixView<Scalar const> const& grad_output, KernelMap<Space>& map,
                                 Out* grad_weight, WeightSteps const& steps, GradientMode mode,
                                 Execution<Space> const& exec)
{
  using Sum = accumulator_t<Scalar>;
  static_assert(ScalarTraits<Scalar>::is_feature && (std::is_same_v<Out, Scalar> || std::is_same_v<Out, Sum>),
                "convolution_backward_weight: gradients are in the features' scalar or in its accumulator");
  detail::expects(x.rows == map.num_in() && grad_output.rows == map.num_out(),
                  "convolution_backward_weight: ", x.rows, " rows of features and ", grad_output.rows,
                  " of gradients for a map from ", map.num_in(), " to ", map.num_out(), " rows");
  detail::expects(x.columns >= 1 && grad_output.columns >= 1, "convolution_backward_weight: ", x.columns,
                  " -> ", grad_output.columns, " channels; both must be at least 1");
  Buffer<Sum, Space> sums{map.volume() * x.columns * grad_output.columns, exec};
  WeightGradientArguments<Scalar> const arguments{x.data, grad_output.data, sums.data(),
                                                  static_cast<int>(x.columns),
                                                  static_cast<int>(grad_output.columns)};
  detail::run_weight_gradient<typename Policy::dataflow>(arguments, map, exec);
  bool const accumulates = mode == GradientMode::accumulate;
  if (steps.is_plain()) {
    for_each(sums.size(), detail::StoreGradient<Sum, Out>{sums.data(), grad_weight, accumulates}, exec);
  } else {
    detail::StoreInOrder<Sum, Out> const store{
        {sums.data(), grad_weight, accumulates}, arguments.in_channels, arguments.out_channels, steps};
    for_each(sums.size(), store, exec);
  }
}

/// The same in the plain order.
template <class Policy = ConvPolicy<>, class Scalar, class Out, class Space>
void convolution_backward_weight(MatrixView<Scalar const> const& x,
                                 MatrixView<Scalar const> const& grad_output, KernelMap<Space>& map,
                                 Out* grad_weight, GradientMode mode, Execution<Space> const& exec)
{
  convolution_backward_weight<Policy>(x, grad_output, map, grad_weight, WeightSteps{}, mode, exec);
}

/// The gradient of a convolution's bias: `dbias[j] = sum over the output rows in use of dy[o, j]`.
///
/// @param grad_output  [map.num_out(), channels]
/// @param grad_bias    [channels] written, or added to
/// @tparam Out  Scalar or accumulator_t<Scalar>
/// @throws invalid_argument  another number of rows
/// Cost: one pass.
/// Stream: enqueues on `exec`, does not wait.
/// Determinism: as convolution_backward_weight().
template <class Scalar, class Out, class Space>
void convolution_backward_bias(MatrixView<Scalar const> const& grad_output, KernelMap<Space> const& map,
                               Out* grad_bias, GradientMode mode, Execution<Space> const& exec)
{
  using Sum = accumulator_t<Scalar>;
  static_assert(ScalarTraits<Scalar>::is_feature && (std::is_same_v<Out, Scalar> || std::is_same_v<Out, Sum>),
                "convolution_backward_bias: gradients are in the features' scalar or in its accumulator");
  detail::expects(grad_output.rows == map.num_out(), "convolution_backward_bias: ", grad_output.rows,
                  " rows of gradients for ", map.num_out(), " output rows");
  auto const channels = static_cast<int>(grad_output.columns);
  RowCount const rows{grad_output.rows, map.parts().out_count};
  auto const sums =
      detail::reduce_rows(detail::SumOfRows<Scalar>{grad_output.data, channels}, rows, channels, exec);
  for_each(channels,
           detail::StoreGradient<Sum, Out>{sums.data(), grad_bias, mode == GradientMode::accumulate}, exec);
}

}  // namespace v0
}  // namespace tessera
