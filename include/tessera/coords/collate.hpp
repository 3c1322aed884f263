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

/// to[i] = from[i], `shift` batch entries later; reports rows outside the box they were said to lie in, which
/// would end up in a neighbour's entries.
template <int Dim>
struct ShiftBatches {
  CoordinateView<Dim> from;
  CoordinateBox<Dim> box;
  int shift;
  Coordinate<Dim>* to;
  std::uint32_t* errors;  // [1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto row = from[i];
    if (!box.contains(row)) {
      atomic_or(errors, std::uint32_t{DataError::out_of_range});
      row = {};
    }
    row.batch += shift;
    to[i] = row;
  }
};

/// `all` and the box `part` beside each other as batches, over each other in space.
template <int Dim>
void append_box(CoordinateBox<Dim>& all, CoordinateBox<Dim> const& part, int part_batches)
{
  bool const first = all.empty();
  all.batches += part_batches;
  if (part.empty()) { return; }
  for (int i = 0; i < Dim; ++i) {
    all.lower[i] = first ? part.lower[i] : std::min(all.lower[i], part.lower[i]);
    all.upper[i] = first ? part.upper[i] : std::max(all.upper[i], part.upper[i]);
  }
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
      auto const& set = *sets[i];
      int const entries = std::max(1, set.num_batches());
      expects(box.batches <= INT_MAX - entries, who, "too many batch entries");
      first_batch.push_back(box.batches);
      num_rows += set.num_rows();
      append_box(box, set.box(), entries);
      if (i == 0) {
        options.tensor_stride = set.tensor_stride();
        options.spatial_range = set.spatial_range();
        continue;
      }
      expects(set.tensor_stride() == options.tensor_stride, who,
              "tensor strides differ: ", list(options.tensor_stride), " of the first, ",
              list(set.tensor_stride()), " of number ", i);
      expects(set.spatial_range().has_value() == options.spatial_range.has_value(), who,
              "of the first and number ", i, " only one has a spatial range");
      for (int axis = 0; axis < Dim && options.spatial_range; ++axis) {
        auto& extent = options.spatial_range->extent[axis];
        extent = std::max(extent, set.spatial_range()->extent[axis]);
      }
    }
    if (options.spatial_range) { options.spatial_range->batches = box.batches; }
  }

  CoordinateSetOptions<Dim> options;
  CoordinateBox<Dim> box;
  std::vector<int> first_batch;  // of each set
  std::int64_t num_rows = 0;
};

}  // namespace detail

/// The rows of all sets, one set after the other, as a new set: the batch entries of a set follow those of
/// the sets before it.
///
/// A set of n entries takes n of the result's, and one without voxels or entries takes one, so that sets of
/// single clouds become entries 0, 1, 2, ... in their order. Spatial ranges: the extent is the largest on
/// each axis.
/// @throws invalid_argument  no sets, other tensor strides, ranges here and none there, 2^31 rows or more
///
/// Cost: one copy. Stream: enqueues one kernel a set, does not wait; a row outside its own set's range is
/// reported where the host next waits.
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
    for_each(set.num_rows(),
             detail::ShiftBatches<Dim>{set.view(), set.box(), plan.first_batch[i], to, result->errors()},
             exec);
    to += set.num_rows();
  }
  detail::follow_on_sides(exec);  // the rows are there only now
  if constexpr (std::is_same_v<Space, Host>) { result->check(exec); }
  return result;
}

}  // namespace v0
}  // namespace tessera
