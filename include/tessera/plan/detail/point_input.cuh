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
#include <tessera/tensor/labels.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Puts points where the graph reads them. Those that are not in use get no position, so that they are in no
/// voxel. Item number n is one number of a point.
struct IngestPoints {
  StridedView<float const> from;  // [capacity of the scan, columns]; may be `points` itself
  std::int32_t const* used_rows;  // [1] how many of them, or null: all
  float* points;                  // [capacity, columns]
  std::int32_t* count;            // [1]; above the capacity when the scan is, which the graph reports
  std::int64_t capacity;

  __device__ void operator()(std::int64_t n) const
  {
    auto const used = used_rows != nullptr ? std::int64_t{*used_rows} : from.rows;
    auto const size = used < from.rows ? used : from.rows;
    if (n == 0) { *count = static_cast<std::int32_t>(used); }
    auto const row = n / from.columns;
    if (row >= size) {
      points[n] = nanf("");
    } else if (from.data != points) {
      points[n] = from(row, n - row * from.columns);
    }
  }
};

/// to[row] = the last columns of from[row], rounded to nearest.
template <class To>
struct TakeLastColumns {
  float const* from;  // [rows, columns]
  std::int64_t columns;
  std::int64_t channels;
  To* to;  // [rows, channels]

  __device__ void operator()(std::int64_t n) const
  {
    auto const row = n / channels;
    to[n] = static_cast<To>(from[row * columns + columns - channels + n - row * channels]);
  }
};

template <int Dim, class Output>
struct IsTensor : std::false_type {};
template <int Dim, class Scalar>
struct IsTensor<Dim, SparseTensor<Dim, Scalar, Device>> : std::true_type {};

/// The input of a plan that takes points, in the memory of `exec`: the voxels of a scan, and at the end the
/// labels of its points.
/// @tparam Options  QuantizeOptions<Dim> or VoxelizeOptions
template <int Dim, class Scalar, class Options>
struct PointInput {
  static_assert(
      std::is_same_v<Options, QuantizeOptions<Dim>> || (Dim == 3 && std::is_same_v<Options, VoxelizeOptions>),
      "Plan: voxelize() takes QuantizeOptions of as many dimensions as the network has, or, in three "
      "dimensions, VoxelizeOptions");

  Matrix<float, Device> points;               // [max_points, columns]
  Buffer<std::int32_t, Device> num_points;    // [1]
  Buffer<std::int32_t, Device> inverse;       // [max_points], or none
  Buffer<std::int32_t, Device> voxel_labels;  // [max_voxels], or none
  Buffer<std::int32_t, Device> labels;        // [max_points], or none
  SparseTensor<Dim, Scalar, Device> tensor;

  /// @param empty  enqueue that there are no points
  PointInput(PointLimits<Options> const& limits, int channels, bool empty, Execution<Device> const& exec)
      : options_{limits.voxelization()}, channels_{channels}
  {
    int const columns = limits.columns() > 0 ? limits.columns() : channels;
    expects(columns >= Dim && columns >= channels, "Plan: points of ", columns, " columns for ", Dim,
            " of the position and ", channels,
            " features, which are the last; say PlanLimits::point_columns()");
    points = {limits.points(), columns, exec};
    num_points = {1, exec};
    if (empty) {
      Transfer<Device>::fill_bytes(points.data(), 0xff,
                                   static_cast<std::size_t>(points.size()) * sizeof(float),
                                   exec);  // all NaN
      fill_bytes(num_points, 0, exec);
    }
    make_voxels(limits, exec);
    static_cast<void>(
        coordinate_table(*tensor.coordinates(), exec));  // in the plan's memory, whoever asks later
    for_each(1, CheckCapacity{{points.rows(), num_points.data()}, access(*tensor.coordinates()).errors()},
             exec);
  }

  /// A scan, on the device or the host.
  struct Scan {
    StridedView<float const> points;  // [rows.capacity, columns]
    RowCount rows;
  };

  [[nodiscard]] RunStatus accepts(Scan const& scan) const noexcept
  {
    if (scan.points.columns != points.columns()) {
      return {RunError::wrong_columns, scan.points.columns, points.columns()};
    }
    if (scan.rows.count == nullptr && scan.rows.capacity > points.rows()) {
      return {RunError::too_many_points, scan.rows.capacity, points.rows()};
    }
    return place_of(scan) != Place::pageable || is_dense(scan.points) ? RunStatus{}
                                                                      : RunStatus{RunError::scattered_points};
  }
  /// Enqueues the copy of a scan: points of the host that follow each other by a copy, others by the kernel.
  [[nodiscard]] cudaError_t ingest(Scan const& scan, cudaStream_t stream) noexcept
  {
    auto from = scan.points;
    from.rows = std::min(scan.rows.capacity, points.rows());
    bool const copies = from.rows > 0 && place_of(scan) != Place::device && is_dense(from);
    auto const bytes = static_cast<std::size_t>(from.rows * from.columns) * sizeof(float);
    return in_order(
        [&] {
          return copies ? cudaMemcpyAsync(points.data(), from.data, bytes, cudaMemcpyHostToDevice, stream)
                        : cudaSuccess;
        },
        [&] {
          if (copies) { from = {points.data(), from.rows, from.columns}; }
          return try_for_each(
              points.size(),
              IngestPoints{from, scan.rows.count, points.data(), num_points.data(), points.rows()}, stream);
        });
  }
  /// Rows that the output for a scan of `rows` may have: there are no more voxels than points.
  template <class Output>
  [[nodiscard]] std::int64_t most_rows(Output const& output, RowCount const& rows) const noexcept
  {
    void const* const set = output.coordinates().get();
    bool const on_input = set == tensor.coordinates().get();
    return on_input ? std::min({rows.capacity, points.rows(), tensor.capacity()}) : output.capacity();
  }
  template <class Destination>
  [[nodiscard]] RunStatus check_labels(Destination const& to, RowCount const& rows) const noexcept
  {
    if (to.labels.data == nullptr) { return {}; }
    if (labels.empty()) { return {RunError::wrong_destination}; }
    auto const most = std::min(rows.capacity, points.rows());
    if (to.labels.size() < most) { return {RunError::small_destination, to.labels.size(), most}; }
    return {};
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
  enum class Place : std::uint8_t { device, pinned, pageable };

  [[nodiscard]] static Place place_of(Scan const& scan) noexcept
  {
    RelaxedCapture const relaxed;  // it may be asked meanwhile
    cudaPointerAttributes found{};
    if (scan.rows.capacity == 0) { return Place::device; }
    if (cudaPointerGetAttributes(&found, scan.points.data) != cudaSuccess) {
      static_cast<void>(cudaGetLastError());
      return Place::device;  // what the pointer is worth is for the kernel to find
    }
    if (found.type == cudaMemoryTypeUnregistered) { return Place::pageable; }
    return found.type == cudaMemoryTypeHost ? Place::pinned : Place::device;
  }
  [[nodiscard]] static bool is_dense(StridedView<float const> const& view) noexcept
  {
    return view.column_stride == 1 && (view.row_stride == view.columns || view.rows <= 1);
  }

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
