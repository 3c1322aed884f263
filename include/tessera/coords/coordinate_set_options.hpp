// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate.hpp>
#include <tessera/core/int_array.hpp>

#include <algorithm>
#include <climits>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {

/// Room for the sets derived from one input, so that nothing waits for their numbers of rows.
///
/// A derived set gets room for as many rows as it can have at all, but for no more than `max_rows`, or than
/// is said for its tensor stride, the largest number where several are. Its number of rows stays in its
/// space; more than fit are an error of the coordinate manager (CoordinateSet::check()).
struct FixedCapacity {
  std::int64_t max_rows = INT_MAX;
  std::vector<std::pair<int, std::int64_t>> max_rows_at = {};  ///< (largest tensor stride of any axis, rows)
  /// Whether kernel maps give their memory back as soon as a tile map holds the same; they are rebuilt when
  /// asked for. A plan's maps do so, since every run makes them again.
  bool releases_maps = false;

  [[nodiscard]] std::int64_t at(int tensor_stride) const
  {
    std::int64_t most = -1;  // several sets may have one stride
    for (auto const& [stride, rows] : max_rows_at) {
      if (stride == tensor_stride) { most = std::max(most, rows); }
    }
    return most >= 0 ? most : max_rows;
  }
};

/// Options of a coordinate set that do not follow from its rows.
template <int Dim>
struct CoordinateSetOptions {
  CoordinateSetOptions() = default;
  CoordinateSetOptions(IntArray<Dim> const& stride, std::optional<SpatialRange<Dim>> const& range)
      : tensor_stride{stride}, spatial_range{range}
  {}

  IntArray<Dim> tensor_stride = IntArray<Dim>(1);  ///< voxels of the finest grid in one step of this set
  std::optional<SpatialRange<Dim>> spatial_range;  ///< the grid; without it the grid is unbounded
  std::optional<FixedCapacity> fixed_capacity;  ///< of derived sets; without it they are counted, and exact
  /// The batch entry that all rows are in, of a set that is one scan and not a batch; collate_coordinates()
  /// takes it for one entry.
  std::optional<int> only_entry;
};

}  // namespace v0
}  // namespace tessera
