// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/models/detail/encoder_layers.hpp>
#include <tessera/ops/bev.hpp>

#include <string>

namespace tessera {
inline namespace v0 {
namespace models {

/// The sparse encoder of SECOND, CenterPoint and BEVFusion, from voxels to a bird's-eye view:
/// `SparseEncoder<float> encoder{centerpoint_0_075(), exec}`.
///
/// A submanifold convolution, stages of convolutions or residual blocks that halve the grid three times, and
/// a convolution that halves the height; each followed by batch normalisation and ReLU. Parameter names are
/// those of mmdetection3d's `middle_encoder` or det3d's `backbone`, by the options, so that converted
/// checkpoints load as they are (io/convert.hpp).
///
/// Source: Yan et al., SECOND, Sensors 2018; mmdetection3d's SparseEncoder.
template <class Scalar, class Space = Device>
class SparseEncoder final : public nn::Module<3, Scalar, Space> {
 public:
  using typename nn::Module<3, Scalar, Space>::Tensor;

  /// @throws invalid_argument  channels below 1, stages and paddings that do not fit together
  /// Stream: enqueues the upload of the initial values.
  SparseEncoder(SparseEncoderOptions const& options, Execution<Space> const& exec)
      : SparseEncoder{
            options, {options.config(), options.seed(), detail::encoder_norm(options.norm_epsilon())}, exec}
  {}

  /// The encoded voxels: `x` [num_rows, in_channels] on the options' grid to [.., output_channels].
  /// @throws invalid_argument  x has other channels or another spatial range, and what convolution() throws
  ///
  /// Cost: that of its convolutions; each level's maps are made once for all its layers.
  /// Stream: enqueues on `exec`; waits once for each coarser level's number of voxels where the coordinate set
  /// does not have it yet.
  /// Determinism: as convolution().
  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
  {
    detail::expect_shape(x, options_.sparse_shape, "SparseEncoder");
    return out_->forward(stages_.forward(x, exec).back(), exec);
  }

  /// forward() as the dense map that a detector's 2D network takes: [batches, C * D, H, W], channel
  /// `c * D + d`, or with channels last. Errors, cost, stream, determinism: those of forward() and bev().
  template <class Out = void>
  [[nodiscard]] auto forward_bev(Tensor const& x, Execution<Space> const& exec,
                                 DenseLayout layout = DenseLayout::channels_first)
  {
    return bev<Out>(forward(x, exec), BevOptions().axis(options_.axis()).layout(layout), exec);
  }

  [[nodiscard]] SparseEncoderOptions const& options() const noexcept { return options_; }

 private:
  SparseEncoder(SparseEncoderOptions const& options, detail::EncoderLayers layers,
                Execution<Space> const& exec)
      : options_{options},
        stages_{options, layers, exec,
                [this](std::string const& name, nn::ModuleBase& part) { this->register_child(name, part); }}
  {
    IntArray<3> size(1);
    IntArray<3> stride(1);
    size[options.axis()] = 3;
    stride[options.axis()] = 2;
    out_ = layers.conv_module<Scalar, Space>("SparseConv3d", stages_.out_channels(), options.out(), size,
                                             stride, 0, exec);
    bool const det3d = options.names() == EncoderNames::det3d;
    this->register_child(det3d ? "extra_conv" : "conv_out", *out_);
  }

  SparseEncoderOptions options_;
  detail::EncoderStages<Scalar, Space> stages_;
  nn::ModulePointer<3, Scalar, Space> out_;
};

}  // namespace models
}  // namespace v0
}  // namespace tessera
