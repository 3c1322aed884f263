// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate_set.hpp>
#include <tessera/coords/detail/join_sets.hpp>

#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace tessera {
inline namespace v0 {

/// Where the rows of a combined set come from.
template <class Space>
struct CombinedRows {
  Buffer<std::int32_t, Space> of_first;   ///< [capacity] row of the first set, -1 where it has no such voxel
  Buffer<std::int32_t, Space> of_second;  ///< [capacity] row of the second set, or -1
};

/// A set made from two others and where its rows come from. Rows that are not in use are -1 in both maps.
template <int Dim, class Space>
struct CombinedSets {
  CoordinateSetPointer<Dim, Space> coordinates;
  std::shared_ptr<CombinedRows<Space> const> rows;
};

namespace detail {

/// What a set of both sets' manager keeps of a combination; a plain pointer, since the manager owns the set.
template <int Dim, class Space>
struct KeptCombination {
  CoordinateSet<Dim, Space>* coordinates;
  std::shared_ptr<CombinedRows<Space> const> rows;
};

template <int Dim, class Space>
[[nodiscard]] CombinedSets<Dim, Space> combine(CoordinateSet<Dim, Space>& a, CoordinateSet<Dim, Space>& b,
                                               JoinKind kind, Execution<Space> const& exec)
{
  using Rows = typename CoordinateSet<Dim, Space>::Rows;
  auto const options = combined_options(a, b);
  bool const is_fixed = options.fixed_capacity.has_value();
  auto const box = kind == JoinKind::either ? united_box(a.box(), b.box()) : shared_box(a.box(), b.box());
  auto const num_items = a.capacity() + b.capacity();
  auto room = kind == JoinKind::either ? num_items : std::min(a.capacity(), b.capacity());
  if (is_fixed) { room = std::min(room, options.fixed_capacity->at(max_element(options.tensor_stride))); }

  Buffer<JoinStatistics, Space> statistics{1, exec};
  Rows rows;
  auto maps = std::make_shared<CombinedRows<Space>>();
  with_joined_rows(a, b, kind, statistics.data(), exec, [&](auto const& joined) {
    if (is_fixed) {
      rows = {{room, exec}, {1, exec}};
    } else {
      auto const found = download(statistics, exec)[0];
      report(found.errors);
      rows = {{found.count, exec}};
    }
    auto const capacity = rows.rows.size();
    maps->of_first = Buffer<std::int32_t, Space>{capacity, exec};
    maps->of_second = Buffer<std::int32_t, Space>{capacity, exec};
    using Joined = std::decay_t<decltype(joined)>;
    for_each(std::max(num_items, std::int64_t{1}),
             WriteCombined<Dim, Joined>{joined, rows.rows.data(), maps->of_first.data(),
                                        maps->of_second.data(), capacity, rows.count.data()},
             exec);
  });
  bool const one_manager = access(a).errors() == access(b).errors();
  auto result = one_manager ? a.derive(std::move(rows), box, options, exec)
                            : CoordinateSet<Dim, Space>::make(std::move(rows), box, options, exec);
  for_each(1,
           NoteJoinErrors{statistics.data(), room, access(a).errors(), access(b).errors(),
                          access(*result).errors()},
           exec);
  wait_for_main_on_map_streams(exec);
  if constexpr (std::is_same_v<Space, Host>) { result->check(exec); }
  return {std::move(result), std::move(maps)};
}

/// The union or the intersection of a set with another one of its coordinate manager.
template <int Dim, class Space>
struct CombinationKey {
  using Value = KeptCombination<Dim, Space>;
  JoinKind kind;
  CoordinateSet<Dim, Space> const* other;
  friend bool operator==(CombinationKey const& a, CombinationKey const& b)
  {
    return a.kind == b.kind && a.other == b.other;
  }
};

/// combine(), found again where both sets belong to one coordinate manager.
template <int Dim, class Space>
[[nodiscard]] CombinedSets<Dim, Space> combine_once(CoordinateSetPointer<Dim, Space> const& a,
                                                    CoordinateSetPointer<Dim, Space> const& b, JoinKind kind,
                                                    Execution<Space> const& exec)
{
  check_combination(a.get(), b.get(),
                    kind == JoinKind::either ? "unite_coordinates" : "intersect_coordinates");
  if (access(*a).errors() != access(*b).errors()) {
    access(*b).take_map_streams(exec);
    access(*a).take_map_streams(exec);
    return combine(*a, *b, kind, exec);
  }
  std::lock_guard lock{access(*a).mutex()};
  access(*a).take_map_streams(exec);
  using Kept = KeptCombination<Dim, Space>;
  auto const kept = access(*a).cache().get_or_make(CombinationKey<Dim, Space>{kind, b.get()}, [&] {
    auto made = combine(*a, *b, kind, exec);
    return std::make_shared<Kept>(Kept{made.coordinates.get(), std::move(made.rows)});
  });
  return {kept->coordinates->shared(), kept->rows};
}

}  // namespace detail

/// The voxels of either set, each once, in lexicographic order (batch, x, y, ...), and which rows of the two
/// sets they are.
///
/// | name             | shape      | memory | holds                                                   |
/// |------------------|------------|--------|---------------------------------------------------------|
/// | a, b             |            | Space  | sets of one tensor stride, in one manager or in two      |
/// | rows->of_first   | [capacity] | Space  | row of `a` that holds the voxel, -1 if none does        |
/// | rows->of_second  | [capacity] | Space  | row of `b`, -1 if none                                  |
///
/// The result has as many batch entries as the set that has more, and a spatial range if both have one: the
/// larger extent on each axis. Sets of one manager (derived from one input) give a further set of that manager,
/// which is found again at the next call; sets of two managers give a set of a new one.
/// @throws invalid_argument  no set, tensor strides that differ, 2^31 rows or more, keys of more than 63
/// bits;
///                           errors in the rows of either coordinate manager that were found meanwhile
///
/// Cost: one sort of the rows of both sets.
/// Stream: enqueues on `exec`; waits once, for the number of voxels. If one of the sets has a fixed capacity it
/// does not wait: the result has room for the rows of both, but for no more than FixedCapacity says for the
/// tensor stride, and too many are reported where the host next waits.
/// Determinism: same input, same bits.
template <int Dim, class Space>
[[nodiscard]] CombinedSets<Dim, Space> unite_coordinates(CoordinateSetPointer<Dim, Space> const& a,
                                                         CoordinateSetPointer<Dim, Space> const& b,
                                                         Execution<Space> const& exec)
{
  return detail::combine_once(a, b, detail::JoinKind::either, exec);
}

/// The voxels that both sets have, in lexicographic order, and which rows of the two sets they are.
///
/// As unite_coordinates(), but no row of the maps in use is -1, and there are no more voxels than the smaller
/// set has rows.
template <int Dim, class Space>
[[nodiscard]] CombinedSets<Dim, Space> intersect_coordinates(CoordinateSetPointer<Dim, Space> const& a,
                                                             CoordinateSetPointer<Dim, Space> const& b,
                                                             Execution<Space> const& exec)
{
  return detail::combine_once(a, b, detail::JoinKind::both, exec);
}

/// The row of `b` that holds the voxel of each row of `a`, [number of rows of a] in `Space`, if the two sets
/// hold the same voxels at one tensor stride, in whatever order; else nothing.
///
/// Looks at the coordinates, not at where the sets come from. Spatial ranges and declared batch entries may
/// differ.
/// @throws invalid_argument  no set; keys of more than 63 bits; errors in the rows of either manager
///
/// Cost: one sort of the rows of both sets.
/// Stream: enqueues on `exec` and waits for the answer.
/// Determinism: same input, same bits.
template <int Dim, class Space>
[[nodiscard]] std::optional<Buffer<std::int32_t, Space>> match_rows(CoordinateSetPointer<Dim, Space> const& a,
                                                                    CoordinateSetPointer<Dim, Space> const& b,
                                                                    Execution<Space> const& exec)
{
  char const* const who = "match_rows";
  detail::expects(a != nullptr && b != nullptr, who, ": the ", a == nullptr ? "first" : "second",
                  " set is missing");
  if (a->tensor_stride() != b->tensor_stride()) { return std::nullopt; }
  auto const num_rows = a->num_rows();
  if (num_rows != b->num_rows()) { return std::nullopt; }
  detail::check_combination(a.get(), b.get(), who);
  Buffer<detail::JoinStatistics, Space> statistics{1, exec};
  Buffer<std::int32_t, Space> match{num_rows, exec};
  detail::with_joined_rows(*a, *b, detail::JoinKind::both, statistics.data(), exec, [&](auto const& joined) {
    using Joined = std::decay_t<decltype(joined)>;
    for_each(a->capacity() + b->capacity(), detail::WriteMatches<Joined>{joined, match.data(), num_rows},
             exec);
  });
  auto const found = download(statistics, exec)[0];
  detail::report(found.errors);
  if (found.count != num_rows) { return std::nullopt; }
  return match;
}

/// Whether two sets hold the same voxels at one tensor stride, in whatever order. See match_rows(), which
/// also tells which rows go together.
/// Stream: waits.
template <int Dim, class Space>
[[nodiscard]] bool same_voxels(CoordinateSetPointer<Dim, Space> const& a,
                               CoordinateSetPointer<Dim, Space> const& b, Execution<Space> const& exec)
{
  return (a == b && a != nullptr) || match_rows(a, b, exec).has_value();
}

}  // namespace v0
}  // namespace tessera
