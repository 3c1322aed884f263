// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/models/detail/unet.hpp>
#include <tessera/nn/linear.hpp>
#include <tessera/nn/sequential.hpp>

namespace tessera {
inline namespace v0 {

/// Options of a MinkUNet: `MinkUNetOptions(4, 19).width(0.5)`.
struct MinkUNetOptions {
  MinkUNetOptions(int in, int classes) : in_channels{in}, num_classes{classes} {}

  /// Multiplies the channels 32, 32, 64, 128, 256, 256, 128, 96, 96.
  MinkUNetOptions& width(double value) { return width_ = value, *this; }
  [[nodiscard]] double width() const noexcept { return width_; }
  /// Run-time choices of all convolutions; without them those of the calling thread.
  MinkUNetOptions& config(ConvConfig const& value) { return config_ = value, *this; }
  [[nodiscard]] std::optional<ConvConfig> const& config() const noexcept { return config_; }
  /// Seed of the initial values.
  MinkUNetOptions& seed(std::uint64_t value) { return seed_ = value, *this; }
  [[nodiscard]] std::uint64_t seed() const noexcept { return seed_; }

  int in_channels;
  int num_classes;

 private:
  double width_ = 1;
  std::optional<ConvConfig> config_;
  std::uint64_t seed_ = 0;
};

namespace models {

/// The segmentation network MinkUNet of SPVNAS: a U-Net of residual blocks over four levels of stride 2, and
/// a linear classifier. forward() gives logits [num_rows, num_classes] on the voxels of the input, in their
/// order.
///
/// Parameter names are those of SPVNAS's state_dict (`stem.0.kernel`, `stage1.0.net.0.kernel`,
/// `up1.1.0.downsample.0.kernel`, `classifier.0.weight`, ...), so that its checkpoints load as they are;
/// their `point_transforms.*` belong to no layer that forward() uses and do not exist here. Networks trained
/// in TorchSparse without a spatial range need `ConvConfig::compat = compat::torchsparse`.
///
/// Source: Choy et al., 4D Spatio-Temporal ConvNets, CVPR 2019; Tang et al., SPVNAS, ECCV 2020.
template <int Dim, class Scalar, class Space = Device>
class MinkUNet final : public nn::Module<Dim, Scalar, Space> {
 public:
  using typename nn::Module<Dim, Scalar, Space>::Tensor;

  /// @throws invalid_argument  channels or classes below 1, a width that leaves none
  /// Stream: enqueues the upload of the initial values.
  MinkUNet(MinkUNetOptions const& options, Execution<Space> const& exec)
      : MinkUNet{options, detail::LayerFactory<Dim>{options.config(), options.seed()}, exec}
  {}

  /// @throws invalid_argument  x has other channels than in_channels, and what convolution() throws
  /// Stream: enqueues on `exec`; waits once for each coarser level's number of voxels where the coordinate
  /// set does not have it yet.
  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
  {
    return classifier_.forward(unet_.forward_last(x, exec), exec);
  }

  [[nodiscard]] MinkUNetOptions const& options() const noexcept { return options_; }

 private:
  MinkUNet(MinkUNetOptions const& options, detail::LayerFactory<Dim> layers, Execution<Space> const& exec)
      : options_{options},
        unet_{options.in_channels,
              detail::unet_channels(options.width(), "MinkUNet"),
              detail::minkunet_names(),
              layers,
              exec,
              [this](std::string const& name, nn::ModuleBase& part) { this->register_child(name, part); }}
  {
    auto const width = detail::unet_channels(options.width(), "MinkUNet").back();
    auto const math = options.config() ? options.config()->math : MathMode::exact;
    classifier_.template add<nn::Linear<Dim, Scalar, Space>>(
        LinearOptions{width, options.num_classes}.math(math).seed(layers.next_seed()), exec);
    this->register_child("classifier", classifier_);
  }

  MinkUNetOptions options_;
  detail::UNet<Dim, Scalar, Space> unet_;
  nn::Sequential<Dim, Scalar, Space> classifier_;
};

}  // namespace models
}  // namespace v0
}  // namespace tessera
