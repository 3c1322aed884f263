// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/tensor/point_tensor.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {

/// How voxels' features reach a point.
enum class Interpolation : std::uint8_t {
  multilinear,  ///< from the 2^Dim voxels at the corners of its cell
  nearest,      ///< from the voxel that it is in
};

/// Points in units of the voxels that were made of them, and these voxels.
template <int Dim, class Scalar, class Space>
struct VoxelizedPoints {
  PointTensor<Dim, Scalar, Space> points;
  SparseTensor<Dim, Scalar, Space> voxels;
};

}  // namespace v0
}  // namespace tessera
