// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/activation.hpp>
#include <tessera/nn/batch_norm.hpp>
#include <tessera/nn/conv.hpp>
#include <tessera/nn/detail/residual_branches.hpp>
#include <tessera/nn/sequential.hpp>

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
  using typename Sequential<Dim, Scalar, Space>::Tensor;
  using Sequential<Dim, Scalar, Space>::forward;
  using Sequential<Dim, Scalar, Space>::operator();

  SparseConvBlock(ConvOptions<Dim> const& options, Execution<Space> const& exec)
      : conv_{this->template add<Conv<Dim, Scalar, Space>>(options, exec)}
  {
    this->template add<BatchNorm<Dim, Scalar, Space>>(options.out_channels, exec);
    this->template add<ReLU<Dim, Scalar, Space>>();
  }

  /// `forward(cat({a, b}))` by Conv::forward(a, b); errors, cost, stream, determinism: its.
  [[nodiscard]] Tensor forward(Tensor const& a, Tensor const& b, Execution<Space> const& exec)
  {
    return this->forward_from(1, conv_.forward(a, b, exec), exec);
  }
  [[nodiscard]] Tensor operator()(Tensor const& a, Tensor const& b, Execution<Space> const& exec)
  {
    return forward(a, b, exec);
  }

 private:
  Conv<Dim, Scalar, Space>& conv_;
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
    auto& main = branches_.main;
    branches_.conv = &main.template add<Convolution>(options, exec);
    main.template add<BatchNorm<Dim, Scalar, Space>>(options.out_channels, exec);
    main.template add<ReLU<Dim, Scalar, Space>>();
    main.template add<Convolution>(second, exec);
    main.template add<BatchNorm<Dim, Scalar, Space>>(options.out_channels, exec);
    this->register_child(names.main, main);
    if (options.in_channels == options.out_channels && all_equal(options.geometry.stride, 1)) { return; }
    auto one_voxel = options;
    one_voxel.geometry = {};
    one_voxel.geometry.kernel_size = 1;
    one_voxel.stride(options.stride()).seed(options.seed() + 4);
    auto& shortcut = branches_.shortcut;
    branches_.shortcut_conv = &shortcut.template add<Convolution>(one_voxel, exec);
    shortcut.template add<BatchNorm<Dim, Scalar, Space>>(options.out_channels, exec);
    this->register_child(names.shortcut, shortcut);
  }

  /// Cost, stream: those of its convolutions, and one pass over the features for each other layer.
  /// Determinism: as convolution().
  /// @throws invalid_argument  x has other channels, the branches lead to different coordinate sets
  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
  {
    return branches_.forward(x, exec);
  }
  /// `forward(cat({a, b}))`, without the copy where the kernels of both branches read two tensors: `a` [rows,
  /// m] and `b` [rows, n] on the same voxels, for a block of m + n input channels.
  /// @throws invalid_argument  the two are on different voxels, and what forward() throws
  /// Cost: that of forward(), and of cat() where it copies. Stream, determinism: as forward().
  [[nodiscard]] Tensor forward(Tensor const& a, Tensor const& b, Execution<Space> const& exec)
  {
    return branches_.forward(a, b, exec);
  }
  [[nodiscard]] Tensor operator()(Tensor const& a, Tensor const& b, Execution<Space> const& exec)
  {
    return forward(a, b, exec);
  }
  using Module<Dim, Scalar, Space>::operator();

 private:
  detail::ResidualBranches<Dim, Scalar, Space> branches_;
};

}  // namespace nn
}  // namespace v0
}  // namespace tessera
