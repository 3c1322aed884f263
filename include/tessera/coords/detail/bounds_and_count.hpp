// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate.hpp>
#include <tessera/core/buffer.hpp>
#include <tessera/core/detail/lanes.hpp>
#include <tessera/core/parallel.hpp>

#include <algorithm>
#include <climits>

namespace tessera {
inline namespace v0 {
namespace detail {

/// What only the space can see about a set's rows: while it is made, and while a network is trained on it.
enum DataError : std::uint32_t {
  out_of_range = 1,    ///< a coordinate is outside the declared spatial range
  duplicate = 2,       ///< two rows hold the same coordinate
  capacity = 4,        ///< more rows than there is room for
  negative_count = 8,  ///< fewer rows than none
  stray_point = 16,    ///< a point of no cloud, or offsets of clouds that do not ascend
  too_few_rows = 32,   ///< one row alone where a variance is needed
  bad_label = 64,      ///< a label that is no class; errors[1] has the first row, see code_of_row()
  not_finite = 128,    ///< a gradient that no smaller loss scale would have made finite
  other_rank = 256,    ///< one of these errors on another rank
};

/// A row as it is kept beside the bits: the first has the largest code, and 0 means none.
[[nodiscard]] TESSERA_HOST_DEVICE inline std::uint32_t code_of_row(std::int64_t row)
{
  return 0xffffffffU - static_cast<std::uint32_t>(row);
}

/// Counts and bounds gathered by kernels with integer atomics.
template <int Dim>
struct BoundsAndCount {
  std::int32_t count = 0;
  std::uint32_t errors = 0;
  int lowest_batch = INT_MAX;
  int highest_batch = INT_MIN;
  IntArray<Dim> lower = IntArray<Dim>(INT_MAX);
  IntArray<Dim> upper = IntArray<Dim>(INT_MIN);

  TESSERA_HOST_DEVICE void include(Coordinate<Dim> const& c)
  {
    lowest_batch = c.batch < lowest_batch ? c.batch : lowest_batch;
    highest_batch = c.batch > highest_batch ? c.batch : highest_batch;
    for (int i = 0; i < Dim; ++i) {
      lower[i] = c.position[i] < lower[i] ? c.position[i] : lower[i];
      upper[i] = c.position[i] > upper[i] ? c.position[i] : upper[i];
    }
  }

  /// Merges the bounds of `part` into `*this`, which other threads also merge into.
  TESSERA_HOST_DEVICE void merge_atomically(BoundsAndCount part)
  {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    auto const together = active_mask();  // one address takes one minimum at a time: one per warp
    part.lowest_batch = __reduce_min_sync(together, part.lowest_batch);
    part.highest_batch = __reduce_max_sync(together, part.highest_batch);
    for (int i = 0; i < Dim; ++i) {
      part.lower[i] = __reduce_min_sync(together, part.lower[i]);
      part.upper[i] = __reduce_max_sync(together, part.upper[i]);
    }
    if (lane_id() != first_lane(together)) { return; }
#endif
    atomic_minimum(&lowest_batch, part.lowest_batch);
    atomic_maximum(&highest_batch, part.highest_batch);
    for (int i = 0; i < Dim; ++i) {
      atomic_minimum(&lower[i], part.lower[i]);
      atomic_maximum(&upper[i], part.upper[i]);
    }
  }

  [[nodiscard]] CoordinateBox<Dim> box() const
  {
    CoordinateBox<Dim> result;
    if (highest_batch == INT_MIN) { return result; }
    result.batches = highest_batch < INT_MAX ? highest_batch + 1 : INT_MAX;
    result.lower = lower;
    result.upper = upper;
    return result;
  }
};

/// Threads that take bounds: a scan's rows are a few for each, one after the other; of a warp one merges.
inline constexpr std::int64_t bounds_workers = 1 << 15;

/// Worker w of `workers` takes the bounds of rows w, w + workers, ... into `statistics`.
template <int Dim>
struct GatherBounds {
  CoordinateView<Dim> coordinates;
  std::int64_t workers;
  BoundsAndCount<Dim>* statistics;

  TESSERA_HOST_DEVICE void operator()(std::int64_t worker) const
  {
    BoundsAndCount<Dim> part;
    auto const size = coordinates.size();
    for (auto row = worker; row < size; row += workers) { part.include(coordinates[row]); }
    if (worker < size) { statistics->merge_atomically(part); }
  }
};

/// Bounds of the rows in use, [1].
/// Stream: enqueues two kernels, does not wait.
template <int Dim, class Space>
[[nodiscard]] Buffer<BoundsAndCount<Dim>, Space> enqueue_bounds(CoordinateView<Dim> const& coordinates,
                                                                Execution<Space> const& exec)
{
  Buffer<BoundsAndCount<Dim>, Space> statistics{1, exec};
  for_each(1, StoreValue<BoundsAndCount<Dim>>{statistics.data(), {}}, exec);
  auto const workers = std::min(coordinates.num_rows.capacity, bounds_workers);
  for_each(workers, GatherBounds<Dim>{coordinates, workers, statistics.data()}, exec);
  return statistics;
}

/// Bounds of the rows.
/// Stream: enqueues two kernels and waits for its result.
template <int Dim, class Space>
[[nodiscard]] BoundsAndCount<Dim> gather_bounds(CoordinateView<Dim> const& coordinates,
                                                Execution<Space> const& exec)
{
  if (coordinates.num_rows.capacity == 0) { return {}; }
  return download(enqueue_bounds(coordinates, exec), exec)[0];
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
