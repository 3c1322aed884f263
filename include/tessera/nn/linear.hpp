// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/detail/packed_weights.hpp>
#include <tessera/nn/detail/plan_of_weight.hpp>
#include <tessera/nn/initialize.hpp>
#include <tessera/nn/row_module.hpp>
#include <tessera/ops/linear.hpp>

#include <cmath>
#include <utility>

namespace tessera {
inline namespace v0 {

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

namespace nn {

/// `y[i, o] = bias[o] + sum over c of x[i, c] * weight[c, o]`, with its `weight` [in_channels, out_channels]
/// and `bias` [out_channels], which start uniform in `+-1 / sqrt(in_channels)` (PyTorch). Checkpoints have
/// the weight transposed, as PyTorch does; io::load() and io::save() see to it.
template <int Dim, class Scalar, class Space = Device>
class Linear final : public RowModule<Dim, Scalar, Space>, private ops::WeightSource<Scalar, Space> {
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
    this->register_parameter("weight", ParameterRole::matrix, weight_);
    if (options.bias()) {
      bias_ = detail::uniform_parameter<Scalar>({options.out_channels}, bound, options.seed() + 1, exec);
      this->register_parameter("bias", ParameterRole::bias, bias_);
    }
  }

  /// Cost: rows * in_channels * out_channels multiply-adds.
  /// Stream: enqueues on `exec`, does not wait.
  /// Determinism: as convolution().
  /// @throws invalid_argument  x has other channels than in_channels
  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
  {
    expect_channels(x.channels(), "tensor");
    return detail::linear<Tensor, Scalar>(x, weight_, bias_, linear_options(), this, exec);
  }
  [[nodiscard]] Matrix<Scalar, Space> forward(Matrix<Scalar, Space> const& x,
                                              Execution<Space> const& exec) override
  {
    expect_channels(x.columns(), "matrix");
    return detail::linear<Matrix<Scalar, Space>, Scalar>(x, weight_, bias_, linear_options(), this, exec);
  }

  /// The same of points.
  [[nodiscard]] PointTensor<Dim, Scalar, Space> forward(PointTensor<Dim, Scalar, Space> const& x,
                                                        Execution<Space> const& exec)
  {
    expect_channels(x.channels(), "tensor");
    return detail::linear<PointTensor<Dim, Scalar, Space>, Scalar>(x, weight_, bias_, linear_options(), this,
                                                                   exec);
  }

  [[nodiscard]] LinearOptions const& options() const noexcept { return options_; }
  [[nodiscard]] Parameter<Scalar, Space>& weight() noexcept { return weight_; }
  [[nodiscard]] Parameter<Scalar, Space> const& weight() const noexcept { return weight_; }
  [[nodiscard]] Parameter<Scalar, Space>& bias() noexcept { return bias_; }
  [[nodiscard]] Parameter<Scalar, Space> const& bias() const noexcept { return bias_; }

 private:
  [[nodiscard]] ops::LinearMethod linear_options() const { return {options_.out_channels, options_.math()}; }
  [[nodiscard]] detail::PackedWeightView<Scalar> packed(ConvConfig const& config,
                                                        Execution<Space> const& exec) const final
  {
    return packed_.get({GemmKernel::automatic, config.math}, weight_, exec, [&] {
      return detail::plan_of_weight(weight_.data(), options_.in_channels, options_.out_channels, 1, true,
                                    config, exec);
    });
  }
  void expect_channels(std::int64_t channels, char const* what) const
  {
    detail::expects(channels == options_.in_channels, "Linear: the ", what, " has ", channels,
                    " channels but ", options_.in_channels, " -> ", options_.out_channels, " were expected");
  }

  LinearOptions options_;
  Parameter<Scalar, Space> weight_;
  Parameter<Scalar, Space> bias_;
  mutable detail::PackedWeights<Scalar, Space> packed_;  // of the weight, as the kernels read it
};

}  // namespace nn
}  // namespace v0
}  // namespace tessera
