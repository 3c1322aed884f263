// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate_set.hpp>
#include <tessera/coords/key_packing.hpp>
#include <tessera/core/detail/sort.hpp>
#include <tessera/kmap/detail/collect_outputs.hpp>
#include <tessera/kmap/detail/parents.hpp>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The task of sorting inputs by their parents. A run of equal keys is an output, its number the output's
/// row.
template <int Dim, class Key>
struct SortByParent {
  using KeyType = Key;

  CoordinateView<Dim> inputs;
  CoordinateBox<Dim> input_box;  // in it no parent overflows
  ParentRule<Dim> rule;
  KeyPacking<Dim, Key> packing;      // of the outputs' box
  CoordinateBox<Dim> const* bounds;  // [1] further bounds, or null
  Key* keys;                         // [inputs.num_rows.capacity] sorted
  std::int32_t* rows;                // [inputs.num_rows.capacity] see InputsByParent
  std::int32_t* parents;             // [inputs.num_rows.capacity]
  Key* outputs;                      // [capacity]
  std::int64_t capacity;
  BoundsAndCount<Dim>* statistics;  // [1] the number of outputs and the coordinate manager's errors
  std::int32_t* count;              // [1] the number of outputs there is room for, or null
  std::uint32_t* errors;            // [1] of the coordinate manager

  [[nodiscard]] TESSERA_HOST_DEVICE Key key(std::int64_t i) const
  {
    constexpr auto none = static_cast<Key>(~Key{0});
    if (i >= inputs.size()) { return none; }
    auto const in = inputs.load(i);
    if (!input_box.contains(in)) {
      atomic_or(errors, std::uint32_t{DataError::out_of_range});
      return none;
    }
    Coordinate<Dim> const out{in.batch, rule(in.position)};
    bool const exists = packing.contains(out) && (bounds == nullptr || bounds->contains(out.position));
    return exists ? packing.pack(out) : none;
  }
  TESSERA_HOST_DEVICE void store(std::int64_t place, Key key, std::int32_t row) const
  {
    keys[place] = key;
    rows[place] = row;
  }
  [[nodiscard]] TESSERA_HOST_DEVICE Key sorted_key(std::int64_t place) const { return keys[place]; }
  TESSERA_HOST_DEVICE void run(std::int64_t place, std::int32_t number, bool first) const
  {
    parents[place] = number < capacity ? number : -1;
    if (first && number < capacity) { outputs[number] = keys[place]; }
  }
  TESSERA_HOST_DEVICE void end(std::int32_t runs) const
  {
    bool const fits = runs <= capacity;
    if (count != nullptr) {
      if (!fits) { atomic_or(errors, std::uint32_t{DataError::capacity}); }
      *count = fits ? runs : static_cast<std::int32_t>(capacity);
    }
    *statistics = {};
    statistics->count = runs;
    statistics->errors = atomic_load(errors);
  }
};

/// The outputs by `rule`, where the space sorts fast enough; else null. The set keeps the parents' rows.
/// See derive_outputs().
/// Stream: enqueues a sort and a kernel; between them waits once for the number of
/// outputs, unless the set has a fixed capacity.
template <int Dim, class Space>
[[nodiscard]] CoordinateSetPointer<Dim, Space> derive_parents(CoordinateSet<Dim, Space>& set,
                                                              ParentRule<Dim> const& rule,
                                                              std::optional<CoordinateBox<Dim>> const& bounds,
                                                              CoordinateBox<Dim> const* space_bounds,
                                                              CoordinateSetOptions<Dim> const& options,
                                                              Execution<Space> const& exec)
{
  auto box = rule(set.box());
  if (bounds) {
    for (int i = 0; i < Dim; ++i) {
      box.lower[i] = std::max(box.lower[i], bounds->lower[i]);
      box.upper[i] = std::min(box.upper[i], bounds->upper[i]);
    }
  }
  if (box.empty() || set.capacity() == 0) { return nullptr; }
  auto room = set.capacity();
  if (set.fixed_capacity()) {
    room = std::min(room, set.fixed_capacity()->at(max_element(options.tensor_stride)));
  }
  return with_packing(box, [&](auto const& packing) -> CoordinateSetPointer<Dim, Space> {
    using Key = typename std::decay_t<decltype(packing)>::KeyType;
    using Rows = typename CoordinateSet<Dim, Space>::Rows;
    auto const num_in = set.capacity();
    bool const is_fixed = set.fixed_capacity().has_value();
    Buffer<Key, Space> keys{num_in, exec};
    auto by_parent = std::make_shared<InputsByParent<Space>>();
    by_parent->rows = Buffer<std::int32_t, Space>{num_in, exec};
    by_parent->parents = Buffer<std::int32_t, Space>{num_in, exec};
    Buffer<Key, Space> outputs{room, exec};
    Buffer<BoundsAndCount<Dim>, Space> statistics{1, exec};
    Rows derived;
    if (is_fixed) { derived = {{room, exec}, {1, exec}}; }
    SortByParent<Dim, Key> const task{set.view(),
                                      set.box(),
                                      rule,
                                      packing,
                                      space_bounds,
                                      keys.data(),
                                      by_parent->rows.data(),
                                      by_parent->parents.data(),
                                      outputs.data(),
                                      room,
                                      statistics.data(),
                                      derived.count.data(),
                                      access(set).errors()};
    // one bit more, for keys of inputs without a parent to come last
    if (!Sort<Space>::segment_ids(task, num_in, key_bits(box) + 1, exec)) { return nullptr; }
    if (!is_fixed) {
      // the bounds of the rows are those of the box, unless outputs were cut off
      bool const is_tight = !bounds || options.spatial_range.has_value();
      auto const workers = std::min<std::int64_t>(room, bounds_workers);
      if (!is_tight) {
        for_each(workers, BoundsOfKeys<Dim, Key>{packing, outputs.data(), room, workers, statistics.data()},
                 exec);
      }
      auto const found = download(statistics, exec)[0];
      report(found.errors);
      derived = {{found.count, exec}};
      if (!is_tight) {
        auto const batches = box.batches;
        box = found.box();
        box.batches = batches;
      }
    }
    RowCount const num_rows{derived.rows.size(), derived.count.data()};
    for_each(derived.rows.size(),
             UnpackKeys<Dim, Key>{packing, outputs.data(), derived.rows.data(), num_rows}, exec);
    auto result = set.derive(std::move(derived), box, options, exec);
    access(set).cache().get_or_make(InputsByParentKey<Dim, Space>{rule, result.get()},
                                    [&] { return by_parent; });
    return result;
  });
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
