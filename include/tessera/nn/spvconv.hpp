// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/config.hpp>
#include <tessera/nn/activation.hpp>
#include <tessera/nn/batch_norm.hpp>
#include <tessera/nn/blocks.hpp>
#include <tessera/nn/linear.hpp>
#include <tessera/ops/point_voxel.hpp>

#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace nn {

/// What a point transform calls its layers.
struct PointTransformNames {
  std::string linear = "0";
  std::string norm = "1";
};

/// `relu(norm(linear(features)))` on every point: linear layer "0", batch normalisation "1".
template <int Dim, class Scalar, class Space = Device>
class PointTransform final : public ModuleBase {
  static_assert(detail::layer::LayerArguments<Dim, Scalar, Space>::are_valid);

 public:
  using Points = PointTensor<Dim, Scalar, Space>;

  /// @throws invalid_argument  channels below 1
  /// Stream: enqueues the upload of the initial values.
  PointTransform(LinearOptions const& options, Execution<Space> const& exec,
                 PointTransformNames const& names = {})
      : linear_{options, exec}, norm_{options.out_channels, exec}
  {
    this->register_child(names.linear, linear_);
    this->register_child(names.norm, norm_);
  }

  /// Cost, stream, determinism: those of its layers.
  /// @throws invalid_argument  z has other channels, or no points
  [[nodiscard]] Points forward(Points const& z, Execution<Space> const& exec)
  {
    detail::expect_points(z, "PointTransform");
    return relu_.forward(norm_.forward(linear_.forward(z, exec), exec), exec);
  }
  [[nodiscard]] Points operator()(Points const& z, Execution<Space> const& exec) { return forward(z, exec); }

  [[nodiscard]] Linear<Dim, Scalar, Space>& linear() noexcept { return linear_; }
  [[nodiscard]] BatchNorm<Dim, Scalar, Space>& norm() noexcept { return norm_; }

 private:
  Linear<Dim, Scalar, Space> linear_;
  BatchNorm<Dim, Scalar, Space> norm_;
  ReLU<Dim, Scalar, Space> relu_;
};

/// Sparse point-voxel convolution: `y = voxel_to_point(voxel_branch(point_to_voxel(z))) + point_branch(z)`.
/// Voxels gather a neighbourhood, points keep what a voxel blurs.
///
/// Children: `voxel_branch`, any module from voxels to voxels, on a coarser set too; `point_branch`, a
/// PointTransform of as many channels.
/// Source: Tang et al., SPVNAS, ECCV 2020.
template <int Dim, class Scalar, class Space = Device>
class SPVConv final : public ModuleBase {
  static_assert(detail::layer::LayerArguments<Dim, Scalar, Space>::are_valid);

 public:
  using Points = PointTensor<Dim, Scalar, Space>;
  using Pointer = ModulePointer<Dim, Scalar, Space>;

  /// With a voxel branch of one convolution, batch normalisation and relu: a SparseConvBlock.
  /// @throws invalid_argument  what Conv says
  /// Stream: enqueues the upload of the initial values.
  SPVConv(ConvOptions<Dim> const& options, Execution<Space> const& exec)
      : SPVConv{std::make_unique<SparseConvBlock<Dim, Scalar, Space>>(options, exec),
                LinearOptions{options.in_channels, options.out_channels}.seed(options.seed() + 2), exec,
                options.config() ? std::optional<Compatibility>{options.config()->compat} : std::nullopt}
  {}

  /// @param voxel_branch  from `point_branch.in_channels` to `point_branch.out_channels`
  /// @param compat        how points meet voxels; without it as the calling thread's configuration says
  /// @throws invalid_argument  there is no voxel branch
  SPVConv(Pointer voxel_branch, LinearOptions const& point_branch, Execution<Space> const& exec,
          std::optional<Compatibility> compat = {})
      : voxel_branch_{std::move(voxel_branch)}, point_branch_{point_branch, exec}, compat_{compat}
  {
    detail::expects(voxel_branch_ != nullptr, "SPVConv: there is no voxel branch");
    this->register_child("voxel_branch", *voxel_branch_);
    this->register_child("point_branch", point_branch_);
  }

  /// @param voxels  where the points are gathered: those of initial_voxelize(), or any derived from them
  /// @throws invalid_argument  z has other channels or no points, `voxels` has no coordinates, the branches
  /// differ in channels
  /// Cost, stream: those of its parts.
  /// Determinism: as convolution().
  [[nodiscard]] Points forward(Points const& z, SparseTensor<Dim, Scalar, Space> const& voxels,
                               Execution<Space> const& exec)
  {
    auto const compat = compat_ ? *compat_ : thread_conv_config().compat;
    auto const x = voxel_branch_->forward(point_to_voxel(z, voxels, exec, compat), exec);
    return add(voxel_to_point(x, z, exec), point_branch_.forward(z, exec), exec);
  }

 private:
  Pointer voxel_branch_;
  PointTransform<Dim, Scalar, Space> point_branch_;
  std::optional<Compatibility> compat_;
};

}  // namespace nn
}  // namespace v0
}  // namespace tessera
