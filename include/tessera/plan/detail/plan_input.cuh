// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/execution.cuh>
#include <tessera/core/row_count.hpp>
#include <tessera/plan/detail/planned_rows.hpp>
#include <tessera/plan/detail/steps.cuh>
#include <tessera/plan/limits.hpp>
#include <tessera/plan/status.hpp>

#include <algorithm>
#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The input of a plan that takes voxels, in the memory of `exec`.
template <int Dim, class Scalar>
struct VoxelInput : PlannedRows<Dim, Scalar, Device> {
  using Value = SparseTensor<Dim, Scalar, Device>;
  using Rows = PlannedRows<Dim, Scalar, Device>;
  using Rows::tensor;
  using typename Rows::Scan;

  /// @param empty  enqueue that there are no rows
  VoxelInput(PlanLimits const& limits, int input_channels, bool empty, Execution<Device> const& exec)
      : Rows{limits, input_channels, exec}
  {
    if (empty) { this->clear(exec); }
    this->make(limits.box<Dim>(), limits.set_options<Dim>(), exec);
  }

  /// Where the errors [2] of a run are noted.
  [[nodiscard]] std::uint32_t* errors() const { return access(*tensor.coordinates()).errors(); }
  /// Enqueues the copy of a scan.
  [[nodiscard]] cudaError_t ingest(Scan const& scan, cudaStream_t stream) const noexcept
  {
    auto const body = this->ingest_rows(scan);
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
