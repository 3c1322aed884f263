// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "segmentation_network.hpp"

#ifdef __CUDACC__
#include <tessera/tessera.cuh>
#else
#include <tessera/tessera.hpp>
#endif

#include <algorithm>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

namespace program::segmentation {

namespace ts = tessera;

/// mmdetection3d's backbone and its head.
template <class Scalar, class Space>
class HeadedBackbone final : public ts::nn::Module<3, Scalar, Space> {
 public:
  using typename ts::nn::Module<3, Scalar, Space>::Tensor;

  HeadedBackbone(ts::MinkUNetBackboneOptions const& options, int num_classes,
                 ts::Execution<Space> const& exec)
      : backbone_{options, exec},
        head_{ts::LinearOptions{options.decoder_channels().back(), num_classes}.seed(options.seed()), exec}
  {
    this->register_child("backbone", backbone_);
    this->register_child("conv_seg", head_);
  }

  [[nodiscard]] Tensor forward(Tensor const& x, ts::Execution<Space> const& exec) override
  {
    return head_.forward(backbone_.forward(x, exec), exec);
  }

  void load(Weights const& weights, ts::Execution<Space> const& exec)
  {
    ts::io::load(backbone_, weights.network.converted, exec);
    if (weights.shape.has_head) {
      ts::io::load(head_, weights.head->converted, exec, ts::LoadOptions().prefix("conv_seg."));
    }
  }

 private:
  ts::models::MinkUNetBackbone<Scalar, Space> backbone_;
  ts::nn::Linear<3, Scalar, Space> head_;
};

/// The network, with its weights if there are any.
template <class Scalar, class Space>
[[nodiscard]] std::unique_ptr<ts::nn::Module<3, Scalar, Space>> make_network(NetworkShape const& shape,
                                                                             NetworkOptions const& options,
                                                                             Weights const* weights,
                                                                             ts::Execution<Space> const& exec)
{
  if (shape.backbone) {
    auto net = std::make_unique<HeadedBackbone<Scalar, Space>>(*shape.backbone, shape.num_classes, exec);
    net->load(*weights, exec);
    return net;
  }
  auto net = std::make_unique<ts::models::MinkUNet<3, Scalar, Space>>(
      ts::MinkUNetOptions(shape.in_channels, shape.num_classes)
          .width(shape.width)
          .config(options.config)
          .seed(options.seed),
      exec);
  if (weights != nullptr) { ts::io::load(*net, weights->network.converted, exec); }
  return net;
}

/// The voxels with the spatial range that spconv's networks were trained in: up to the largest voxel, and at
/// least a voxel of the coarsest level.
template <class Scalar, class Space>
[[nodiscard]] ts::QuantizedPoints<3, Scalar, Space> with_range(ts::QuantizedPoints<3, Scalar, Space> voxels,
                                                               NetworkShape const& shape,
                                                               ts::Execution<Space> const& exec)
{
  if (!shape.has_range()) { return voxels; }
  ts::CoordinateSetOptions<3> options;
  int const coarsest = 1 << shape.backbone->encoder_channels().size();
  ts::SpatialRange<3> range{1, ts::IntArray<3>(1)};
  for (int axis = 0; axis < 3; ++axis) {
    range.extent[axis] = std::max(coarsest, voxels.coordinates->box().upper[axis] + 1);
  }
  options.spatial_range = range;
  auto rows = ts::copy(voxels.coordinates->data(), voxels.coordinates->num_rows(), exec);
  voxels.coordinates = ts::CoordinateSet<3, Space>::make({std::move(rows)}, options, exec);
  return voxels;
}

/// Voxels of points [n, channels], with the features of their first points in the network's type.
template <class Scalar, class Space>
[[nodiscard]] ts::QuantizedPoints<3, Scalar, Space> voxelize(ts::StridedView<float const> const& positions,
                                                             ts::MatrixView<float const> const& features,
                                                             ts::QuantizeOptions<3> const& options,
                                                             NetworkShape const& shape,
                                                             ts::Execution<Space> const& exec)
{
  if constexpr (std::is_same_v<Scalar, float>) {
    return with_range(ts::sparse_quantize(ts::PointsView<float>{positions, features}, options, exec), shape,
                      exec);
  } else {
    auto const converted = ts::cast<Scalar>(features, exec);
    return with_range(ts::sparse_quantize(ts::PointsView<Scalar>{positions, converted}, options, exec), shape,
                      exec);
  }
}

/// Whether the voxels and all levels below them have the two rows that statistics of a batch need.
template <class Scalar, class Space>
[[nodiscard]] bool enough_to_calibrate(ts::SparseTensor<3, Scalar, Space> const& x)
{
  bool enough = true;
  x.coordinates()->for_each_in_manager([&](auto const& level) { enough = enough && level.num_rows() > 1; });
  return enough;
}

}  // namespace program::segmentation
