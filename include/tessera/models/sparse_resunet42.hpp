// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/models/backbone_options.hpp>
#include <tessera/models/detail/unet.hpp>

namespace tessera {
inline namespace v0 {
namespace models {

/// TorchSparse's backbone SparseResUNet42: a U-Net of residual blocks over four levels of stride 2, with
/// 32, 32, 64, 128, 256, 256, 128, 96, 96 channels times the width. Its parameters have the names of
/// TorchSparse's state_dict (`encoders.0.1.main.0.kernel`, `decoders.0.upsample.0.kernel`, ...).
///
/// Source: torchsparse.backbones.SparseResUNet42 of TorchSparse 2.1.
template <int Dim, class Scalar, class Space = Device>
class SparseResUNet42 final : public nn::ModuleBase {
  static_assert(detail::layer::LayerArguments<Dim, Scalar, Space>::are_valid);

 public:
  using Tensor = SparseTensor<Dim, Scalar, Space>;

  /// @throws invalid_argument  channels below 1, a width that leaves none
  /// Stream: enqueues the upload of the initial values.
  SparseResUNet42(BackboneOptions const& options, Execution<Space> const& exec)
      : SparseResUNet42{options, detail::LayerFactory<Dim>{options.config(), options.seed()}, exec}
  {}

  /// The stem's features, those of the four encoders and of the four decoders: the first and the last are on
  /// the voxels of `x`, in their order; the fifth is the coarsest.
  /// @throws invalid_argument  x has other channels than in_channels, and what convolution() throws
  /// Stream: as MinkUNet::forward().
  [[nodiscard]] std::array<Tensor, 9> forward(Tensor const& x, Execution<Space> const& exec)
  {
    return unet_.forward(x, exec);
  }
  [[nodiscard]] std::array<Tensor, 9> operator()(Tensor const& x, Execution<Space> const& exec)
  {
    return forward(x, exec);
  }

 private:
  SparseResUNet42(BackboneOptions const& options, detail::LayerFactory<Dim> layers,
                  Execution<Space> const& exec)
      : unet_{options.in_channels,
              detail::unet_channels(options.width(), "SparseResUNet42"),
              detail::UNetNames{"encoders.", "decoders.", 0, "0", "upsample", "fuse", {"main", "shortcut"}},
              layers,
              exec,
              [this](std::string const& name, nn::ModuleBase& part) { this->register_child(name, part); }}
  {}

  detail::UNet<Dim, Scalar, Space> unet_;
};

}  // namespace models
}  // namespace v0
}  // namespace tessera
