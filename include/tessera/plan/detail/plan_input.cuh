// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate_set.hpp>
#include <tessera/core/buffer.hpp>
#include <tessera/core/execution.cuh>
#include <tessera/core/matrix.hpp>
#include <tessera/core/row_count.hpp>
#include <tessera/hash/coordinate_table.hpp>
#include <tessera/plan/detail/steps.cuh>
#include <tessera/plan/limits.hpp>
#include <tessera/plan/status.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Puts a scan where the graph reads it; item number n is one number of a coordinate or one feature.
template <class Scalar>
struct IngestRows {
  std::int32_t const* from_coordinates;  // [rows.capacity, width]
  Scalar const* from_features;           // [rows.capacity, channels]
  RowCount rows;
  std::int32_t* coordinates;  // [capacity, width]
  Scalar* features;           // [capacity, channels]
  std::int32_t* count;        // [1]; above the capacity when the scan is, which the graph reports
  std::int64_t capacity;
  int width;
  int channels;

  /// Items of the whole: the first one tells how many rows there are.
  [[nodiscard]] std::int64_t count_items() const noexcept
  {
    return std::max<std::int64_t>(1, std::min(rows.capacity, capacity) * std::max(width, channels));
  }

  __device__ void operator()(std::int64_t n) const
  {
    auto const used = rows.count != nullptr ? std::int64_t{*rows.count} : rows.capacity;
    auto const size = used < capacity ? used : capacity;
    if (n == 0) { *count = static_cast<std::int32_t>(used); }
    if (n < size * width) { coordinates[n] = from_coordinates[n]; }
    if (n < size * channels) { features[n] = from_features[n]; }
  }
};

/// Channels that the model's options name, or 0.
template <class Model, class = void>
struct ChannelsOf {
  static int get(Model const&) { return 0; }
};
template <class Model>
struct ChannelsOf<Model, std::void_t<decltype(std::declval<Model const&>().options().in_channels)>> {
  static int get(Model const& model) { return model.options().in_channels; }
};

/// The input of a plan that takes voxels, in the memory of `exec`.
template <int Dim, class Scalar>
struct VoxelInput {
  using Value = SparseTensor<Dim, Scalar, Device>;

  std::int32_t* count = nullptr;
  Coordinate<Dim>* coordinates = nullptr;
  Scalar* features = nullptr;
  Value tensor;

  /// @param empty  enqueue that there are no rows
  VoxelInput(PlanLimits const& limits, int channels, bool empty, Execution<Device> const& exec)
  {
    typename CoordinateSet<Dim, Device>::Rows rows{{limits.voxels(), exec}, {1, exec}};
    Matrix<Scalar, Device> matrix{limits.voxels(), channels, exec};
    count = rows.count.data();
    coordinates = rows.rows.data();
    features = matrix.data();
    if (empty) { fill_bytes(rows.count, 0, exec); }
    auto set =
        CoordinateSet<Dim, Device>::make(std::move(rows), limits.box<Dim>(), limits.set_options<Dim>(), exec);
    static_cast<void>(coordinate_table(*set, exec));  // duplicates are found whatever the layers
    tensor = {std::move(set), std::move(matrix)};
  }

  /// Where the errors [2] of a run are noted.
  [[nodiscard]] std::uint32_t* errors() const { return access(*tensor.coordinates()).errors(); }

  /// A scan, on the device.
  struct Scan {
    std::int32_t const* coordinates;  // [rows.capacity, 1 + Dim]
    Scalar const* features;           // [rows.capacity, channels]
    RowCount rows;
  };

  [[nodiscard]] RunStatus accepts(Scan const& scan) const noexcept
  {
    if (scan.rows.count != nullptr || scan.rows.capacity <= tensor.capacity()) { return {}; }
    return {RunError::too_many_voxels, scan.rows.capacity, tensor.capacity()};
  }
  [[nodiscard]] RunStatus accepts(SparseTensor<Dim, Scalar, Device> const& x) const noexcept
  {
    if (x.coordinates() == nullptr) { return {RunError::no_coordinates}; }
    if (x.channels() != tensor.channels()) {
      return {RunError::wrong_channels, x.channels(), tensor.channels()};
    }
    auto const& set = *x.coordinates();
    if (!all_equal(set.tensor_stride(), 1)) {
      return {RunError::wrong_stride, max_element(set.tensor_stride()), 1};
    }
    auto const& range = set.spatial_range();
    if (range && !(range == tensor.coordinates()->spatial_range())) { return {RunError::wrong_range}; }
    return {};
  }
  [[nodiscard]] RunStatus accepts(MatrixView<std::int32_t const> const& rows,
                                  MatrixView<Scalar const> const& values) const noexcept
  {
    if (rows.columns != Dim + 1) { return {RunError::wrong_columns, rows.columns, Dim + 1}; }
    if (values.columns != tensor.channels()) {
      return {RunError::wrong_channels, values.columns, tensor.channels()};
    }
    if (values.rows != rows.rows) { return {RunError::rows_differ, values.rows, rows.rows}; }
    return {};
  }
  /// Enqueues the copy of a scan.
  [[nodiscard]] cudaError_t ingest(Scan const& scan, cudaStream_t stream) const noexcept
  {
    IngestRows<Scalar> const body{
        scan.coordinates, scan.features, scan.rows,         reinterpret_cast<std::int32_t*>(coordinates),
        features,         count,         tensor.capacity(), Dim + 1,
        tensor.channels()};
    return try_for_each(body.count_items(), body, stream);
  }
  /// Rows of an output on points, which are the voxels.
  [[nodiscard]] RowCount used_points() const noexcept { return tensor.coordinates()->row_count(); }
  /// Rows that the output for a scan of `rows` may have.
  template <class Output>
  [[nodiscard]] std::int64_t most_rows(Output const& output, RowCount const& rows) const noexcept
  {
    void const* const set = output.coordinates().get();
    bool const on_input = set == tensor.coordinates().get();
    return on_input ? std::min(rows.capacity, tensor.capacity()) : output.capacity();
  }
  /// There are no labels.
  template <class Destination>
  [[nodiscard]] RunStatus check_labels(Destination const& to, RowCount const&) const noexcept
  {
    return to.labels.data == nullptr ? RunStatus{} : RunStatus{RunError::wrong_destination};
  }
  template <class Destination>
  [[nodiscard]] cudaError_t copy_labels(Destination const&, RowCount const&, cudaStream_t) const noexcept
  {
    return cudaSuccess;
  }
  /// Nothing is made of the output.
  template <class Output>
  void label(Output const&, Execution<Device> const&)
  {}
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
