// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/convolution.hpp>
#include <tessera/nn/initialize.hpp>
#include <tessera/nn/row_module.hpp>

#include <climits>
#include <cmath>
#include <utility>

namespace tessera {
inline namespace v0 {

namespace nn {

/// Options of a linear layer: `LinearOptions(96, 19).bias(false)`.
struct LinearOptions {
  LinearOptions(int in, int out) : in_channels{in}, out_channels{out} {}

  LinearOptions& bias(bool value) { return bias_ = value, *this; }
  [[nodiscard]] bool bias() const noexcept { return bias_; }
  /// How float products are made.
  LinearOptions& math(MathMode value) { return math_ = value, *this; }
  [[nodiscard]] MathMode math() const noexcept { return math_; }
  /// Seed of the initial values.
  LinearOptions& seed(std::uint64_t value) { return seed_ = value, *this; }
  [[nodiscard]] std::uint64_t seed() const noexcept { return seed_; }

  int in_channels;
  int out_channels;

 private:
  bool bias_ = true;
  MathMode math_ = MathMode::exact;
  std::uint64_t seed_ = 0;
};

}  // namespace nn

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

/// `y[i, o] = bias[o] + sum over c of x[i, c] * matrix[c, o]`: a convolution whose kernel is one voxel.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> multiply_rows(SparseTensor<Dim, Scalar, Space> const& x,
                                                             Scalar const* matrix, Scalar const* bias,
                                                             int out_channels, MathMode math,
                                                             PackedWeightView<Scalar> const& packed,
                                                             Execution<Space> const& exec)
{
  ConvolutionGeometry<Dim> one_voxel;
  one_voxel.kernel_size = 1;
  ConvConfig config;
  config.math = math;
  auto arguments = make_arguments(matrix, bias, out_channels, math);
  arguments.packed = packed;
  return convolution(x, arguments, ConvolutionKind::submanifold, one_voxel, config, exec);
}

/// index[i] = i.
struct NumberRows {
  std::int32_t* index;  // [rows]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const { index[i] = static_cast<std::int32_t>(i); }
};

/// The same of the rows of a matrix: the bits are those of the form for tensors.
template <class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> multiply_rows(MatrixView<Scalar const> const& x, Scalar const* matrix,
                                                  Scalar const* bias, int out_channels, MathMode math,
                                                  PackedWeightView<Scalar> const& packed,
                                                  Execution<Space> const& exec)
{
  auto arguments = make_arguments(matrix, bias, out_channels, math);
  arguments.packed = packed;
  arguments.features = x.data;
  arguments.in_channels = static_cast<int>(x.columns);
  check_arguments(arguments, "linear");
  expects(x.rows <= INT_MAX, "linear: ", x.rows, " rows are more than row indices hold");
  Matrix<Scalar, Space> output{x.rows, out_channels, exec};
  arguments.output = output.data();
  if (x.rows == 0) { return output; }
  Buffer<std::int32_t, Space> index{x.rows, exec};
  for_each(x.rows, NumberRows{index.data()}, exec);
  KernelMap<Space> map{std::move(index), x.rows, x.rows, 1, 0};
  run_dataflow(ConvConfig{}, arguments, map, exec);
  return output;
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
/// Cost: rows * channels * out_channels multiply-adds, and a copy of the weight. Stream: enqueues on `exec`,
/// does not wait. Determinism: as convolution().
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> linear(SparseTensor<Dim, Scalar, Space> const& x,
                                                      Scalar const* weight, Scalar const* bias,
                                                      int out_channels, MathMode math,
                                                      Execution<Space> const& exec)
{
  detail::expect_coordinates(x, "linear");
  auto const transposed = detail::transposed_weight(weight, x.channels(), out_channels, exec);
  return detail::multiply_rows(x, transposed.data(), bias, out_channels, math, {}, exec);
}

/// The same of the rows of a matrix, global pooling's for instance: [x.rows(), out_channels].
template <class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> linear(Matrix<Scalar, Space> const& x, Scalar const* weight,
                                           Scalar const* bias, int out_channels, MathMode math,
                                           Execution<Space> const& exec)
{
  auto const transposed = detail::transposed_weight(weight, x.columns(), out_channels, exec);
  return detail::multiply_rows(x.view(), transposed.data(), bias, out_channels, math, {}, exec);
}

namespace nn {

/// `y[i, o] = bias[o] + sum over c of x[i, c] * weight[c, o]`, with its `weight` [in_channels, out_channels]
/// and `bias` [out_channels], which start uniform in `+-1 / sqrt(in_channels)` (PyTorch). Checkpoints have
/// the weight transposed, as PyTorch does; io::load() and io::save() see to it.
template <int Dim, class Scalar, class Space = Device>
class Linear final : public RowModule<Dim, Scalar, Space> {
 public:
  using typename RowModule<Dim, Scalar, Space>::Tensor;

  /// @throws invalid_argument  channels below 1
  /// Stream: enqueues the upload of the initial values.
  Linear(LinearOptions const& options, Execution<Space> const& exec) : options_{options}
  {
    detail::expects(options.in_channels >= 1 && options.out_channels >= 1, "Linear: ", options.in_channels,
                    " -> ", options.out_channels, " channels; both must be at least 1");
    auto const bound = 1.0 / std::sqrt(static_cast<double>(options.in_channels));
    weight_ = detail::uniform_parameter<Scalar>({options.in_channels, options.out_channels}, bound,
                                                options.seed(), exec);
    this->register_parameter("weight", ParameterRole::matrix, weight_, ScalarTraits<Scalar>::dtype);
    if (options.bias()) {
      bias_ = detail::uniform_parameter<Scalar>({options.out_channels}, bound, options.seed() + 1, exec);
      this->register_parameter("bias", ParameterRole::bias, bias_, ScalarTraits<Scalar>::dtype);
    }
  }

  /// Cost: rows * in_channels * out_channels multiply-adds. Stream: enqueues on `exec`, does not wait.
  /// Determinism: as convolution().
  /// @throws invalid_argument  x has other channels than in_channels
  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
  {
    expect_channels(x.channels(), "tensor");
    return detail::multiply_rows(x, std::as_const(weight_).data(), std::as_const(bias_).data(),
                                 options_.out_channels, options_.math(), packed_.view(), exec);
  }
  [[nodiscard]] Matrix<Scalar, Space> forward(MatrixView<Scalar const> const& x,
                                              Execution<Space> const& exec) override
  {
    expect_channels(x.columns, "matrix");
    return detail::multiply_rows(x, std::as_const(weight_).data(), std::as_const(bias_).data(),
                                 options_.out_channels, options_.math(), packed_.view(), exec);
  }

  /// Lays the weight out as the space's kernels read it.
  void fuse(Execution<Space> const& exec) override
  {
    this->mark_fused();
    auto arguments = detail::make_arguments<Scalar>(std::as_const(weight_).data(), nullptr,
                                                    options_.out_channels, options_.math());
    arguments.in_channels = options_.in_channels;
    auto const plan = detail::ConvolutionBackend<Space>::plan(arguments, {0, 1, true}, 1, exec);
    packed_ = detail::pack_weight(plan, detail::weight_of(arguments, 1), exec);
  }

  [[nodiscard]] LinearOptions const& options() const noexcept { return options_; }
  /// Whoever asks may write, so what fuse() laid out is dropped.
  [[nodiscard]] Parameter<Scalar, Space>& weight() noexcept
  {
    packed_ = {};
    return weight_;
  }
  [[nodiscard]] Parameter<Scalar, Space>& bias() noexcept { return bias_; }

 private:
  void expect_channels(std::int64_t channels, char const* what) const
  {
    detail::expects(channels == options_.in_channels, "Linear: the ", what, " has ", channels,
                    " channels but ", options_.in_channels, " -> ", options_.out_channels, " were expected");
  }

  LinearOptions options_;
  Parameter<Scalar, Space> weight_;
  Parameter<Scalar, Space> bias_;
  detail::PackedWeight<Scalar, Space> packed_;  // the weight once more, of a fused layer
};

}  // namespace nn
}  // namespace v0
}  // namespace tessera
