// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/fixed_quantize.hpp>
#include <tessera/coords/voxelize.cuh>
#include <tessera/core/detail/scan.cuh>
#include <tessera/core/detail/sort.cuh>
#include <tessera/core/strided_view.hpp>
#include <tessera/hash/voxel_of_points.hpp>
#include <tessera/plan/detail/plan_input.cuh>
#include <tessera/plan/detail/planned_scan.cuh>
#include <tessera/tensor/labels.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

template <int Dim, class Output>
struct IsTensor : std::false_type {};
template <int Dim, class Scalar>
struct IsTensor<Dim, SparseTensor<Dim, Scalar, Device>> : std::true_type {};

/// The input of a plan that takes points, in the memory of `exec`: the voxels of a scan, and at the end the
/// labels of its points.
/// @tparam Options  QuantizeOptions<Dim> or VoxelizeOptions
template <int Dim, class Scalar, class Options>
struct PointInput : PlannedScan {
  static_assert(
      std::is_same_v<Options, QuantizeOptions<Dim>> || (Dim == 3 && std::is_same_v<Options, VoxelizeOptions>),
      "Plan: voxelize() takes QuantizeOptions of as many dimensions as the network has, or, in three "
      "dimensions, VoxelizeOptions");

  using Value = SparseTensor<Dim, Scalar, Device>;

  Buffer<std::int32_t, Device> inverse;       // [max_points], or none
  Buffer<std::int32_t, Device> voxel_labels;  // [max_voxels], or none
  Value tensor;

  /// @param empty  enqueue that there are no points
  PointInput(PointLimits<Options> const& limits, int channels, bool empty, Execution<Device> const& exec)
      : PlannedScan{limits.points(), limits.columns(), Dim, channels, empty, exec},
        options_{limits.voxelization()},
        channels_{channels}
  {
    make_voxels(limits, exec);
    static_cast<void>(
        coordinate_table(*tensor.coordinates(), exec));  // in the plan's memory, whoever asks later
    for_each(1, CheckCapacity{{points.rows(), num_points.data()}, errors()}, exec);
  }

  /// Where the errors [2] of a run are noted.
  [[nodiscard]] std::uint32_t* errors() const { return access(*tensor.coordinates()).errors(); }

  /// Rows of an output on points, which are the voxels.
  [[nodiscard]] RowCount used_points() const noexcept { return tensor.coordinates()->row_count(); }
  /// Rows that the output for a scan of `rows` may have: there are no more voxels than points.
  template <class Output>
  [[nodiscard]] std::int64_t most_rows(Output const& output, RowCount const& rows) const noexcept
  {
    void const* const set = output.coordinates().get();
    bool const on_input = set == tensor.coordinates().get();
    return on_input ? std::min({rows.capacity, points.rows(), tensor.capacity()}) : output.capacity();
  }
  /// Makes labels where the output is a tensor on the voxels.
  template <class Output>
  void label(Output const& output, Execution<Device> const& exec)
  {
    if constexpr (IsTensor<Dim, Output>::value) {
      if (output.coordinates() != tensor.coordinates()) { return; }
      voxel_labels = argmax(output.features(), exec);
      if constexpr (std::is_same_v<Options, VoxelizeOptions>) {
        inverse = voxel_of_points(points.view(), options_, *tensor.coordinates(), exec);
      }
      labels = gather(voxel_labels, inverse, -1, exec);
    }
  }

  /// Enqueues labels into memory of the caller's.
  template <class Destination>
  [[nodiscard]] cudaError_t copy_labels(Destination const& to, RowCount const& rows,
                                        cudaStream_t stream) const noexcept
  {
    if (to.labels.data == nullptr) { return cudaSuccess; }
    return try_for_each(std::min(rows.capacity, points.rows()),
                        GatherValues<std::int32_t>{voxel_labels.data(), voxel_labels.size(), inverse.data(),
                                                   -1, to.labels.data},
                        stream);
  }

 private:
  void make_voxels(PlanLimits const& limits, Execution<Device> const& exec)
  {
    if constexpr (std::is_same_v<Options, VoxelizeOptions>) {
      auto options = options_;
      options.capacity(*limits.set_options<3>().fixed_capacity);
      auto voxels = hard_voxelize(points.view(), options, exec);
      set_tensor(voxels.coordinates, std::move(voxels.mean), exec);
    } else {
      VoxelRoom<Dim> const room{limits.voxels(), limits.box<Dim>(), limits.set_options<Dim>()};
      StridedView<float const> const rows{points};
      PointsView<float> view;
      view.positions = rows.columns_from(0, Dim);
      view.features = rows.columns_from(rows.columns - channels_, channels_);
      auto voxels = sparse_quantize(view, options_, room, exec);
      inverse = std::move(voxels.inverse);
      set_tensor(voxels.coordinates, std::move(voxels.features), exec);
    }
  }

  void set_tensor(CoordinateSetPointer<Dim, Device> const& set, Matrix<float, Device>&& features,
                  Execution<Device> const& exec)
  {
    if constexpr (std::is_same_v<Scalar, float>) {
      if (features.columns() == channels_) {
        tensor = {set, std::move(features)};
        return;
      }
    }
    Matrix<Scalar, Device> last{features.rows(), channels_, exec};
    for_each(last.size(),
             TakeLastColumns<Scalar>{features.data(), features.columns(), channels_, last.data()}, exec);
    tensor = {set, std::move(last)};
  }

  Options options_;
  int channels_;
};

/// Input and limits of a plan, by what makes its voxels.
template <int Dim, class Scalar, class Options>
struct InputOf {
  using type = PointInput<Dim, Scalar, Options>;
  using Scan = typename type::Scan;
};
template <int Dim, class Scalar>
struct InputOf<Dim, Scalar, void> {
  using type = VoxelInput<Dim, Scalar>;
  using Scan = typename type::Scan;
};
template <class Options>
struct LimitsOf {
  using type = PointLimits<Options>;
};
template <>
struct LimitsOf<void> {
  using type = PlanLimits;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
