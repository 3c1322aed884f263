// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate_set.hpp>

#include <algorithm>
#include <type_traits>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Batch entries [first, end) of a set, which become those from `to` on.
struct EntryMove {
  int first = 0;
  int end = 1;
  int to = 0;
};

/// to[i] = from[i] in another batch entry; reports rows outside the box or the entries they were said to be
/// in, which would end up in a neighbour's entries.
template <int Dim>
struct MoveEntries {
  CoordinateView<Dim> from;
  CoordinateBox<Dim> box;
  EntryMove move;
  Coordinate<Dim>* to;
  std::uint32_t* errors;  // [1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto row = from[i];
    if (!box.contains(row) || row.batch < move.first || row.batch >= move.end) {
      atomic_or(errors, std::uint32_t{DataError::out_of_range});
      row = {};
      row.batch = move.first;
    }
    row.batch += move.to - move.first;
    to[i] = row;
  }
};

/// `all` grows to hold the positions of `part`, which is the first that has any.
template <int Dim>
void extend_box(CoordinateBox<Dim>& all, CoordinateBox<Dim> const& part, bool first)
{
  for (int i = 0; i < Dim; ++i) {
    all.lower[i] = first ? part.lower[i] : std::min(all.lower[i], part.lower[i]);
    all.upper[i] = first ? part.upper[i] : std::max(all.upper[i], part.upper[i]);
  }
}

/// Where the batch entries of each set go: they stay where no two sets claim one entry, else each set's
/// follow those of the sets before. @returns the number of entries of the result
template <int Dim, class Space>
[[nodiscard]] int move_entries(std::vector<CoordinateSetPointer<Dim, Space>> const& sets,
                               std::vector<EntryMove>& moves)
{
  for (auto const& set : sets) {
    int const entries = std::max(1, set->num_batches());
    moves.push_back(set->only_entry() ? EntryMove{*set->only_entry(), *set->only_entry() + 1, 0}
                                      : EntryMove{0, entries, 0});
  }
  auto claimed = moves;
  std::sort(claimed.begin(), claimed.end(),
            [](EntryMove const& a, EntryMove const& b) { return a.first < b.first; });
  bool apart = true;
  for (std::size_t i = 1; i < claimed.size(); ++i) {
    apart = apart && claimed[i - 1].end <= claimed[i].first;
  }
  int next = 0;
  for (auto& move : moves) {
    move.to = apart ? move.first : next;
    expects(next <= INT_MAX - (move.end - move.first), "collate: too many batch entries");
    next += move.end - move.first;
  }
  if (!apart) { return next; }
  int entries = claimed.back().end;
  for (auto const& set : sets) { entries = std::max(entries, set->num_batches()); }  // as declared
  return entries;
}

/// Stride, range and box of several sets one after the other.
template <int Dim, class Space>
struct CollatePlan {
  explicit CollatePlan(std::vector<CoordinateSetPointer<Dim, Space>> const& sets)
  {
    char const* const who = "collate: ";
    expects(!sets.empty(), who, "nothing to put together");
    for (std::size_t i = 0; i < sets.size(); ++i) {
      expects(sets[i] != nullptr, who, "number ", i, " has no coordinates");
    }
    box.batches = move_entries(sets, moves);
    bool found = false;
    for (std::size_t i = 0; i < sets.size(); ++i) {
      auto const& set = *sets[i];
      num_rows += set.num_rows();
      if (!set.box().empty()) {
        extend_box(box, set.box(), !found);
        found = true;
      }
      if (i == 0) {
        options.tensor_stride = set.tensor_stride();
        options.spatial_range = set.spatial_range();
        continue;
      }
      expects(set.tensor_stride() == options.tensor_stride, who,
              "tensor strides differ: ", options.tensor_stride, " of the first, ", set.tensor_stride(),
              " of number ", i);
      expects(set.spatial_range().has_value() == options.spatial_range.has_value(), who,
              "of the first and number ", i, " only one has a spatial range");
      for (int axis = 0; axis < Dim && options.spatial_range; ++axis) {
        auto& extent = options.spatial_range->extent[axis];
        extent = std::max(extent, set.spatial_range()->extent[axis]);
      }
    }
    if (options.spatial_range) { options.spatial_range->batches = box.batches; }
    if (sets.size() == 1) { options.only_entry = sets.front()->only_entry(); }
  }

  CoordinateSetOptions<Dim> options;
  CoordinateBox<Dim> box;
  std::vector<EntryMove> moves;  // of each set
  std::int64_t num_rows = 0;
};

}  // namespace detail

/// The rows of all sets, one set after the other, as a new set of all their batch entries.
///
/// A set that is one scan (CoordinateSet::only_entry(): quantized or voxelized with a `batch_entry`) claims
/// that entry alone. Any other set claims the n entries from 0 on that it has, at least one. If no two sets
/// claim an entry, all keep theirs: scans voxelized as entries 0, 1, 2 are these entries, in whatever order
/// they come, and an entry that no set claims is empty. Otherwise the entries of a set follow those of the
/// sets before it, so that scans of the same entry, and batches, become 0, 1, 2, ... in their order. Spatial
/// ranges: the extent is the largest on each axis.
/// @throws invalid_argument  no sets, other tensor strides, ranges here and none there, 2^31 rows or more
///
/// Cost: one copy.
/// Stream: enqueues one kernel per set, does not wait; a row outside its own set's range is reported where the
/// host next waits.
/// Determinism: same input, same set.
template <int Dim, class Space>
[[nodiscard]] CoordinateSetPointer<Dim, Space> collate_coordinates(
    std::vector<CoordinateSetPointer<Dim, Space>> const& sets, Execution<Space> const& exec)
{
  detail::CollatePlan<Dim, Space> const plan{sets};
  Buffer<Coordinate<Dim>, Space> rows{plan.num_rows, exec};
  auto* to = rows.data();
  auto result = CoordinateSet<Dim, Space>::make({std::move(rows)}, plan.box, plan.options, exec);
  for (std::size_t i = 0; i < sets.size(); ++i) {
    auto const& set = *sets[i];
    for_each(
        set.num_rows(),
        detail::MoveEntries<Dim>{set.view(), set.box(), plan.moves[i], to, detail::access(*result).errors()},
        exec);
    to += set.num_rows();
  }
  detail::wait_for_main_on_map_streams(exec);  // the rows are there only now
  if constexpr (std::is_same_v<Space, Host>) { result->check(exec); }
  return result;
}

}  // namespace v0
}  // namespace tessera
