// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/activation.hpp>
#include <tessera/nn/batch_norm.hpp>
#include <tessera/nn/conv.hpp>
#include <tessera/nn/sequential.hpp>
#include <tessera/ops/combine.hpp>

#include <memory>
#include <string>

namespace tessera {
inline namespace v0 {
namespace nn {

/// Convolution "0", batch normalisation "1", relu: TorchSparse's SparseConvBlock, and its
/// SparseConvTransposeBlock where the options are transposed.
template <int Dim, class Scalar, class Space = Device>
class SparseConvBlock final : public Sequential<Dim, Scalar, Space> {
 public:
  SparseConvBlock(ConvOptions<Dim> const& options, Execution<Space> const& exec)
  {
    this->template add<Conv<Dim, Scalar, Space>>(options, exec);
    this->template add<BatchNorm<Dim, Scalar, Space>>(options.out_channels, exec);
    this->template add<ReLU<Dim, Scalar, Space>>();
  }
};

/// What a residual block calls its two branches.
struct ResidualNames {
  std::string main = "main";          ///< SPVNAS: "net"
  std::string shortcut = "shortcut";  ///< SPVNAS: "downsample"
};

/// `relu(main(x) + shortcut(x))`: main is convolution "0", batch normalisation "1", relu, convolution "3",
/// batch normalisation "4"; shortcut is x itself, or a convolution "0" of one voxel and a batch normalisation
/// "1" where channels or stride change (TorchSparse's SparseResBlock).
///
/// The options are those of the first convolution. With a stride both branches must lead to one coordinate
/// set, which MinkowskiDownsample ensures; otherwise the addition throws.
template <int Dim, class Scalar, class Space = Device>
class SparseResBlock final : public Module<Dim, Scalar, Space> {
 public:
  using typename Module<Dim, Scalar, Space>::Tensor;

  explicit SparseResBlock(ConvOptions<Dim> const& options, Execution<Space> const& exec,
                          ResidualNames const& names = {})
  {
    using Convolution = Conv<Dim, Scalar, Space>;
    auto second = options;
    second.in_channels = options.out_channels;
    second.stride(1).seed(options.seed() + 2);
    main_.template add<Convolution>(options, exec);
    main_.template add<BatchNorm<Dim, Scalar, Space>>(options.out_channels, exec);
    main_.template add<ReLU<Dim, Scalar, Space>>();
    main_.template add<Convolution>(second, exec);
    main_.template add<BatchNorm<Dim, Scalar, Space>>(options.out_channels, exec);
    this->register_child(names.main, main_);
    if (options.in_channels == options.out_channels && all_equal(options.geometry.stride, 1)) { return; }
    auto one_voxel = options;
    one_voxel.geometry = {};
    one_voxel.geometry.kernel_size = 1;
    one_voxel.stride(options.stride()).seed(options.seed() + 4);
    shortcut_.template add<Convolution>(one_voxel, exec);
    shortcut_.template add<BatchNorm<Dim, Scalar, Space>>(options.out_channels, exec);
    this->register_child(names.shortcut, shortcut_);
  }

  /// Cost, stream: those of its convolutions, and one pass over the features for each other layer.
  /// Determinism: as convolution().
  /// @throws invalid_argument  x has other channels, the branches lead to different coordinate sets
  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
  {
    return main_.forward_add(x, shortcut_.forward(x, exec), {{}, Activation::relu}, exec);
  }

  [[nodiscard]] bool takes_pair(Tensor const& a, Tensor const& b, Execution<Space> const& exec) const override
  {
    return main_.takes_pair(a, b, exec) && shortcut_.takes_pair(a, b, exec);
  }

  [[nodiscard]] Tensor forward_pair(Tensor const& a, Tensor const& b, Execution<Space> const& exec) override
  {
    return main_.forward_pair_add(a, b, shortcut_.forward_pair(a, b, exec), {{}, Activation::relu}, exec);
  }

 private:
  Sequential<Dim, Scalar, Space> main_;
  Sequential<Dim, Scalar, Space> shortcut_;  // empty: x itself
};

}  // namespace nn
}  // namespace v0
}  // namespace tessera
