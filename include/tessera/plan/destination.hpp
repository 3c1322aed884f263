// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/matrix.hpp>
#include <tessera/plan/status.hpp>
#include <tessera/tensor/dense.hpp>
#include <tessera/tensor/point_tensor.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {

/// Where a run of a plan puts its output, in memory of the caller's; what is left out is not written.
///
/// Rows past those in use are not written. The memory is on the plan's device, `labels` there or in pinned
/// host memory.
/// @tparam Scalar  of the output's features, or of the cells of its dense map
template <class Scalar>
struct PlanDestination {
  MatrixView<Scalar> features{};           ///< [rows, channels], rows of voxels or of points; of a dense map
                                           ///< any shape of as many elements
  MatrixView<std::int32_t> coordinates{};  ///< [rows, 1 + Dim] of voxels
  std::int32_t* num_rows = nullptr;        ///< [1] rows in use
  MatrixView<std::int32_t> labels{};       ///< [num_points, 1] of plans that take points: class, -1 for none
};

namespace detail {

/// The destination of an output that has none: it is neither a tensor nor a map.
struct NoDestination {};

/// Destinations of a plan's output.
template <class Output>
struct DestinationOf {
  using type = NoDestination;
};
template <int Dim, class Scalar>
struct DestinationOf<SparseTensor<Dim, Scalar, Device>> {
  using type = PlanDestination<Scalar>;
};
template <int Dim, class Scalar>
struct DestinationOf<PointTensor<Dim, Scalar, Device>> {
  using type = PlanDestination<Scalar>;
};
template <int Dim, class Scalar>
struct DestinationOf<DenseTensor<Dim, Scalar, Device>> {
  using type = PlanDestination<Scalar>;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
