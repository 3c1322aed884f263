// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/detail/bounds_and_count.hpp>
#include <tessera/coords/detail/point_rows.hpp>
#include <tessera/coords/key_packing.hpp>
#include <tessera/core/detail/sort.hpp>
#include <tessera/core/matrix.hpp>
#include <tessera/core/strided_view.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// keys[i] = the cloud of point i, `num_batches` for a point of none, which is noted; numbers[i] = i.
struct KeysOfClouds {
  PointRows points;
  std::uint32_t* keys;    // [count]
  std::int32_t* numbers;  // [count]
  PointFaults* faults;    // [1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    int const b = points.batch_of(i);
    bool const has_cloud = points.has_cloud(b);
    if (!has_cloud) { atomic_minimum(&faults->first_stray, static_cast<std::int32_t>(i)); }
    keys[i] = static_cast<std::uint32_t>(has_cloud ? b : points.num_batches);
    numbers[i] = static_cast<std::int32_t>(i);
  }
};

/// offsets[b] = points of the clouds before b, by their ascending keys.
struct OffsetsOfKeys {
  std::uint32_t const* keys;  // [count]
  std::int64_t count;
  std::int32_t* offsets;  // [num_batches + 1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t b) const
  {
    std::int64_t begin = 0;
    std::int64_t end = count;
    while (begin < end) {
      auto const middle = begin + (end - begin) / 2;
      if (keys[middle] < b) {
        begin = middle + 1;
      } else {
        end = middle;
      }
    }
    offsets[b] = static_cast<std::int32_t>(begin);
  }
};

/// rows[i] = all columns of point order[i].
struct GatherPoints {
  JoinedColumns<float> columns;
  std::int32_t const* order;  // [count]
  float* rows;                // [count, columns]

  TESSERA_HOST_DEVICE void operator()(std::int64_t e) const
  {
    auto const width = columns.columns();
    rows[e] = columns.column(e % width)[order[e / width]];
  }
};

/// Points cloud after cloud, those of each in their order, and where the clouds begin.
template <class Space>
struct PointsByCloud {
  Matrix<float, Space> rows;            // [count, columns]
  Buffer<std::int32_t, Space> offsets;  // [num_batches + 1]
};

/// Points that are told apart by the cloud of each, in the order of their clouds.
/// Stream: enqueues a sort and kernels, does not wait. Points of no cloud come last and are noted in
/// `faults`.
template <class Space>
[[nodiscard]] PointsByCloud<Space> group_by_cloud(PointRows const& points,
                                                  JoinedColumns<float> const& columns, PointFaults* faults,
                                                  Execution<Space> const& exec)
{
  auto const n = points.count;
  Buffer<std::uint32_t, Space> unsorted{n, exec};
  Buffer<std::int32_t, Space> numbers{n, exec};
  Buffer<std::uint32_t, Space> keys{n, exec};
  Buffer<std::int32_t, Space> order{n, exec};
  for_each(n, KeysOfClouds{points, unsorted.data(), numbers.data(), faults}, exec);
  Sort<Space>::pairs(unsorted.data(), numbers.data(), keys.data(), order.data(), n,
                     bits_for(std::int64_t{points.num_batches} + 1), exec);
  PointsByCloud<Space> result;
  result.offsets = Buffer<std::int32_t, Space>{std::int64_t{points.num_batches} + 1, exec};
  for_each(result.offsets.size(), OffsetsOfKeys{keys.data(), n, result.offsets.data()}, exec);
  result.rows = Matrix<float, Space>{n, columns.columns(), exec};
  for_each(result.rows.size(), GatherPoints{columns, order.data(), result.rows.data()}, exec);
  return result;
}

/// Notes faults of points in the coordinate manager of the set that was made of them.
struct NotePointFaults {
  PointFaults const* faults;  // [1]
  std::uint32_t* errors;      // [1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t) const
  {
    if (faults->first_stray < INT_MAX || faults->first_offset < INT_MAX) {
      atomic_or(errors, std::uint32_t{DataError::stray_point});
    }
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
