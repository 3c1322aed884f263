// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/detail/sort_points.hpp>
#include <tessera/core/buffer.hpp>
#include <tessera/core/parallel.hpp>
#include <tessera/core/row_count.hpp>
#include <tessera/plan/detail/planned_rows.hpp>
#include <tessera/plan/limits.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Puts labels where a plan reads them, -1 where there are none, and what is known to be wrong with the scan.
struct IngestLabels {
  std::int32_t const* from;          // [rows.capacity], or null
  std::uint32_t const* from_errors;  // [1], or null
  RowCount rows;
  std::int32_t* labels;   // [capacity]
  std::uint32_t* errors;  // [1]
  std::int64_t capacity;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    if (n == 0) { *errors = from_errors != nullptr ? *from_errors : 0; }
    labels[n] = from != nullptr && n < rows.size() ? from[n] : -1;
  }
};

/// What a run copies before its step.
template <class Scalar>
struct IngestBatch {
  IngestRows<Scalar> rows;
  IngestLabels labels;
};

/// Room for a scan and the labels of its voxels, and their tensor.
template <int Dim, class Scalar, class Space>
class TrainInput {
 public:
  using Rows = PlannedRows<Dim, Scalar, Space>;

  /// A scan with labels, in `Space`.
  struct Scan {
    typename Rows::Scan rows;
    std::int32_t const* labels;   // [rows.capacity], or null: -1
    std::uint32_t const* errors;  // [1] bits of DataError, or null
  };

  /// Stream: enqueues nothing.
  TrainInput(PlanLimits const& limits, int channels, Execution<Space> const& exec)
      : rows_{limits, channels, exec}, labels_{limits.voxels(), exec}, errors_{1, exec}
  {}

  /// Says that there are no voxels.
  /// Stream: enqueues three fills.
  void clear(Execution<Space> const& exec)
  {
    rows_.clear(exec);
    fill_bytes(labels_, 0xff, exec);
    fill_bytes(errors_, 0, exec);
  }
  [[nodiscard]] IngestBatch<Scalar> ingest(Scan const& scan)
  {
    return {rows_.ingest_rows(scan.rows),
            {scan.labels, scan.errors, scan.rows.rows, labels_.data(), errors_.data(), labels_.size()}};
  }
  /// Makes the tensor of what is there by then.
  /// Stream: enqueues, does not wait.
  void make(CoordinateBox<Dim> const& box, CoordinateSetOptions<Dim> const& options,
            Execution<Space> const& exec)
  {
    rows_.make(box, options, exec);
    for_each(1, PassOnErrors{errors_.data(), errors()}, exec);
  }

  [[nodiscard]] SparseTensor<Dim, Scalar, Space> const& tensor() const noexcept { return rows_.tensor; }
  [[nodiscard]] Buffer<std::int32_t, Space> const& labels() const noexcept { return labels_; }
  [[nodiscard]] bool has_tensor() const noexcept { return rows_.tensor.coordinates() != nullptr; }
  /// [2] where kernels note what is wrong with the data, once there is a tensor.
  [[nodiscard]] std::uint32_t* errors() const noexcept
  {
    return access(*rows_.tensor.coordinates()).errors();
  }

 private:
  Rows rows_;
  Buffer<std::int32_t, Space> labels_;
  Buffer<std::uint32_t, Space> errors_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
