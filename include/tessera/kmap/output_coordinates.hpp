// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/detail/sort.hpp>
#include <tessera/hash/detail/hash_table.hpp>
#include <tessera/kmap/detail/collect_outputs.hpp>
#include <tessera/kmap/detail/derive_parents.hpp>
#include <tessera/kmap/detail/occupancy_bitmap.hpp>
#include <tessera/kmap/detail/output_box.hpp>
#include <tessera/kmap/policies.hpp>

#include <algorithm>
#include <climits>
#include <optional>
#include <type_traits>
#include <utility>

namespace tessera {
inline namespace v0 {

/// The set of outputs that `Downsample` names for the inputs of `set`, cut to `bounds`, as a further set of
/// the coordinate manager.
///
/// Rows are lexicographic (batch, x, y, ...). Not cached: kernel_map() is.
/// @param bounds  positions outside are dropped (or clamped, `border`); without bounds nothing is lost
/// @param space_bounds  [1] further bounds that only the space knows, or null
/// @throws invalid_argument  output coordinates do not fit 32 bits or their keys 63; errors in the rows of
/// `set`
///
/// Cost: one candidate per input and offset, and a bit for each cell of the outputs' bounds; of bounds so large
/// that this is more work, one table entry and one sort key per output; where every input has one output and
/// the space can sort so many in one kernel, a sort of the inputs instead.
/// Stream: enqueues a fill and kernels, waits once for the number of outputs, then kernels. Of a set with a
/// fixed capacity the same, but it does not wait, and too many outputs are reported where the host next waits.
/// Determinism: same input, in any row order: same set.
template <class Downsample, int Dim, class Space>
[[nodiscard]] CoordinateSetPointer<Dim, Space> derive_outputs(
    CoordinateSet<Dim, Space>& set, KernelRegion<Dim> const& region,
    std::optional<CoordinateBox<Dim>> const& bounds, CoordinateBox<Dim> const* space_bounds,
    detail::AtBorder border, CoordinateSetOptions<Dim> options, Execution<Space> const& exec)
{
  options.fixed_capacity = set.fixed_capacity();
  options.only_entry = set.only_entry();
  auto box = detail::reachable_box<Dim, Downsample>(region, set.box());
  if (border == detail::AtBorder::drop) {
    if (auto const rule = detail::parent_rule<Downsample>(region)) {
      auto derived = detail::derive_parents(set, *rule, bounds, space_bounds, options, exec);
      if (derived) { return derived; }
    }
  }
  if (bounds) {
    for (int i = 0; i < Dim; ++i) {
      box.lower[i] =
          border == detail::AtBorder::clamp ? bounds->lower[i] : std::max(box.lower[i], bounds->lower[i]);
      box.upper[i] =
          border == detail::AtBorder::clamp ? bounds->upper[i] : std::min(box.upper[i], bounds->upper[i]);
    }
  }
  auto const most = box.empty() ? 0 : detail::most_outputs<Dim, Downsample>(region, set.capacity(), box);
  if (most == 0) {
    CoordinateBox<Dim> nothing;
    nothing.batches = set.num_batches();  // entries without voxels stay entries
    return set.derive({}, nothing, options, exec);
  }
  auto const room = set.fixed_capacity()
                        ? std::min(most, set.fixed_capacity()->at(max_element(options.tensor_stride)))
                        : most;
  detail::expects(room <= INT_MAX, "convolution: up to ", room, " outputs are more than row indices hold");

  detail::OutputRule<Dim, Downsample> const rule{region, box, space_bounds, border,
                                                 Downsample::num_candidates(region)};
  if (detail::fits_cells<Space>(box, most)) {
    return detail::derive_by_cells(set, rule, room, options, exec);
  }
  return detail::with_packing(box, [&](auto const& packing) {
    using Key = typename std::decay_t<decltype(packing)>::KeyType;
    using Rows = typename CoordinateSet<Dim, Space>::Rows;
    detail::HashTable<Key, Space> seen{room, exec};
    Buffer<Key, Space> keys{room, exec};
    Buffer<detail::BoundsAndCount<Dim>, Space> statistics{1, exec};
    for_each(1, detail::StoreValue<detail::BoundsAndCount<Dim>>{statistics.data(), {}}, exec);
    if (set.fixed_capacity()) { fill_bytes(keys, 0xff, exec); }  // the largest key: sorted behind all others
    using Collect = detail::CollectOutputs<Dim, Key, Downsample>;
    for_each(set.capacity() * rule.num_groups(),
             Collect{set.view(), set.box(), rule, packing, seen.ref(), keys.data(), room, statistics.data(),
                     detail::access(set).errors()},
             exec);
    auto const finish = [&](Rows&& rows, CoordinateBox<Dim> const& bounds_of_rows) {
      auto const capacity = rows.rows.size();
      Buffer<Key, Space> sorted{capacity, exec};
      detail::Sort<Space>::keys(keys.data(), sorted.data(), capacity, detail::key_bits(box), exec);
      RowCount const num_rows{capacity, rows.count.data()};
      for_each(capacity, detail::UnpackKeys<Dim, Key>{packing, sorted.data(), rows.rows.data(), num_rows},
               exec);
      return set.derive(std::move(rows), bounds_of_rows, options, exec);
    };
    if (set.fixed_capacity()) {
      Rows rows{{room, exec}, {1, exec}};
      for_each(
          1,
          detail::FinishCount<Dim>{statistics.data(), rows.count.data(), detail::access(set).errors(), room},
          exec);
      return finish(std::move(rows), box);
    }
    auto const workers = std::min<std::int64_t>(room, detail::bounds_workers);
    for_each(workers, detail::BoundsOfKeys<Dim, Key>{packing, keys.data(), room, workers, statistics.data()},
             exec);
    auto const found = download(statistics, exec)[0];
    detail::report(found.errors);
    auto tight = found.box();
    tight.batches = set.box().batches;
    return finish({{found.count, exec}}, tight);
  });
}

}  // namespace v0
}  // namespace tessera
