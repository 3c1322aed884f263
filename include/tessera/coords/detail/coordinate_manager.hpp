// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate.hpp>
#include <tessera/coords/coordinate_set_options.hpp>
#include <tessera/coords/detail/bounds_and_count.hpp>
#include <tessera/core/buffer.hpp>
#include <tessera/core/detail/map_stream_work.hpp>

#include <algorithm>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <utility>

namespace tessera {
inline namespace v0 {

template <int Dim, class Space>
class CoordinateSet;

namespace detail {

template <class Set>
class CoordinateSetAccess;

/// Owns every set that was derived from one input; not public, since sets refer to it by themselves.
template <int Dim, class Space>
struct CoordinateManager : std::enable_shared_from_this<CoordinateManager<Dim, Space>> {
  explicit CoordinateManager(Execution<Space> const& execution) : exec{execution.without_recorder()} {}
  CoordinateManager(CoordinateManager const&) = delete;
  CoordinateManager& operator=(CoordinateManager const&) = delete;
  ~CoordinateManager()
  {
    try {
      wait_for_main_on_map_streams(exec);  // layers may still read what map streams get back here
    } catch (std::exception const&) {
      // a capture that failed: nothing of it will run
    }
  }

  Execution<Space> exec;       // whose stream the coordinate manager belongs to
  std::recursive_mutex mutex;  // maps may be asked for from several threads
  std::deque<CoordinateSet<Dim, Space>> sets;
  Buffer<std::uint32_t, Space> errors;  // [2] bits of DataError and code of a row, set by kernels
};

/// Throws what the bits of DataError mean; a set that was cut short may show other faults, so that comes
/// first.
inline void report(std::uint32_t errors, std::uint32_t row_code = 0)
{
  expects((errors & DataError::stray_point) == 0,
          "coordinates: made of points that belong to none of the clouds, or of offsets that do not ascend "
          "from 0 "
          "to the number of points");
  expects((errors & DataError::capacity) == 0, "coordinates: more rows than the capacity given");
  expects((errors & DataError::negative_count) == 0, "coordinates: a negative number of rows");
  expects((errors & DataError::out_of_range) == 0,
          "coordinates: a row lies outside the declared spatial range or has a negative batch entry");
  expects((errors & DataError::duplicate) == 0,
          "coordinates: two rows hold the same coordinate; rows must be unique (see sparse_quantize)");
  expects((errors & DataError::bad_label) == 0, "loss: the label of row ", code_of_row(row_code),
          " is neither a class nor the label that is ignored");
  expects((errors & DataError::too_few_rows) == 0,
          "batch_norm_training: training needs more than 1 row to have a variance");
  expects(
      (errors & DataError::other_rank) == 0,
      "training: another rank was given data that its plan was not made for, so that no rank took the step");
  expects(
      (errors & DataError::not_finite) == 0,
      "training: a loss or gradient is not finite, and no smaller loss scale can help, so that the step was "
      "not taken; the parameters are those of the last step");
}

/// Throws where sums of a coordinate and a kernel offset could overflow.
template <int Dim>
void check_box(CoordinateBox<Dim> const& box)
{
  for (int i = 0; i < Dim && !box.empty(); ++i) {
    expects(box.lower[i] >= -(1 << 30) && box.upper[i] <= 1 << 30, "coordinates: ", box.lower[i], " to ",
            box.upper[i], " on axis ", i, " exceed 2^30, beyond which offsets would overflow");
  }
}

/// Throws unless rows begin where CoordinateView::load() can read them.
template <int Dim>
void check_alignment(Coordinate<Dim> const* rows, std::int64_t num_rows)
{
  constexpr std::size_t bytes = sizeof(Coordinate<Dim>) == 16 ? 16 : alignof(Coordinate<Dim>);
  expects(num_rows == 0 || reinterpret_cast<std::uintptr_t>(rows) % bytes == 0, "coordinates: the address ",
          static_cast<void const*>(rows), " is not aligned to the ", bytes,
          " bytes of a row, which kernels read at once; copy the rows");
}

template <int Dim>
void check_options(CoordinateSetOptions<Dim> const& options, std::int64_t num_rows)
{
  expects(num_rows <= INT_MAX, "coordinates: ", num_rows, " rows are more than the ", INT_MAX,
          " that row indices hold");
  expects(min_element(options.tensor_stride) >= 1, "coordinates: tensor stride ", options.tensor_stride,
          " must be at least 1 on every axis");
  if (options.spatial_range) {
    expects(options.spatial_range->batches >= 1 && min_element(options.spatial_range->extent) >= 1,
            "coordinates: spatial range ", options.spatial_range->batches, " x ",
            options.spatial_range->extent, " must be at least 1 on every axis");
  }
  if (options.only_entry) {
    int const entry = *options.only_entry;
    expects(entry >= 0 && entry < INT_MAX, "coordinates: the only batch entry ", entry);
    expects(!options.spatial_range || entry < options.spatial_range->batches,
            "coordinates: the only batch entry ", entry, " of only ",
            options.spatial_range ? options.spatial_range->batches : 0);
  }
  if (!options.fixed_capacity) { return; }
  auto most = options.fixed_capacity->max_rows;
  for (auto const& [stride, rows] : options.fixed_capacity->max_rows_at) { most = std::min(most, rows); }
  expects(most >= 1, "coordinates: room for ", most, " rows is too little for a derived set");
}

/// Notes where a count is not of [0, room]; readers of a RowCount stop at the capacity by themselves, and at
/// once where it is negative.
struct CheckCapacity {
  RowCount rows;
  std::uint32_t* errors;  // [1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t) const
  {
    if (*rows.count > rows.capacity) { atomic_or(errors, std::uint32_t{DataError::capacity}); }
    if (*rows.count < 0) { atomic_or(errors, std::uint32_t{DataError::negative_count}); }
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
