// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/detail/coordinate_manager.hpp>
#include <tessera/core/error.hpp>

#include <cstdint>
#include <string>

namespace tessera {
inline namespace v0 {

/// Why a run was not enqueued.
enum class RunError : std::uint8_t {
  none,               ///< it was
  wrong_device,       ///< the execution's device is not the plan's
  no_coordinates,     ///< a tensor made by default
  too_many_voxels,    ///< more than the plan was made for
  too_many_points,    ///< more than the plan was made for
  wrong_columns,      ///< of coordinates or points
  wrong_channels,     ///< other features than the network takes
  rows_differ,        ///< coordinates and features of different numbers of rows
  wrong_stride,       ///< a tensor stride above 1
  wrong_range,        ///< a spatial range that is not that of PlanLimits::grid()
  scattered_points,   ///< rows with gaps in pageable host memory, where the device cannot read
  small_destination,  ///< the caller's buffer may be too small for the output
  wrong_destination,  ///< the output has no such part, or other columns
  stale_parameter,    ///< a parameter was written since it was packed or folded: Plan::refresh()
  moved_parameter,  ///< a parameter's values are in other memory, which no refresh() reads: make the plan anew
  cuda_failure,     ///< a call of the CUDA runtime failed; what was enqueued may not be complete
};

/// What became of Plan::try_run(): nothing here allocates or throws, but sentence().
struct RunStatus {
  RunError error = RunError::none;
  std::int64_t given = 0;           ///< the number that does not fit, where there is one
  std::int64_t planned = 0;         ///< and what it was to be, at most or exactly
  int cuda = 0;                     ///< the `cudaError_t`, of cuda_failure
  char const* parameter = nullptr;  ///< the name, of stale_parameter and moved_parameter; as long as the plan

  /// Whether the run was enqueued.
  [[nodiscard]] bool ok() const noexcept { return error == RunError::none; }

  /// The error in words, without the numbers; never null.
  [[nodiscard]] char const* what() const noexcept
  {
    switch (error) {
      case RunError::none: return "enqueued";
      case RunError::wrong_device: return "made on another device than it is run on";
      case RunError::no_coordinates: return "the tensor has no coordinates";
      case RunError::too_many_voxels: return "voxels are more than it was made for";
      case RunError::too_many_points: return "points are more than it was made for";
      case RunError::wrong_columns: return "columns of coordinates or points are not what was planned";
      case RunError::wrong_channels: return "channels are not what was planned";
      case RunError::rows_differ: return "coordinates and features have different numbers of rows";
      case RunError::wrong_stride: return "the tensor's stride must be 1";
      case RunError::wrong_range: return "the tensor has another spatial range than PlanLimits::grid()";
      case RunError::scattered_points:
        return "points in pageable host memory must be rows that follow each other";
      case RunError::small_destination: return "the destination has too little room for the output";
      case RunError::wrong_destination: return "the output has no such part as the destination names";
      case RunError::stale_parameter: return "a parameter was written since it was packed or folded";
      case RunError::moved_parameter: return "a parameter's values were moved to other memory";
      case RunError::cuda_failure: return "a call of the CUDA runtime failed";
    }
    return "";
  }

  /// The error with its numbers, as Plan::run() throws it.
  [[nodiscard]] std::string sentence() const
  {
    if (error == RunError::stale_parameter) {
      return detail::concat("Plan: \"", parameter != nullptr ? parameter : "",
                            "\" was written since it was packed or folded; call refresh()");
    }
    if (error == RunError::moved_parameter) {
      return detail::concat("Plan: the values of \"", parameter != nullptr ? parameter : "",
                            "\" were moved to other memory after it was made; make the plan anew");
    }
    if (error == RunError::too_many_voxels || error == RunError::too_many_points) {
      bool const points = error == RunError::too_many_points;
      return detail::concat("Plan: ", given, points ? " points" : " voxels", " are more than the ", planned,
                            " it was made for");
    }
    return given == planned ? detail::concat("Plan: ", what())
                            : detail::concat("Plan: ", what(), ": ", given, " where it is ", planned);
  }
};

/// What is known about the runs of a plan without waiting: Plan::status().
struct PlanReport {
  bool finished = true;         ///< whether every run has finished that Plan::run() enqueued
  std::uint64_t runs = 0;       ///< finished ones, those that a graph of the caller's launched too
  bool over_capacity = false;   ///< more voxels or points than planned, of the input or of a derived set
  bool duplicates = false;      ///< two voxels with the same coordinate
  bool out_of_bounds = false;   ///< voxels outside the grid or box of the limits
  bool negative_count = false;  ///< a number of rows below 0
  bool too_few_rows = false;    ///< one row alone where batch normalisation in training needs a variance
  bool bad_label = false;       ///< a label that is neither a class nor the one that is ignored
  bool not_finite = false;      ///< a loss or gradient that no smaller loss scale would have made finite
  bool other_rank = false;      ///< data of another rank with one of these faults
  int cuda = 0;                 ///< a `cudaError_t` that the device is in, or 0

  /// Whether no finished run since the last Plan::check() or Plan::acknowledge() met with any of these.
  [[nodiscard]] bool ok() const noexcept
  {
    return !over_capacity && !duplicates && !out_of_bounds && !negative_count && !too_few_rows &&
           !bad_label && !not_finite && !other_rank && cuda == 0;
  }
};

namespace detail {

/// What runs note, in memory that the host sees; only the device writes it.
struct PlanRecord {
  static constexpr int kinds = 9;  // bits of DataError

  std::uint64_t runs;           // finished
  std::uint32_t faulty[kinds];  // of those, with each kind of error
  std::uint32_t row;            // code_of_row() of the last run with a bad label
};

/// Bits of DataError of the kinds that differ.
[[nodiscard]] inline std::uint32_t new_faults(PlanRecord const& now, PlanRecord const& known) noexcept
{
  std::uint32_t bits = 0;
  for (int kind = 0; kind < PlanRecord::kinds; ++kind) {
    if (now.faulty[kind] != known.faulty[kind]) { bits |= 1U << kind; }
  }
  return bits;
}

/// What bits of DataError say.
[[nodiscard]] inline PlanReport report_of(std::uint32_t bits, std::uint64_t runs) noexcept
{
  PlanReport report;
  report.runs = runs;
  report.over_capacity = (bits & DataError::capacity) != 0;
  report.duplicates = (bits & DataError::duplicate) != 0;
  report.out_of_bounds = (bits & DataError::out_of_range) != 0;
  report.negative_count = (bits & DataError::negative_count) != 0;
  report.too_few_rows = (bits & DataError::too_few_rows) != 0;
  report.bad_label = (bits & DataError::bad_label) != 0;
  report.not_finite = (bits & DataError::not_finite) != 0;
  report.other_rank = (bits & DataError::other_rank) != 0;
  return report;
}

/// A record as the device has written it so far.
[[nodiscard]] inline PlanRecord load(PlanRecord const& record) noexcept
{
  PlanRecord result{};
  result.runs = __atomic_load_n(&record.runs, __ATOMIC_ACQUIRE);  // first: its faults were written before
  for (int kind = 0; kind < PlanRecord::kinds; ++kind) {
    result.faulty[kind] = __atomic_load_n(&record.faulty[kind], __ATOMIC_RELAXED);
  }
  result.row = __atomic_load_n(&record.row, __ATOMIC_RELAXED);
  return result;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
