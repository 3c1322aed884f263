// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/models/backbone_options.hpp>
#include <tessera/models/detail/layer_factory.hpp>
#include <tessera/nn/blocks.hpp>

#include <array>
#include <string>

namespace tessera {
inline namespace v0 {
namespace models {

/// TorchSparse's backbone SparseResNet21D, the encoder of its detectors: four stages of a convolution and two
/// residual blocks, at strides 1, 2, 2, 2 with 16, 32, 64, 128 channels times the width, and a last
/// convolution of size and stride 3 and 2 along the second axis alone. Its parameters have the names of
/// TorchSparse's state_dict (`0.0.0.kernel`, `0.1.main.0.kernel`, ...).
///
/// Source: torchsparse.backbones.SparseResNet21D of TorchSparse 2.1.
template <int Dim, class Scalar, class Space = Device>
class SparseResNet21D final : public nn::ModuleBase {
  static_assert(detail::layer::LayerArguments<Dim, Scalar, Space>::are_valid);
  static_assert(Dim == 3, "SparseResNet21D: the last stage names its axes, so Dim must be 3");

 public:
  using Tensor = SparseTensor<Dim, Scalar, Space>;

  /// @throws invalid_argument  channels below 1, a width that leaves none
  /// Stream: enqueues the upload of the initial values.
  SparseResNet21D(BackboneOptions const& options, Execution<Space> const& exec)
  {
    auto const channels =
        detail::scaled_channels<5>({16, 32, 64, 128, 128}, options.width(), "SparseResNet21D");
    detail::LayerFactory<Dim> layers{options.config(), options.seed()};
    int in = options.in_channels;
    for (std::size_t i = 0; i < stages_.size(); ++i) {
      bool const last = i + 1 == stages_.size();
      IntArray<Dim> const size = last ? IntArray<Dim>{1, 3, 1} : IntArray<Dim>(3);
      IntArray<Dim> const stride = last ? IntArray<Dim>{1, 2, 1} : IntArray<Dim>(i == 0 ? 1 : 2);
      stages_[i].template add<nn::SparseConvBlock<Dim, Scalar, Space>>(
          layers.conv(in, channels[i], size).stride(stride), exec);
      in = channels[i];
      for (int block = 0; block < 2 && !last; ++block) {
        stages_[i].template add<nn::SparseResBlock<Dim, Scalar, Space>>(layers.conv(in, in, size), exec);
      }
      this->register_child(std::to_string(i), stages_[i]);
    }
  }

  /// The outputs of the five stages.
  /// @throws invalid_argument  x has other channels than in_channels, and what convolution() throws
  /// Stream: enqueues on `exec`; waits once for the number of voxels of each stage but the first where the
  /// coordinate set does not have it yet.
  [[nodiscard]] std::array<Tensor, 5> forward(Tensor const& x, Execution<Space> const& exec)
  {
    std::array<Tensor, 5> result;
    for (std::size_t i = 0; i < stages_.size(); ++i) {
      result[i] = stages_[i].forward(i == 0 ? x : result[i - 1], exec);
    }
    return result;
  }
  [[nodiscard]] std::array<Tensor, 5> operator()(Tensor const& x, Execution<Space> const& exec)
  {
    return forward(x, exec);
  }

 private:
  std::array<nn::Sequential<Dim, Scalar, Space>, 5> stages_;
};

}  // namespace models
}  // namespace v0
}  // namespace tessera
