// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/detail/gather_terms.hpp>

namespace tessera {
inline namespace v0 {

/// The mean of each voxel's points: `y[m, c] = (sum over points i of m of x[i, c]) / count(m)`, 0 for a voxel
/// without points. TorchSparse's `spvoxelize`.
///
/// | name    | shape                  | memory | holds                       |
/// |---------|------------------------|--------|-----------------------------|
/// | points  | [num_points, channels] | Space  | any values                  |
/// | map     |                        | Space  | PointCells::containing      |
/// | returns | [num_voxels, channels] | Space  |                             |
///
/// @throws invalid_argument  the rows are not those of the map's points
/// Cost: one read of the points, and the map's segments the first time.
/// Stream: enqueues on `exec`, does not wait.
/// Determinism: same input, same bits; sums in float (double for double) by ascending index of the point.
template <class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> voxelize_features(MatrixView<Scalar const> const& points,
                                                      PointMap<Space>& map, Execution<Space> const& exec)
{
  return detail::gather_to_voxels<Scalar>(points, true, map, "voxelize_features", exec);
}

/// The gradient of voxelize_features(): `g[i, c] = grad[voxel(i), c] / count(voxel(i))`, 0 for a point without
/// a voxel.
/// @param grad  [num_voxels, channels] in `Space`
/// @throws invalid_argument  the rows are not those of the map's voxels
/// Cost, stream, determinism: as voxelize_features().
template <class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> voxelize_features_backward(MatrixView<Scalar const> const& grad,
                                                               PointMap<Space>& map,
                                                               Execution<Space> const& exec)
{
  return detail::gather_to_points<Scalar>(grad, true, map, "voxelize_features_backward", exec);
}

/// The weighted sum of each point's voxels: `y[i, c] = sum over k of weight[i, k] * x[row[i, k], c]`, voxels
/// that are missing left out. TorchSparse's `spdevoxelize`.
///
/// | name    | shape                  | memory | holds       |
/// |---------|------------------------|--------|-------------|
/// | voxels  | [num_voxels, channels] | Space  | any values  |
/// | returns | [num_points, channels] | Space  |             |
///
/// @throws invalid_argument  the rows are not those of the map's voxels
/// Cost: `volume` reads per point.
/// Stream: enqueues one kernel, does not wait.
/// Determinism: same input, same bits; sums in float (double for double) by ascending k.
template <class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> devoxelize_features(MatrixView<Scalar const> const& voxels,
                                                        PointMap<Space>& map, Execution<Space> const& exec)
{
  return detail::gather_to_points<Scalar>(voxels, false, map, "devoxelize_features", exec);
}

/// The gradient of devoxelize_features(): `g[m, c] = sum over terms (i, k) of m of weight[i, k] * grad[i, c]`.
/// @param grad  [num_points, channels] in `Space`
/// @throws invalid_argument  the rows are not those of the map's points
/// Cost: a read a term, and the map's segments the first time.
/// Stream: enqueues on `exec`, does not wait.
/// Determinism: same input, same bits; by ascending index of the point.
template <class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> devoxelize_features_backward(MatrixView<Scalar const> const& grad,
                                                                 PointMap<Space>& map,
                                                                 Execution<Space> const& exec)
{
  return detail::gather_to_voxels<Scalar>(grad, false, map, "devoxelize_features_backward", exec);
}

}  // namespace v0
}  // namespace tessera
