// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/batch_norm.hpp>
#include <tessera/ops/layer_norm.hpp>

namespace tessera {
inline namespace v0 {
namespace nn {

/// layer_norm() with its weight and bias [channels], float for every scalar but double, which start as 1 and 0:
/// `LayerNorm<3, __half> norm(NormOptions(64).eps(1e-6), exec)`.
///
/// Of the options `momentum` has no meaning here.
/// Source: PyTorch's LayerNorm of one axis.
template <int Dim, class Scalar, class Space = Device>
class LayerNorm final : public RowModule<Dim, Scalar, Space> {
 public:
  using typename RowModule<Dim, Scalar, Space>::Tensor;
  using Sum = accumulator_t<Scalar>;

  /// @throws invalid_argument  channels below 1, a negative epsilon
  /// Stream: enqueues the upload of the initial values.
  LayerNorm(NormOptions const& options, Execution<Space> const& exec) : options_{options}
  {
    detail::check_norm(options, "LayerNorm");
    if (!options.affine()) { return; }
    weight_ = Parameter<Sum, Space>{{options.channels}, exec};
    bias_ = Parameter<Sum, Space>{{options.channels}, exec};
    detail::fill_constant(weight_, 1, exec);
    detail::fill_constant(bias_, 0, exec);
    this->register_parameter("weight", ParameterRole::weight, weight_);
    this->register_parameter("bias", ParameterRole::bias, bias_);
  }
  LayerNorm(int channels, Execution<Space> const& exec) : LayerNorm{NormOptions{channels}, exec} {}

  /// Cost, stream, determinism: as layer_norm().
  /// @throws invalid_argument  x has other channels
  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
  {
    return normalized(x, x.channels(), exec);
  }
  [[nodiscard]] Matrix<Scalar, Space> forward(Matrix<Scalar, Space> const& x,
                                              Execution<Space> const& exec) override
  {
    return normalized(x, x.columns(), exec);
  }

  [[nodiscard]] Parameter<Sum, Space>& weight() noexcept { return weight_; }
  [[nodiscard]] Parameter<Sum, Space>& bias() noexcept { return bias_; }

 private:
  template <class Value>
  [[nodiscard]] Value normalized(Value const& x, std::int64_t channels, Execution<Space> const& exec)
  {
    detail::expects(channels == options_.channels, "LayerNorm: the tensor has ", channels, " channels but ",
                    options_.channels, " were expected");
    return layer_norm(x, weight_, bias_, options_.eps(), exec);
  }

  NormOptions options_;
  Parameter<Sum, Space> weight_;
  Parameter<Sum, Space> bias_;
};

}  // namespace nn
}  // namespace v0
}  // namespace tessera
