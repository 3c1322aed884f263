// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate_set.hpp>
#include <tessera/core/buffer.hpp>
#include <tessera/core/matrix.hpp>
#include <tessera/core/parallel.hpp>
#include <tessera/core/row_count.hpp>
#include <tessera/hash/coordinate_table.hpp>
#include <tessera/plan/limits.hpp>
#include <tessera/plan/status.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Puts a scan where a plan reads it; item number n is one number of a coordinate or one feature.
template <class Scalar>
struct IngestRows {
  std::int32_t const* from_coordinates;  // [rows.capacity, width]
  Scalar const* from_features;           // [rows.capacity, channels]
  RowCount rows;
  std::int32_t* coordinates;  // [capacity, width]
  Scalar* features;           // [capacity, channels]
  std::int32_t* count;        // [1]; above the capacity when the scan is, which the plan reports
  std::int64_t capacity;
  int width;
  int channels;

  /// Items of the whole: the first one tells how many rows there are.
  [[nodiscard]] std::int64_t count_items() const noexcept
  {
    return std::max<std::int64_t>(1, std::min(rows.capacity, capacity) * std::max(width, channels));
  }

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
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

/// What scans a plan of voxels takes.
template <int Dim, class Scalar, class Space>
struct ScanLimits {
  using Tensor = SparseTensor<Dim, Scalar, Space>;

  /// A scan, in `Space`.
  struct Scan {
    std::int32_t const* coordinates;  // [rows.capacity, 1 + Dim]
    Scalar const* features;           // [rows.capacity, channels]
    RowCount rows;
  };

  std::int64_t max_rows;
  int channels;
  std::optional<SpatialRange<Dim>> range;

  ScanLimits(PlanLimits const& limits, int input_channels)
      : max_rows{limits.voxels()},
        channels{input_channels},
        range{limits.template set_options<Dim>().spatial_range}
  {}

  [[nodiscard]] static Scan scan_of(Tensor const& x)
  {
    return {reinterpret_cast<std::int32_t const*>(x.coordinates()->data()), x.features().data,
            x.coordinates()->row_count()};
  }
  [[nodiscard]] RunStatus accepts(Scan const& scan) const noexcept
  {
    if (scan.rows.count != nullptr || scan.rows.capacity <= max_rows) { return {}; }
    return {RunError::too_many_voxels, scan.rows.capacity, max_rows};
  }
  [[nodiscard]] RunStatus accepts(Tensor const& x) const noexcept
  {
    if (x.coordinates() == nullptr) { return {RunError::no_coordinates}; }
    if (x.channels() != channels) { return {RunError::wrong_channels, x.channels(), channels}; }
    auto const& set = *x.coordinates();
    if (!all_equal(set.tensor_stride(), 1)) {
      return {RunError::wrong_stride, max_element(set.tensor_stride()), 1};
    }
    if (set.spatial_range() && !(set.spatial_range() == range)) { return {RunError::wrong_range}; }
    return {};
  }
  [[nodiscard]] RunStatus accepts(MatrixView<std::int32_t const> const& rows,
                                  MatrixView<Scalar const> const& values) const noexcept
  {
    if (rows.columns != Dim + 1) { return {RunError::wrong_columns, rows.columns, Dim + 1}; }
    if (values.columns != channels) { return {RunError::wrong_channels, values.columns, channels}; }
    if (values.rows != rows.rows) { return {RunError::rows_differ, values.rows, rows.rows}; }
    return {};
  }
};

/// Room for the voxels of one scan, and, once make() was called, the tensor of them.
template <int Dim, class Scalar, class Space>
struct PlannedRows : ScanLimits<Dim, Scalar, Space> {
  using Limits = ScanLimits<Dim, Scalar, Space>;
  using typename Limits::Scan;
  using typename Limits::Tensor;

  std::int32_t* count = nullptr;           // [1]
  Coordinate<Dim>* coordinates = nullptr;  // [max_rows]
  Scalar* features = nullptr;              // [max_rows, channels]
  Tensor tensor;

  /// Stream: enqueues nothing.
  PlannedRows(PlanLimits const& limits, int input_channels, Execution<Space> const& exec)
      : Limits{limits, input_channels},
        rows_{{limits.voxels(), exec}, {1, exec}},
        matrix_{limits.voxels(), input_channels, exec}
  {
    count = rows_.count.data();
    coordinates = rows_.rows.data();
    features = matrix_.data();
  }
  /// Says that there are none.
  /// Stream: enqueues a fill.
  void clear(Execution<Space> const& exec) { fill_bytes(rows_.count, 0, exec); }
  /// Makes the set and its table of the rows that are there by then, so that duplicates are found whatever the
  /// layers do.
  /// Stream: enqueues, does not wait.
  void make(CoordinateBox<Dim> const& box, CoordinateSetOptions<Dim> const& options,
            Execution<Space> const& exec)
  {
    tensor = {CoordinateSet<Dim, Space>::make(std::move(rows_), box, options, exec), std::move(matrix_)};
    static_cast<void>(coordinate_table(*tensor.coordinates(), exec));
  }
  /// What copies a scan.
  [[nodiscard]] IngestRows<Scalar> ingest_rows(Scan const& scan) const noexcept
  {
    return {scan.coordinates, scan.features, scan.rows,      reinterpret_cast<std::int32_t*>(coordinates),
            features,         count,         this->max_rows, Dim + 1,
            this->channels};
  }

 private:
  typename CoordinateSet<Dim, Space>::Rows rows_;
  Matrix<Scalar, Space> matrix_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
