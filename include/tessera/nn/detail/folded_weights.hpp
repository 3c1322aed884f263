// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/detail/packed_weights.hpp>
#include <tessera/nn/detail/plan_of_weight.hpp>
#include <tessera/nn/detail/scale_channels.hpp>
#include <tessera/nn/parameter.hpp>
#include <tessera/ops/weight_source.hpp>

#include <cstdint>
#include <memory>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Weight and bias of a convolution or a linear layer with a norm folded in, [volume, in, out] and [out]: a copy, so
/// that the layer's own stay as they are.
template <class Scalar, class Space>
class FoldedWeights final : public ops::WeightSource<Scalar, Space> {
 public:
  FoldedWeights(int volume, int in_channels, int out_channels, bool is_identity, Execution<Space> const& exec)
      : weight_{{volume, in_channels, out_channels}, exec},
        bias_{{out_channels}, exec},
        volume_{volume},
        in_channels_{in_channels},
        is_identity_{is_identity}
  {}

  /// Writes the weight and bias that `scaled` says.
  /// Stream: enqueues one kernel, does not wait.
  void write(ScaledChannels<Scalar> const& scaled, Execution<Space> const& exec)
  {
    for_each(weight_.size() + bias_.size(),
             WriteScaled<Scalar>{scaled, weight_.size(), weight_.write(), bias_.write()}, exec);
  }
  [[nodiscard]] nn::Parameter<Scalar, Space> const& weight() const noexcept { return weight_; }
  [[nodiscard]] nn::Parameter<Scalar, Space> const& bias() const noexcept { return bias_; }

  [[nodiscard]] PackedWeightView<Scalar> packed(ConvConfig const& config,
                                                Execution<Space> const& exec) const override
  {
    bool const reads_packed =
        config.dataflow == Dataflow::implicit_gemm && (config.splits == 1 || volume_ == 1);
    if (!reads_packed) { return {}; }
    return packed_.get({config.kernel, config.math}, weight_, exec, [&] {
      return plan_of_weight(weight_.data(), in_channels_, static_cast<int>(bias_.size()), volume_,
                            is_identity_, config, exec);
    });
  }

 private:
  nn::Parameter<Scalar, Space> weight_;
  nn::Parameter<Scalar, Space> bias_;
  mutable PackedWeights<Scalar, Space> packed_;
  int volume_;
  int in_channels_;
  bool is_identity_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
