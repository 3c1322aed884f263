// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/batch_norm.hpp>

namespace tessera {
inline namespace v0 {

namespace nn {

/// group_norm() with its weight and bias [channels], which start as 1 and 0.
template <int Dim, class Scalar, class Space = Device>
class GroupNorm : public Module<Dim, Scalar, Space> {
 public:
  using typename Module<Dim, Scalar, Space>::Tensor;
  using Sum = accumulator_t<Scalar>;

  /// @throws invalid_argument  channels below 1, groups that do not divide them, a negative epsilon
  GroupNorm(int groups, NormOptions const& options, Execution<Space> const& exec)
      : groups_{groups}, options_{options}
  {
    detail::check_norm(options, "GroupNorm");
    detail::expects(groups >= 1 && options.channels % groups == 0, "GroupNorm: ", groups,
                    " groups do not divide ", options.channels, " channels");
    if (!options.affine()) { return; }
    weight_ = Parameter<Sum, Space>{{options.channels}, exec};
    bias_ = Parameter<Sum, Space>{{options.channels}, exec};
    detail::fill_constant(weight_, 1, exec);
    detail::fill_constant(bias_, 0, exec);
    this->register_parameter("weight", ParameterRole::weight, weight_);
    this->register_parameter("bias", ParameterRole::bias, bias_);
  }
  GroupNorm(int groups, int channels, Execution<Space> const& exec)
      : GroupNorm{groups, NormOptions{channels}, exec}
  {}

  /// Cost, stream, determinism: as group_norm().
  /// @throws invalid_argument  x has other channels
  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
  {
    detail::expects(x.channels() == options_.channels, "GroupNorm: the tensor has ", x.channels(),
                    " channels but ", options_.channels, " were expected");
    return group_norm(x, groups_, weight_, bias_, options_.eps(), exec);
  }

  [[nodiscard]] Parameter<Sum, Space>& weight() noexcept { return weight_; }
  [[nodiscard]] Parameter<Sum, Space>& bias() noexcept { return bias_; }

 private:
  int groups_;
  NormOptions options_;
  Parameter<Sum, Space> weight_;
  Parameter<Sum, Space> bias_;
};

/// Each channel of each batch entry normalised by itself: GroupNorm with as many groups as channels. Made
/// from a number of channels it has no weight and bias, like PyTorch's. (TorchSparse 2.1 normalises each
/// point over its channels instead, since PyTorch reads its [N, C] features as one item.)
template <int Dim, class Scalar, class Space = Device>
class InstanceNorm final : public GroupNorm<Dim, Scalar, Space> {
 public:
  InstanceNorm(NormOptions const& options, Execution<Space> const& exec)
      : GroupNorm<Dim, Scalar, Space>{options.channels, options, exec}
  {}
  InstanceNorm(int channels, Execution<Space> const& exec)
      : InstanceNorm{NormOptions{channels}.affine(false), exec}
  {}
};

}  // namespace nn
}  // namespace v0
}  // namespace tessera
