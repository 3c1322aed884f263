// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/quantize.hpp>
#include <tessera/ops/combine.hpp>
#include <tessera/nn/detail/gather_terms.hpp>
#include <tessera/tensor/point_tensor.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <cstdint>
#include <limits>
#include <memory>
#include <utility>

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
/// Cost: one read of the points, and the map's segments the first time. Stream: enqueues on `exec`, does not
/// wait. Determinism: same input, same bits; sums in float (double for double) by ascending index of the point.
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
/// Cost: `volume` reads a point. Stream: enqueues one kernel, does not wait. Determinism: same input, same
/// bits; sums in float (double for double) by ascending k.
template <class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> devoxelize_features(MatrixView<Scalar const> const& voxels,
                                                        PointMap<Space>& map, Execution<Space> const& exec)
{
  return detail::gather_to_points<Scalar>(voxels, false, map, "devoxelize_features", exec);
}

/// The gradient of devoxelize_features(): `g[m, c] = sum over terms (i, k) of m of weight[i, k] * grad[i, c]`.
/// @param grad  [num_points, channels] in `Space`
/// @throws invalid_argument  the rows are not those of the map's points
/// Cost: a read a term, and the map's segments the first time. Stream: enqueues on `exec`, does not wait.
/// Determinism: same input, same bits; by ascending index of the point.
template <class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> devoxelize_features_backward(MatrixView<Scalar const> const& grad,
                                                                 PointMap<Space>& map,
                                                                 Execution<Space> const& exec)
{
  return detail::gather_to_voxels<Scalar>(grad, false, map, "devoxelize_features_backward", exec);
}

/// How voxels' features reach a point.
enum class Interpolation : std::uint8_t {
  multilinear,  ///< from the 2^Dim voxels at the corners of its cell
  nearest,      ///< from the voxel that it is in
};

namespace detail {

/// Which voxels interpolation reads. TorchSparse's nearest is corner 0 with its multilinear weight.
[[nodiscard]] inline PointCells cells_of(Interpolation interpolation, Compat compat)
{
  if (interpolation == Interpolation::multilinear) { return PointCells::corners; }
  return compat == Compat::torchsparse ? PointCells::first : PointCells::containing;
}

}  // namespace detail

/// Means of points on the voxels of a set: voxelize_features() by the map of `z` to `voxels`. Points whose voxel
/// is missing are left out.
/// @param compat  compat::torchsparse adds those to the mean of voxel 0 instead
/// @throws invalid_argument  the tensor has no points, there are no voxels
/// Cost: as voxelize_features(), and the map the first time (make_point_map()). Stream: enqueues on `exec`, does
/// not wait. Determinism: same input, same bits. Source: point_to_voxel of SPVNAS.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> point_to_voxel(PointTensor<Dim, Scalar, Space> const& z,
                                                              CoordinateSetPointer<Dim, Space> const& voxels,
                                                              Execution<Space> const& exec,
                                                              Compat compat = Compat::none)
{
  detail::expect_points(z, "point_to_voxel");
  auto const map = z.points()->map_to(voxels, PointCells::containing, compat, exec);
  return {voxels, voxelize_features<Scalar>(z.features(), *map, exec)};
}

/// The voxels' features at the points of `z`, whose own features are not read: devoxelize_features() by the map
/// of `z` to the voxels of `x`. What interpolates a sparse tensor at arbitrary points. A point without any voxel
/// receives zero.
/// @throws invalid_argument  the tensor has no coordinates, or no points
/// Cost: as devoxelize_features(), and the map the first time (make_point_map()). Stream: enqueues on `exec`,
/// does not wait. Determinism: same input, same bits. Source: voxel_to_point of SPVNAS.
template <int Dim, class Scalar, class Space>
[[nodiscard]] PointTensor<Dim, Scalar, Space> voxel_to_point(
    SparseTensor<Dim, Scalar, Space> const& x, PointTensor<Dim, Scalar, Space> const& z,
    Execution<Space> const& exec, Interpolation interpolation = Interpolation::multilinear,
    Compat compat = Compat::none)
{
  detail::expect_coordinates(x, "voxel_to_point");
  detail::expect_points(z, "voxel_to_point");
  auto const cells = detail::cells_of(interpolation, compat);
  auto const map = z.points()->map_to(x.coordinates(), cells, Compat::none, exec);
  return z.with_features(devoxelize_features<Scalar>(x.features(), *map, exec));
}

/// The sum of two tensors on the same points: `y[i, c] = a[i, c] + b[i, c]`.
/// @throws invalid_argument  other points (PointTensor::points()) or channels
/// Cost: one pass over the features. Stream: enqueues one kernel, does not wait. Determinism: same input, same
/// bits.
template <int Dim, class Scalar, class Space>
[[nodiscard]] PointTensor<Dim, Scalar, Space> add(PointTensor<Dim, Scalar, Space> const& a,
                                                  PointTensor<Dim, Scalar, Space> const& b,
                                                  Execution<Space> const& exec)
{
  detail::expect_points(a, "add");
  detail::expects(a.points() == b.points() && a.channels() == b.channels(),
                  "add: tensors on different points, or of ", a.channels(), " and ", b.channels(),
                  " channels");
  using Function = detail::AddFunction<accumulator_t<Scalar>>;
  return a.with_features(detail::map_elements<Scalar>(Function{}, exec, a.features(), b.features()));
}

/// Points in units of the voxels that were made of them, and these voxels.
template <int Dim, class Scalar, class Space>
struct VoxelizedPoints {
  PointTensor<Dim, Scalar, Space> points;
  SparseTensor<Dim, Scalar, Space> voxels;
};

namespace detail {

/// Rescales a point, and splits its batch entry off. Positions of points that are not finite become NaN.
template <int Dim>
struct RescalePoint {
  float const* from;  // [num_points, 1 + Dim]
  float size;
  float inverse;
  float* to;            // [num_points, 1 + Dim]
  std::int32_t* batch;  // [num_points]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto const* const own = from + i * (1 + Dim);
    auto* const result = to + i * (1 + Dim);
    constexpr float most = 1 << 30;
    bool const is_valid = is_finite(own[0]);
    batch[i] = is_valid ? static_cast<std::int32_t>(own[0] < -1     ? -1
                                                    : own[0] > most ? most
                                                                    : floorf(own[0]))
                        : 0;
    result[0] = own[0];
    for (int axis = 1; axis <= Dim; ++axis) {
      float const scaled = own[axis] * size * inverse;
      result[axis] = is_valid ? scaled : std::numeric_limits<float>::quiet_NaN();
    }
  }
};

}  // namespace detail

/// Makes voxels of points: `position * point_size * (1 / voxel_size)` in single precision is rounded down, and
/// points of one cell become a voxel with the mean of their features.
///
/// | name    | shape                  | memory | holds                                                      |
/// |---------|------------------------|--------|------------------------------------------------------------|
/// | z       | [num_points, channels] | Space  | positions in units of `point_size`                         |
/// | returns |                        | Space  | the points in units of `voxel_size`; voxels, lexicographic |
///
/// Points that are not finite are in no voxel. The gradient for the points' features is
/// voxelize_features_backward() by the returned points' map to the voxels.
/// @throws invalid_argument  sizes that are not positive; the tensor has no points; a voxel beyond 2^30; a point
/// of a batch entry that `z` does not have
/// Cost: a sort of the points by voxel, and some passes. Stream: enqueues on `exec`; waits twice, for the bounds
/// and the number of voxels. Determinism: same input, same bits, on Host and Device.
/// Source: initial_voxelize of SPVNAS; the factor is PyTorch's on a GPU.
template <int Dim, class Scalar, class Space>
[[nodiscard]] VoxelizedPoints<Dim, Scalar, Space> initial_voxelize(PointTensor<Dim, Scalar, Space> const& z,
                                                                   float point_size, float voxel_size,
                                                                   Execution<Space> const& exec)
{
  detail::expect_points(z, "initial_voxelize");
  detail::expects(
      detail::is_finite(point_size) && detail::is_finite(voxel_size) && point_size > 0 && voxel_size > 0,
      "initial_voxelize: sizes ", point_size, " and ", voxel_size, "; both must be positive and finite");
  auto const positions = z.points()->positions();
  Matrix<float, Space> scaled{positions.rows, positions.columns, exec};
  Buffer<std::int32_t, Space> batch{positions.rows, exec};
  for_each(
      positions.rows,
      detail::RescalePoint<Dim>{positions.data, point_size, 1.0F / voxel_size, scaled.data(), batch.data()},
      exec);
  PointsView<Scalar> view;
  view.positions = StridedView<float const>{scaled}.columns_from(1, Dim);
  view.features = z.features();
  view.batch = batch.data();
  view.num_batches = z.points()->num_batches();
  auto const options = QuantizeOptions<Dim>(1.0F).features(VoxelFeatures::mean);
  auto voxels = sparse_quantize(view, options, exec);
  auto points = std::make_shared<PointSet<Dim, Space>>(std::move(scaled), z.points()->num_batches());
  return {z.with_points(std::move(points)), {voxels.coordinates, std::move(voxels.features)}};
}

}  // namespace v0
}  // namespace tessera
