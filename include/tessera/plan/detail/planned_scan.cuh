// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/buffer.hpp>
#include <tessera/core/execution.cuh>
#include <tessera/core/matrix.hpp>
#include <tessera/core/row_count.hpp>
#include <tessera/core/strided_view.hpp>
#include <tessera/plan/detail/steps.cuh>
#include <tessera/plan/status.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>

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

/// Where a plan that takes points has those of the run at hand, in the memory of `exec`.
struct PlannedScan {
  Matrix<float, Device> points;              // [max_points, columns]
  Buffer<std::int32_t, Device> num_points;   // [1]
  Buffer<std::int32_t, Device> labels = {};  // [max_points] made after the network, or none

  /// @param dimensions  of a position, with which the columns begin; features are the last `channels` of them
  /// @param columns     0: as many as channels
  /// @param empty       enqueue that there are no points
  PlannedScan(std::int64_t max_points, int columns, int dimensions, int channels, bool empty,
              Execution<Device> const& exec)
  {
    columns = columns > 0 ? columns : channels;
    expects(columns >= dimensions && columns >= channels, "Plan: points of ", columns, " columns for ",
            dimensions, " of the position and ", channels,
            " features, which are the last; say PlanLimits::point_columns()");
    points = {max_points, columns, exec};
    num_points = {1, exec};
    if (!empty) { return; }
    auto const bytes = static_cast<std::size_t>(points.size()) * sizeof(float);
    Transfer<Device>::fill_bytes(points.data(), 0xff, bytes, exec);  // all NaN
    fill_bytes(num_points, 0, exec);
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
  /// Whether the caller's memory for labels is enough for those of a scan of `rows` points.
  template <class Destination>
  [[nodiscard]] RunStatus check_labels(Destination const& to, RowCount const& rows) const noexcept
  {
    if (to.labels.data == nullptr) { return {}; }
    if (labels.empty()) { return {RunError::wrong_destination}; }
    auto const most = std::min(rows.capacity, points.rows());
    if (to.labels.size() < most) { return {RunError::small_destination, to.labels.size(), most}; }
    return {};
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
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
