// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/buffer.hpp>
#include <tessera/core/parallel.hpp>
#include <tessera/core/strided_view.hpp>

#include <climits>
#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Positions and clouds of the points, for kernels.
struct PointRows {
  StridedView<float const> positions;  // [count, Dim]
  std::int32_t const* batch;           // [count], or null
  std::int32_t const* offsets;         // [num_batches + 1], or null; without both all are in `entry`
  std::int64_t count;
  int entry;
  int num_batches;

  [[nodiscard]] TESSERA_HOST_DEVICE bool is_batch() const { return batch != nullptr || offsets != nullptr; }

  /// The cloud of point i; -1 or num_batches for one of no cloud.
  [[nodiscard]] TESSERA_HOST_DEVICE int batch_of(std::int64_t i) const
  {
    if (batch != nullptr) { return batch[i]; }
    return offsets != nullptr ? cloud_of(i) : entry;
  }
  [[nodiscard]] TESSERA_HOST_DEVICE bool has_cloud(int b) const { return b >= 0 && b < num_batches; }

 private:
  /// Number of offsets that are not above i, minus 1.
  [[nodiscard]] TESSERA_HOST_DEVICE int cloud_of(std::int64_t i) const
  {
    int begin = 0;
    int end = num_batches + 1;
    while (begin < end) {
      int const middle = begin + (end - begin) / 2;
      if (offsets[middle] <= i) {
        begin = middle + 1;
      } else {
        end = middle;
      }
    }
    return begin - 1;
  }
};

/// What is wrong with how points are told apart.
struct PointFaults {
  std::int32_t first_stray = INT_MAX;   // lowest index of a point that belongs to no cloud
  std::int32_t first_offset = INT_MAX;  // lowest index of an offset that is not where it must be
};

/// Looks at offset b: they must ascend from 0 to the number of points.
struct CheckOffsets {
  std::int32_t const* offsets;  // [num_batches + 1]
  int num_batches;
  std::int64_t num_points;
  PointFaults* faults;  // [1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t b) const
  {
    bool good = b > 0 || offsets[b] == 0;
    good = good && (b == 0 || offsets[b - 1] <= offsets[b]);
    good = good && (b < num_batches || offsets[b] == num_points);
    if (!good) { atomic_minimum(&faults->first_offset, static_cast<std::int32_t>(b)); }
  }
};

/// Throws what PointFaults found.
/// Stream: waits if there is something.
template <class Space>
void report(PointFaults const& found, PointRows const& points, char const* who, Execution<Space> const& exec)
{
  if (found.first_offset < INT_MAX) {
    auto const offset = download(points.offsets + found.first_offset, 1, exec)[0];
    fail(who, "offset ", found.first_offset, " is ", offset, "; the ", points.num_batches,
         " + 1 offsets must ascend from 0 to the ", points.count, " points");
  }
  if (found.first_stray < INT_MAX && points.batch != nullptr) {
    auto const batch = download(points.batch + found.first_stray, 1, exec)[0];
    fail(who, "point ", found.first_stray, " belongs to cloud ", batch, " of ", points.num_batches);
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
