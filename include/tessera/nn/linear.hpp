// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/convolution.hpp>
#include <tessera/nn/initialize.hpp>
#include <tessera/nn/module.hpp>

#include <cmath>

namespace tessera {
inline namespace v0 {

/// Options of a linear layer: `LinearOptions(96, 19).bias(false)`.
struct LinearOptions {
  LinearOptions(int in, int out) : in_channels{in}, out_channels{out} {}

  LinearOptions& bias(bool value) { return has_bias = value, *this; }
  /// How float products are made.
  LinearOptions& math(MathMode value) { return math_mode = value, *this; }
  /// Seed of the initial values.
  LinearOptions& seed(std::uint64_t value) { return initial_seed = value, *this; }

  int in_channels;
  int out_channels;
  bool has_bias = true;
  MathMode math_mode = MathMode::exact;
  std::uint64_t initial_seed = 0;
};

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
  std::int64_t const in_channels = x.channels();
  detail::expect_coordinates(x, "linear");
  detail::expects(in_channels >= 1 && out_channels >= 1, "linear: ", in_channels, " -> ", out_channels,
                  " channels; both must be at least 1");
  Buffer<Scalar, Space> transposed{in_channels * out_channels, exec};
  for_each(transposed.size(),
           detail::TransposeMatrix<Scalar>{weight, transposed.data(), out_channels, in_channels}, exec);
  return detail::multiply_rows(x, std::as_const(transposed).data(), bias, out_channels, math, {}, exec);
}

namespace nn {

/// `y[i, o] = bias[o] + sum over c of x[i, c] * weight[c, o]`, with its `weight` [in_channels, out_channels]
/// and `bias` [out_channels], which start uniform in `+-1 / sqrt(in_channels)` (PyTorch). Checkpoints have
/// the weight transposed, as PyTorch does; io::load() and io::save() see to it.
template <int Dim, class Scalar, class Space = Device>
class Linear final : public Module<Dim, Scalar, Space> {
 public:
  using typename Module<Dim, Scalar, Space>::Tensor;

  /// @throws invalid_argument  channels below 1
  /// Stream: enqueues the upload of the initial values.
  Linear(LinearOptions const& options, Execution<Space> const& exec) : options_{options}
  {
    detail::expects(options.in_channels >= 1 && options.out_channels >= 1, "Linear: ", options.in_channels,
                    " -> ", options.out_channels, " channels; both must be at least 1");
    auto const bound = 1.0 / std::sqrt(static_cast<double>(options.in_channels));
    weight_ = detail::uniform_parameter<Scalar>({options.in_channels, options.out_channels}, bound,
                                                options.initial_seed, exec);
    this->register_parameter("weight", ParameterRole::matrix, weight_, ScalarTraits<Scalar>::dtype);
    if (options.has_bias) {
      bias_ =
          detail::uniform_parameter<Scalar>({options.out_channels}, bound, options.initial_seed + 1, exec);
      this->register_parameter("bias", ParameterRole::bias, bias_, ScalarTraits<Scalar>::dtype);
    }
  }

  /// Cost: rows * in_channels * out_channels multiply-adds. Stream: enqueues on `exec`, does not wait.
  /// Determinism: as convolution().
  /// @throws invalid_argument  x has other channels than in_channels
  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
  {
    detail::expects(x.channels() == options_.in_channels, "Linear: the tensor has ", x.channels(),
                    " channels but ", options_.in_channels, " -> ", options_.out_channels, " were expected");
    return detail::multiply_rows(x, std::as_const(weight_).data(), std::as_const(bias_).data(),
                                 options_.out_channels, options_.math_mode, packed_.view(), exec);
  }

  /// Lays the weight out as the space's kernels read it.
  void fuse(Execution<Space> const& exec) override
  {
    this->mark_fused();
    auto arguments = detail::make_arguments<Scalar>(std::as_const(weight_).data(), nullptr,
                                                    options_.out_channels, options_.math_mode);
    arguments.in_channels = options_.in_channels;
    auto const plan = detail::ConvolutionBackend<Space>::plan(arguments, {0, 1, true}, 1, exec);
    packed_ = detail::ConvolutionBackend<Space>::pack(plan, arguments.weight, exec);
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
  LinearOptions options_;
  Parameter<Scalar, Space> weight_;
  Parameter<Scalar, Space> bias_;
  detail::PackedWeight<Scalar, Space> packed_;  // the weight once more, of a fused layer
};

}  // namespace nn
}  // namespace v0
}  // namespace tessera
