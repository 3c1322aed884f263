// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "bev_network.hpp"

#ifdef __CUDACC__
#include <tessera/tessera.cuh>
#else
#include <tessera/tessera.hpp>
#endif

#include <optional>

namespace program::bev {

namespace ts = tessera;

/// A sparse encoder, or Part-A2's U-Net, which has one and a decoder: from voxels to the sparse output.
template <class Scalar, class Space>
class Encoder final : public ts::nn::Module<3, Scalar, Space> {
 public:
  using typename ts::nn::Module<3, Scalar, Space>::Tensor;

  Encoder(NetworkShape const& shape, ts::Execution<Space> const& exec) : shape_{shape}
  {
    if (shape.part_a2) {
      unet_.emplace(ts::SparseUNetOptions{shape.encoder}.decoder(shape.decoder), exec);
      this->register_child("net", *unet_);
    } else {
      encoder_.emplace(shape.encoder, exec);
      this->register_child("net", *encoder_);
    }
  }

  [[nodiscard]] Tensor forward(Tensor const& x, ts::Execution<Space> const& exec) override
  {
    return encoder_ ? encoder_->forward(x, exec) : unet_->forward(x, exec).encoded;
  }
  /// What Part-A2's decoder makes of the voxels, on them.
  [[nodiscard]] Tensor decode(Tensor const& x, ts::Execution<Space> const& exec)
  {
    return unet_->forward(x, exec).decoded;
  }
  /// The dense map, float whatever the network's type.
  template <class Out = float>
  [[nodiscard]] auto forward_bev(Tensor const& x, ts::Execution<Space> const& exec, ts::DenseLayout layout)
  {
    return bev(forward(x, exec), exec, layout);
  }
  [[nodiscard]] auto bev(Tensor const& sparse, ts::Execution<Space> const& exec, ts::DenseLayout layout)
  {
    return ts::bev<float>(sparse, ts::BevOptions().axis(shape_.encoder.axis()).layout(layout), exec);
  }

  void load(Weights const& weights, ts::Execution<Space> const& exec)
  {
    auto& net = shape_.part_a2 ? static_cast<ts::nn::ModuleBase&>(*unet_)
                               : static_cast<ts::nn::ModuleBase&>(*encoder_);
    ts::io::load(net, weights.checkpoint.converted, exec);
  }

  /// The options, from which a plan takes the number of channels.
  [[nodiscard]] ts::SparseEncoderOptions const& options() const noexcept { return shape_.encoder; }

 private:
  NetworkShape shape_;
  std::optional<ts::models::SparseEncoder<Scalar, Space>> encoder_;
  std::optional<ts::models::SparseUNet<Scalar, Space>> unet_;
};

/// Voxels of points [n, channels] in the network's type.
template <class Scalar, class Space>
[[nodiscard]] ts::SparseTensor<3, Scalar, Space> voxelize(ts::MatrixView<float const> const& points,
                                                          ts::VoxelizeOptions const& options,
                                                          ts::Execution<Space> const& exec)
{
  auto voxels = ts::hard_voxelize<Space>(points, options, exec);
  return {voxels.coordinates, ts::cast<Scalar>(voxels.mean.view(), exec)};
}

}  // namespace program::bev
