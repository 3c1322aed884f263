// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/fixed_quantize.hpp>
#include <tessera/coords/quantize.hpp>
#include <tessera/kmap/rules/rules.hpp>
#include <tessera/ops/combine.hpp>
#include <tessera/ops/point_features.hpp>
#include <tessera/ops/voxelized_points.hpp>
#include <tessera/tensor/point_tensor.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

namespace tessera {
inline namespace v0 {

namespace detail {

/// Which voxels interpolation reads.
[[nodiscard]] inline PointCells cells_of(Interpolation interpolation, Compatibility compat)
{
  if (interpolation == Interpolation::multilinear) { return PointCells::corners; }
  bool const first = rules::visit(compat, [](auto rules) { return rules.nearest_is_first_corner; });
  return first ? PointCells::first : PointCells::containing;
}

/// Rescales a point, and splits its batch entry off. Positions of points whose entry is not finite become NaN; a
/// finite one stays so, since it is too far, and not a point without a voxel.
template <int Dim>
struct RescalePoint {
  float const* from;  // [num_points, 1 + Dim]
  float size;
  float inverse;
  float none;           // NaN
  float farthest;       // the largest number
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
      float scaled = own[axis] * size * inverse;
      if (is_finite(own[axis]) && !is_finite(scaled)) { scaled = own[axis] < 0 ? -farthest : farthest; }
      result[axis] = is_valid ? scaled : none;
    }
  }
};

template <int Dim, class Scalar, class Space>
[[nodiscard]] VoxelizedPoints<Dim, Scalar, Space> initial_voxelize_unrecorded(
    PointTensor<Dim, Scalar, Space> const& z, float point_size, float voxel_size,
    Execution<Space> const& exec)
{
  expect_points(z, "initial_voxelize");
  auto const inverse = 1.0F / voxel_size;
  expects(is_finite(point_size) && is_finite(voxel_size) && is_finite(inverse) && point_size > 0 &&
              voxel_size > 0,
          "initial_voxelize: sizes ", point_size, " and ", voxel_size,
          "; both must be positive and finite, and 1 / ", voxel_size, " too");
  auto const positions = z.points()->positions();
  Matrix<float, Space> scaled{positions.rows, positions.columns, exec};
  Buffer<std::int32_t, Space> batch{positions.rows, exec};
  for_each(positions.rows,
           RescalePoint<Dim>{positions.data, point_size, inverse, std::numeric_limits<float>::quiet_NaN(),
                             std::numeric_limits<float>::max(), scaled.data(), batch.data()},
           exec);
  PointsView<Scalar> view;
  view.positions = StridedView<float const>{scaled}.columns_from(1, Dim);
  view.features = z.features();
  view.batch = batch.data();
  view.num_batches = z.points()->num_batches();
  auto const options = QuantizeOptions<Dim>(1.0F).features(VoxelFeatures::mean);
  SparseTensor<Dim, Scalar, Space> voxels;
  if (auto const& room = z.points()->voxel_room()) {
    auto made = sparse_quantize(view, options, *room, exec);
    z.points()->add_voxels_in_room(made.coordinates);
    voxels = {made.coordinates, std::move(made.features)};
  } else {
    auto made = sparse_quantize(view, options, exec);
    voxels = {made.coordinates, std::move(made.features)};
  }
  auto points = std::make_shared<PointSet<Dim, Space>>(
      std::move(scaled), z.points()->num_batches(), std::nullopt, z.points()->count(), voxels.coordinates());
  return {z.with_points(std::move(points)), std::move(voxels)};
}

template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> point_to_voxel_unrecorded(
    PointTensor<Dim, Scalar, Space> const& z, CoordinateSetPointer<Dim, Space> const& voxels,
    Compatibility compat, Execution<Space> const& exec)
{
  expect_points(z, "point_to_voxel");
  auto const map = z.points()->map_to(voxels, PointCells::containing, compat, exec);
  return {voxels, voxelize_features<Scalar>(z.features(), *map, exec)};
}

template <int Dim, class Scalar, class Space>
[[nodiscard]] PointTensor<Dim, Scalar, Space> voxel_to_point_unrecorded(
    SparseTensor<Dim, Scalar, Space> const& x, PointTensor<Dim, Scalar, Space> const& z,
    Interpolation interpolation, Compatibility compat, Execution<Space> const& exec)
{
  expect_coordinates(x, "voxel_to_point");
  expect_points(z, "voxel_to_point");
  auto const map =
      z.points()->map_to(x.coordinates(), cells_of(interpolation, compat), Compatibility::none, exec);
  return z.with_features(devoxelize_features<Scalar>(x.features(), *map, exec));
}

/// The gradient of voxel_to_point() for the voxels' features; `z` is null where there are no points.
template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> voxel_to_point_gradient(MatrixView<Scalar const> const& grad,
                                                            SparseTensor<Dim, Scalar, Space> const& x,
                                                            PointTensor<Dim, Scalar, Space> const* z,
                                                            Interpolation interpolation, Compatibility compat,
                                                            Execution<Space> const& exec)
{
  if (z == nullptr) {
    Buffer<Scalar, Space> zeros{x.capacity() * grad.columns, exec};
    fill_bytes(zeros, 0, exec);
    return {std::move(zeros), x.capacity(), grad.columns};
  }
  auto const map =
      z->points()->map_to(x.coordinates(), cells_of(interpolation, compat), Compatibility::none, exec);
  return devoxelize_features_backward<Scalar>(grad, *map, exec);
}

template <int Dim, class Scalar, class Space>
[[nodiscard]] PointTensor<Dim, Scalar, Space> add_unrecorded(PointTensor<Dim, Scalar, Space> const& a,
                                                             PointTensor<Dim, Scalar, Space> const& b,
                                                             Execution<Space> const& exec)
{
  expect_points(a, "add");
  expects(a.points() == b.points() && a.channels() == b.channels(),
          "add: tensors on different points, or of ", a.channels(), " and ", b.channels(), " channels");
  using Function = AddFunction<accumulator_t<Scalar>>;
  return a.with_features(map_elements<Scalar>(Function{}, exec, a.features(), b.features()));
}

/// to[i] = the batch entry of voxel i and its lower corner in voxels of the finest grid; NaN in rows that are
/// not in use.
template <int Dim>
struct WriteLowerCorners {
  CoordinateView<Dim> voxels;
  IntArray<Dim> stride;
  float none;  // NaN
  float* to;   // [capacity, 1 + Dim]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto* const own = to + i * (1 + Dim);
    bool const is_used = i < voxels.size();
    own[0] = is_used ? static_cast<float>(voxels[i].batch) : none;
    for (int axis = 0; axis < Dim; ++axis) {
      own[1 + axis] =
          is_used ? static_cast<float>(voxels[i].position[axis]) * static_cast<float>(stride[axis]) : none;
    }
  }
};

template <int Dim, class Scalar, class Space>
[[nodiscard]] PointTensor<Dim, Scalar, Space> points_of_voxels_unrecorded(
    SparseTensor<Dim, Scalar, Space> const& x, Execution<Space> const& exec)
{
  expect_coordinates(x, "points_of_voxels");
  auto const& set = *x.coordinates();
  Matrix<float, Space> positions{set.capacity(), 1 + Dim, exec};
  for_each(set.capacity(),
           WriteLowerCorners<Dim>{set.view(), set.tensor_stride(), std::numeric_limits<float>::quiet_NaN(),
                                  positions.data()},
           exec);
  auto const features = x.features();
  typename PointSet<Dim, Space>::Count count;
  if (set.has_device_count()) {
    count = std::make_shared<Buffer<std::int32_t, Space> const>(copy(set.row_count().count, 1, exec));
  }
  return {std::make_shared<PointSet<Dim, Space>>(std::move(positions), std::max(1, set.num_batches()),
                                                 std::nullopt, std::move(count), x.coordinates()),
          Matrix<Scalar, Space>{copy(features.data, features.size(), exec), features.rows, features.columns}};
}

}  // namespace detail

}  // namespace v0
}  // namespace tessera
