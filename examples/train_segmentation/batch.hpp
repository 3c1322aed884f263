// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/quantize.hpp>
#include <tessera/coords/vote_labels.hpp>
#include <tessera/data/point_batch.hpp>
#include <tessera/ops/cast.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

namespace train_segmentation {

namespace ts = tessera;

/// Label of voxels, and of points, that have no class.
inline constexpr std::int32_t no_class = -1;

/// What a step reads.
template <class Scalar, class Space>
struct Batch {
  ts::SparseTensor<3, Scalar, Space> x;
  ts::Buffer<std::int32_t, Space> labels;        ///< [voxels]
  ts::Buffer<std::int32_t, Space> point_labels;  ///< [points]
  ts::Buffer<std::int32_t, Space> voxel_of;      ///< [points] row of x, for labels of points
};

/// The voxels of some scans, each with the features that `options` say and the label that most of its points have.
/// Stream: waits for the number of voxels.
template <class Scalar, class Space>
[[nodiscard]] Batch<Scalar, Space> make_batch(std::vector<ts::PointCloud> const& scans,
                                              ts::QuantizeOptions<3> const& options,
                                              ts::Execution<Space> const& exec)
{
  auto points = ts::upload_batch(scans, exec);
  auto quantized = ts::sparse_quantize(points.view(), options, exec);
  auto labels = ts::vote_labels(quantized, points.points.labels.data(), no_class, exec);
  auto const finish = [&](auto&& features) {
    return Batch<Scalar, Space>{{quantized.coordinates, std::move(features)},
                                std::move(labels),
                                std::move(points.points.labels),
                                std::move(quantized.inverse)};
  };
  if constexpr (std::is_same_v<Scalar, float>) {
    return finish(std::move(quantized.features));
  } else {
    return finish(ts::cast<Scalar>(quantized.features.view(), exec));
  }
}

}  // namespace train_segmentation
