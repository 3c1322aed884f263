// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/convolution.hpp>
#include <tessera/conv/detail/names.hpp>
#include <tessera/ops/activation_backward.hpp>
#include <tessera/ops/detail/product_gradients.hpp>
#include <tessera/ops/detail/row_map.hpp>
#include <tessera/ops/detail/rows.hpp>
#include <tessera/ops/linear_backward.hpp>
#include <tessera/ops/record.hpp>
#include <tessera/ops/weight_source.hpp>

#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace ops {

/// What a linear layer is besides its weight and bias.
struct LinearMethod {
  int out_channels = 0;
  MathMode math = MathMode::exact;
  /// Whether the weight is [out_channels, in_channels], as PyTorch has it, instead of [in, out].
  bool is_transposed = false;
  Activation activation = Activation::none;
  float slope = 0.01F;  ///< of leaky_relu
};

}  // namespace ops

namespace detail {

/// to[c, r] = from[r, c].
template <class Scalar>
struct TransposeMatrix {
  Scalar const* from;  // [rows, columns]
  Scalar* to;          // [columns, rows]
  std::int64_t rows;
  std::int64_t columns;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    auto const row = n / columns;
    to[(n - row * columns) * rows + row] = from[n];
  }
};

template <class Scalar>
[[nodiscard]] auto linear_arguments(Scalar const* matrix, Scalar const* bias,
                                    ops::LinearMethod const& options, PackedWeightView<Scalar> const& packed)
{
  auto arguments = make_arguments(matrix, bias, options.out_channels, options.math);
  arguments.epilogue.activation = options.activation;
  arguments.epilogue.slope = options.slope;
  arguments.packed = packed;
  return arguments;
}

/// `y[i, o] = activation(bias[o] + sum over c of x[i, c] * matrix[c, o])`: a convolution whose kernel is one
/// voxel.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> multiply_rows(SparseTensor<Dim, Scalar, Space> const& x,
                                                             Scalar const* matrix, Scalar const* bias,
                                                             ops::LinearMethod const& options,
                                                             PackedWeightView<Scalar> const& packed,
                                                             Execution<Space> const& exec)
{
  ConvolutionGeometry<Dim> one_voxel;
  one_voxel.kernel_size = 1;
  ConvConfig config;
  config.math = options.math;
  auto prepared = prepare_convolution(x, linear_arguments(matrix, bias, options, packed), exec, [&] {
    return kernel_map(config, *x.coordinates(), ConvolutionKind::submanifold, one_voxel, exec);
  });
  if (!prepared.is_empty()) { run_dataflow(config, prepared.arguments, *prepared.mapped.map, exec); }
  return std::move(prepared).result();
}

/// The same of the rows of a matrix: the bits are those of the form for tensors.
template <class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> multiply_rows(Matrix<Scalar, Space> const& x, Scalar const* matrix,
                                                  Scalar const* bias, ops::LinearMethod const& options,
                                                  PackedWeightView<Scalar> const& packed,
                                                  Execution<Space> const& exec)
{
  auto arguments = linear_arguments(matrix, bias, options, packed);
  arguments.features = x.data();
  arguments.in_channels = static_cast<int>(x.columns());
  check_arguments(arguments, "linear");
  Matrix<Scalar, Space> output{x.rows(), options.out_channels, exec};
  arguments.output = output.data();
  if (x.rows() == 0) { return output; }
  run_dataflow(ConvConfig{}, arguments, *row_map<Space>(x.rows(), "linear", exec), exec);
  return output;
}

/// The same of points.
template <int Dim, class Scalar, class Space>
[[nodiscard]] PointTensor<Dim, Scalar, Space> multiply_rows(PointTensor<Dim, Scalar, Space> const& x,
                                                            Scalar const* matrix, Scalar const* bias,
                                                            ops::LinearMethod const& options,
                                                            PackedWeightView<Scalar> const& packed,
                                                            Execution<Space> const& exec)
{
  expect_points(x, "linear");
  return x.with_features(multiply_rows(x.matrix(), matrix, bias, options, packed, exec));
}

/// A weight as PyTorch lays it out, [out_channels, in_channels], as nn::Linear has its own.
template <class Scalar, class Space>
[[nodiscard]] Buffer<Scalar, Space> transposed_weight(Scalar const* weight, std::int64_t in_channels,
                                                      int out_channels, Execution<Space> const& exec)
{
  expects(in_channels >= 1 && out_channels >= 1, "linear: ", in_channels, " -> ", out_channels,
          " channels; both must be at least 1");
  Buffer<Scalar, Space> transposed{in_channels * out_channels, exec};
  for_each(transposed.size(), TransposeMatrix<Scalar>{weight, transposed.data(), out_channels, in_channels},
           exec);
  return transposed;
}

/// multiply_rows() of a weight in either order.
template <class Value, class Scalar, class Space>
[[nodiscard]] Value linear_unrecorded(Value const& x, Scalar const* weight, Scalar const* bias,
                                      ops::LinearMethod const& options,
                                      ops::WeightSource<Scalar, Space> const* source,
                                      Execution<Space> const& exec)
{
  PackedWeightView<Scalar> packed;
  if (source != nullptr) {
    ConvConfig config;
    config.math = options.math;
    packed = source->packed(config, exec);
  }
  if (!options.is_transposed) { return multiply_rows(x, weight, bias, options, packed, exec); }
  auto const matrix = transposed_weight(weight, rows_of(x).columns, options.out_channels, exec);
  return multiply_rows(x, matrix.data(), bias, options, packed, exec);
}

}  // namespace detail

namespace ops {

/// `y = activation(x * weight + bias)` of the rows of a SparseTensor or a Matrix.
template <class Value, class Scalar, class Space>
struct LinearRecord final : FunctionRecord<LinearRecord<Value, Scalar, Space>, Space, Value, Value> {
  using LinearRecord::FunctionRecord::FunctionRecord;

  [[nodiscard]] char const* name() const noexcept override { return "linear"; }
  /// Of folded ones also those that they were computed from.
  [[nodiscard]] std::vector<VariableId> parameters() const override
  {
    std::vector<VariableId> result{weight.id, bias.id};
    if (source != nullptr) { source->append_origins(result); }
    return result;
  }
  [[nodiscard]] Value compute(Value const& x, Execution<Space> const& exec) const
  {
    return detail::linear_unrecorded<Value, Scalar>(x, weight.data(), bias.data(), options, source.get(),
                                                    exec);
  }

  [[nodiscard]] OperationWork work(Execution<Space> const& exec) const override
  {
    auto work = LinearRecord::FunctionRecord::work(exec);
    detail::note_product<Scalar>(work, work.rows, 1, in_channels, options.out_channels);
    work.pairs = 0;  // it reads no map
    auto arguments =
        detail::make_arguments<Scalar>(weight.data(), bias.data(), options.out_channels, options.math);
    arguments.in_channels = in_channels;
    auto const plan = detail::ConvolutionBackend<Space>::plan(arguments, {work.rows, 1, true}, 1, exec);
    work.kernel = detail::name_of_kernel<Space>(plan.kernel);
    return work;
  }

  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override;
  void give_back_unread(Gradients<Space> const& gradients)
  {
    if (!repeats_sums() && !gradients.wants(weight.id)) { this->input().give_features_back(); }
    if (repeats_sums() || options.activation == Activation::none) { this->output().give_back(); }
  }
  void expect_unchanged() const override
  {
    LinearRecord::FunctionRecord::expect_unchanged();
    detail::expect_unwritten(weight, name());
    if (repeats_sums()) { detail::expect_unwritten(bias, name()); }
  }
  template <class Visit>
  void visit_parameters(Visit const& visit) const
  {
    visit(weight);
    visit(bias);
  }
  /// Whether backward() computes the sums before the activation again, since its output does not tell of them.
  [[nodiscard]] bool repeats_sums() const
  {
    return !detail::gradient_reads_output(options.activation, options.slope);
  }

  ParameterRef<Scalar> weight;
  ParameterRef<Scalar> bias;                                  // [out_channels], or none
  std::shared_ptr<WeightSource<Scalar, Space> const> source;  // of the packed weight, or none
  int in_channels = 0;
  LinearMethod options;
};

template <class Value, class Scalar, class Space>
void LinearRecord<Value, Scalar, Space>::backward(Gradients<Space>& gradients,
                                                  Execution<Space> const& exec) const
{
  detail::expect_unfolded(source.get(), gradients, name());
  auto const* const x = this->input().value();
  auto grad = gradients.template of<Scalar>(this->output().id());
  Matrix<Scalar, Space> of_sums;  // the gradient before the activation, where there is one
  if (options.activation != Activation::none) {
    auto linear = options;
    linear.activation = Activation::none;
    auto const differentiate = [&](Value const& read) {
      return activation_backward<Scalar>(grad, detail::rows_of(read), options.activation, options.slope,
                                         exec);
    };
    of_sums = repeats_sums() ? differentiate(detail::linear_unrecorded<Value, Scalar>(
                                   *x, weight.data(), bias.data(), linear, source.get(), exec))
                             : differentiate(*this->output().value());
    grad = std::as_const(of_sums).view();
  }
  auto const map = detail::row_map_of(x, grad.rows, name(), exec);
  detail::add_bias_gradient(gradients, bias.id, grad, *map, exec);
  if (gradients.wants(weight.id)) {
    auto const rows = detail::rows_of(*x);
    bool const swap = options.is_transposed;  // then the weight is [out_channels, in_channels]
    detail::add_weight_gradient<ConvPolicy<>>(gradients, weight.id, swap ? grad : rows, swap ? rows : grad,
                                              *map, exec);
  }
  if (gradients.wants(this->input().id())) {
    auto const view = options.is_transposed
                          ? transposed_linear_weight(weight.data(), in_channels, options.out_channels)
                          : linear_weight(weight.data(), in_channels, options.out_channels);
    ConvConfig config;
    config.math = options.math;
    gradients.add(this->input().id(), convolution_backward_data(grad, view, *map, config, exec), exec);
  }
}

}  // namespace ops

namespace detail {

/// The recorded operation that all forms of linear() come to.
template <class Value, class Scalar, class Space>
[[nodiscard]] Value linear(Value const& x, ParameterArgument<Scalar> const& weight,
                           ParameterArgument<Scalar> const& bias, ops::LinearMethod const& options,
                           ops::WeightSource<Scalar, Space> const* source, Execution<Space> const& exec)
{
  using Record = ops::LinearRecord<Value, Scalar, Space>;
  return run_recorded(
      exec,
      [&](auto const& inside) {
        return linear_unrecorded(x, weight.data(), bias.data(), options, source, inside);
      },
      [&](Value const& y) {
        auto record = std::make_shared<Record>(ops::Recorded<Value>{y}, ops::Recorded<Value>{x});
        record->weight = weight;
        record->bias = bias;
        record->source = unowned(source);
        record->in_channels = static_cast<int>(rows_of(x).columns);
        record->options = options;
        return record;
      });
}

}  // namespace detail

/// `y[i, o] = bias[o] + sum over c of x[i, c] * weight[o, c]`, for a weight as PyTorch lays it out;
/// nn::Linear has its own transposed already.
///
/// | name   | shape                       | memory | holds             |
/// |--------|-----------------------------|--------|-------------------|
/// | weight | [out_channels, channels]    | Space  | any values        |
/// | bias   | [out_channels]              | Space  | or null           |
///
/// @throws invalid_argument  channels or out_channels below 1
/// Cost: rows * channels * out_channels multiply-adds, and a copy of the weight.
/// Stream: enqueues on `exec`, does not wait.
/// Determinism: as convolution().
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> linear(SparseTensor<Dim, Scalar, Space> const& x,
                                                      detail::ParameterArgument<Scalar> const& weight,
                                                      detail::ParameterArgument<Scalar> const& bias,
                                                      int out_channels, MathMode math,
                                                      Execution<Space> const& exec)
{
  detail::expect_coordinates(x, "linear");
  ops::LinearMethod const options{out_channels, math, true};
  return detail::linear<SparseTensor<Dim, Scalar, Space>, Scalar, Space>(x, weight, bias, options, nullptr,
                                                                         exec);
}

/// The same of the rows of a matrix, global pooling's for instance: [x.rows(), out_channels].
template <class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> linear(Matrix<Scalar, Space> const& x,
                                           detail::ParameterArgument<Scalar> const& weight,
                                           detail::ParameterArgument<Scalar> const& bias, int out_channels,
                                           MathMode math, Execution<Space> const& exec)
{
  ops::LinearMethod const options{out_channels, math, true};
  return detail::linear<Matrix<Scalar, Space>, Scalar, Space>(x, weight, bias, options, nullptr, exec);
}

}  // namespace v0
}  // namespace tessera
