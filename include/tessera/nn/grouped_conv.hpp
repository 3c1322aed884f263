// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/conv_options.hpp>
#include <tessera/nn/initialize.hpp>
#include <tessera/nn/module.hpp>
#include <tessera/ops/grouped_convolution.hpp>

#include <cmath>
#include <cstdint>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace nn {

/// grouped_convolution() with its weight [volume, in_channels / groups, out_channels] and bias: a depthwise
/// 5^3 one is `GroupedConv<3, __half> conv(ConvOptions<3>(64, 64, 5).bias(true), 64, exec)`.
///
/// Of the options' configuration kernel map, downsample rule and compat count. Initial values are uniform in
/// `+-1 / sqrt(in_channels / groups * volume)`.
template <int Dim, class Scalar, class Space = Device>
class GroupedConv final : public Module<Dim, Scalar, Space> {
 public:
  using typename Module<Dim, Scalar, Space>::Tensor;

  /// @throws invalid_argument  groups that do not divide the channels; as Conv
  /// Stream: enqueues the upload of the initial values.
  GroupedConv(ConvOptions<Dim> const& options, int groups, Execution<Space> const& exec)
      : options_{options}, groups_{groups}
  {
    detail::check_geometry(options.geometry, "GroupedConv");
    if (options.kind() == ConvolutionKind::submanifold) { options_.stride(1); }
    auto const channels =
        detail::channel_groups(options.in_channels, options.out_channels, groups, "GroupedConv");
    auto const volume = options.geometry.volume();
    auto const bound = 1.0 / std::sqrt(static_cast<double>(channels.in) * volume);
    weight_ = detail::uniform_parameter<Scalar>({volume, channels.in, options.out_channels}, bound,
                                                options.seed(), exec);
    auto const& box = options.geometry.kernel_size;  // by which checkpoints number the offsets of one
    auto const size =
        options.shape().is_box() ? std::vector<int>(box.begin(), box.end()) : std::vector<int>{};
    this->register_parameter(options.weight_name(), ParameterRole::conv_weight, weight_, size);
    if (!options.bias()) { return; }
    bias_ = detail::uniform_parameter<Scalar>({options.out_channels}, bound, options.seed() + 1, exec);
    this->register_parameter("bias", ParameterRole::bias, bias_);
  }

  /// Cost, stream, determinism: as grouped_convolution().
  /// @throws invalid_argument  x has other channels than in_channels, and what grouped_convolution() throws
  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
  {
    detail::expects(x.channels() == options_.in_channels, "GroupedConv: the tensor has ", x.channels(),
                    " channels but ", options_.in_channels, " were expected");
    GroupedConvolutionOptions<Dim> o{groups_, options_.out_channels, options_.kind(), options_.geometry,
                                     options_.config() ? *options_.config() : thread_conv_config()};
    if (options_.compat()) { o.config.compat = *options_.compat(); }
    return grouped_convolution(
        x, weight_, options_.bias() ? ParameterRef<Scalar>{bias_} : ParameterRef<Scalar>{}, o, exec);
  }

  [[nodiscard]] ConvOptions<Dim> const& options() const noexcept { return options_; }
  [[nodiscard]] int groups() const noexcept { return groups_; }
  [[nodiscard]] Parameter<Scalar, Space>& weight() noexcept { return weight_; }
  [[nodiscard]] Parameter<Scalar, Space>& bias() noexcept { return bias_; }

 private:
  ConvOptions<Dim> options_;
  int groups_;
  Parameter<Scalar, Space> weight_;
  Parameter<Scalar, Space> bias_;
};

}  // namespace nn
}  // namespace v0
}  // namespace tessera
