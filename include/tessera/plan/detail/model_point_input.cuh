// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/fixed_quantize.hpp>
#include <tessera/plan/detail/planned_scan.cuh>
#include <tessera/plan/detail/point_input.cuh>
#include <tessera/plan/limits.hpp>
#include <tessera/tensor/labels.hpp>
#include <tessera/tensor/point_tensor.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// to[i] = batch entry 0 and the position of point i.
template <int Dim>
struct TakePositions {
  float const* points;  // [rows, columns]
  std::int64_t columns;
  float* to;  // [rows, 1 + Dim]

  __device__ void operator()(std::int64_t i) const
  {
    auto* const own = to + i * (1 + Dim);
    own[0] = 0;
    for (int axis = 0; axis < Dim; ++axis) { own[1 + axis] = points[i * columns + axis]; }
  }
};

/// The class of a point; -1 where its position is not finite, as in rows that are not in use.
template <int Dim>
struct LabelPoint {
  float const* points;  // [rows, columns]
  std::int64_t columns;
  std::int32_t* labels;  // [rows] the largest logits; written

  __device__ void operator()(std::int64_t i) const
  {
    bool exists = true;
    for (int axis = 0; axis < Dim; ++axis) { exists = exists && is_finite(points[i * columns + axis]); }
    if (!exists) { labels[i] = -1; }
  }
};

/// to[i] = from[i].
struct CopyLabel {
  std::int32_t const* from;
  std::int32_t* to;

  __device__ void operator()(std::int64_t i) const { to[i] = from[i]; }
};

template <int Dim, class Output>
struct IsPointTensor : std::false_type {};
template <int Dim, class Scalar>
struct IsPointTensor<Dim, PointTensor<Dim, Scalar, Device>> : std::true_type {};

/// The input of a plan whose model takes points, in the memory of `exec`: the points of a scan with room for
/// their voxels, and at the end their labels.
template <int Dim, class Scalar>
struct ModelPointInput : PlannedScan {
  using Value = PointTensor<Dim, Scalar, Device>;

  Buffer<std::int32_t, Device> inverse;  // none
  Value tensor;

  /// @param empty  enqueue that there are no points
  ModelPointInput(PointLimits<ModelVoxelizes> const& limits, int channels, bool empty,
                  Execution<Device> const& exec)
      : PlannedScan{limits.points(), limits.columns(), Dim, channels, empty, exec}
  {
    auto const rows = points.rows();
    Matrix<float, Device> positions{rows, 1 + Dim, exec};
    for_each(rows, TakePositions<Dim>{points.data(), points.columns(), positions.data()}, exec);
    Matrix<Scalar, Device> features{rows, channels, exec};
    for_each(features.size(),
             TakeLastColumns<Scalar>{points.data(), points.columns(), channels, features.data()}, exec);
    VoxelRoom<Dim> const room{limits.voxels(), limits.box<Dim>(), limits.set_options<Dim>()};
    auto count = std::make_shared<Buffer<std::int32_t, Device> const>(copy(num_points.data(), 1, exec));
    tensor = {std::make_shared<PointSet<Dim, Device>>(std::move(positions), 1, room, std::move(count)),
              std::move(features)};
  }

  /// Where the errors [2] of a run are noted: with the voxels that the model has made.
  [[nodiscard]] std::uint32_t* errors() const
  {
    auto const made = tensor.points()->voxels_in_room();
    expects(made.size() == 1, "Plan: forward() made ", made.size(),
            " sets of voxels of its points; PlanLimits::model_voxelizes() is for models that make one, by "
            "initial_voxelize()");
    return access(*made.front()).errors();
  }
  /// Makes labels where the output is a tensor on points.
  template <class Output>
  void label(Output const& output, Execution<Device> const& exec)
  {
    for_each(1, CheckCapacity{{points.rows(), num_points.data()}, errors()}, exec);
    if constexpr (IsPointTensor<Dim, Output>::value) {
      if (output.num_points() != points.rows()) { return; }
      labels = argmax(output.features(), exec);
      for_each(points.rows(), LabelPoint<Dim>{points.data(), points.columns(), labels.data()}, exec);
    }
  }

  /// Rows of an output on points.
  [[nodiscard]] RowCount used_points() const noexcept { return {points.rows(), num_points.data()}; }
  /// Rows that an output on voxels may have.
  template <class Output>
  [[nodiscard]] std::int64_t most_rows(Output const& output, RowCount const&) const noexcept
  {
    return output.capacity();
  }
  /// Enqueues labels into memory of the caller's.
  template <class Destination>
  [[nodiscard]] cudaError_t copy_labels(Destination const& to, RowCount const& rows,
                                        cudaStream_t stream) const noexcept
  {
    if (to.labels.data == nullptr) { return cudaSuccess; }
    return try_for_each(std::min(rows.capacity, points.rows()), CopyLabel{labels.data(), to.labels.data},
                        stream);
  }
};

template <int Dim, class Scalar>
struct InputOf<Dim, Scalar, ModelVoxelizes> {
  using type = ModelPointInput<Dim, Scalar>;
  using Scan = typename type::Scan;
};

/// What the model of a plan takes.
template <int Dim, class Scalar, class Voxelization>
using ValueOf = typename InputOf<Dim, Scalar, Voxelization>::type::Value;

}  // namespace detail
}  // namespace v0
}  // namespace tessera
