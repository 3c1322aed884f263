// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate_set.hpp>
#include <tessera/coords/key_packing.hpp>
#include <tessera/core/int_array.hpp>
#include <tessera/hash/detail/hash_table.hpp>
#include <tessera/kmap/downsample.hpp>
#include <tessera/kmap/geometry.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Which outputs an input has, inside a box.
template <int Dim, class Downsample>
struct OutputRule {
  KernelRegion<Dim> region;
  CoordinateBox<Dim> box;
  CoordinateBox<Dim> const* bounds;  // [1] further bounds, or null
  AtBorder border;
  int num_candidates;  // that Downsample has for an input

  static constexpr int group = 8;  // candidates that one item takes
  /// Items of an input.
  [[nodiscard]] TESSERA_HOST_DEVICE int num_groups() const { return ceil_div(num_candidates, group); }

  /// A candidate, where it is an output.
  [[nodiscard]] TESSERA_HOST_DEVICE bool find(Coordinate<Dim> const& in, int candidate,
                                              Coordinate<Dim>& out) const
  {
    if (candidate >= num_candidates) { return false; }
    out.batch = in.batch;
    return Downsample::candidate(region, in.position, candidate, out.position) && keep(out);
  }

  /// Items of an input for visit().
  [[nodiscard]] TESSERA_HOST_DEVICE int num_parts() const
  {
    return is_product_of_axes<Downsample> && region.shape.is_box() ? region.size[0] : num_groups();
  }
  /// Calls `body(out)` for the outputs of an input that are of one part: of a digit of the first axis, where the
  /// others are found axis by axis, else of a group of candidates.
  template <class Body>
  TESSERA_HOST_DEVICE void visit(Coordinate<Dim> const& in, int part, Body const& body) const
  {
    Coordinate<Dim> out;
    out.batch = in.batch;
    if constexpr (is_product_of_axes<Downsample>) {
      if (region.shape.is_box()) { return visit_axis<0>(in, out, part, part + 1, body); }
    }
    for (int j = part * group; j < (part + 1) * group; ++j) {
      if (find(in, j, out)) { body(out); }
    }
  }

 private:
  template <int Axis, class Body>
  TESSERA_HOST_DEVICE void visit_axis(Coordinate<Dim> const& in, Coordinate<Dim>& out, int first, int last,
                                      Body const& body) const
  {
    for (int digit = first; digit < last; ++digit) {
      if (!Downsample::candidate_of_axis(region, Axis, in.position[Axis], digit, out.position[Axis])) {
        continue;
      }
      if constexpr (Axis + 1 < Dim) {
        visit_axis<Axis + 1>(in, out, 0, region.size[Axis + 1], body);
      } else {
        auto kept = out;
        if (keep(kept)) { body(kept); }
      }
    }
  }
  /// Whether an output is in the bounds, after it was moved there if that is what happens at the border.
  [[nodiscard]] TESSERA_HOST_DEVICE bool keep(Coordinate<Dim>& out) const
  {
    if (border == AtBorder::clamp) {
      for (int axis = 0; axis < Dim; ++axis) {
        auto& p = out.position[axis];
        p = p < box.lower[axis] ? box.lower[axis] : p;
        p = p > box.upper[axis] ? box.upper[axis] : p;
      }
    }
    return box.contains(out) && (bounds == nullptr || bounds->contains(out.position));
  }
};

/// Candidates of every input, each kept once: the first thread to enter its key appends it to `keys`.
///
/// `statistics->count` counts the keys, also those past `capacity`. Once there are too many, no further ones
/// are entered. Items that run at once may not have counted theirs yet, so that the table can be over half
/// full before the count says so; then try_insert() tells. Either way an item ends soon, and the error is
/// noted. Item number i is up to 8 candidates of one input.
template <int Dim, class Key, class Downsample>
struct CollectOutputs {
  CoordinateView<Dim> inputs;
  CoordinateBox<Dim> input_box;  // in it no candidate overflows
  OutputRule<Dim, Downsample> rule;
  KeyPacking<Dim, Key> packing;  // of the rule's box
  HashTableRef<Key> seen;
  Key* keys;  // [capacity]
  std::int64_t capacity;
  BoundsAndCount<Dim>* statistics;  // [1]
  std::uint32_t const* manager_errors;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto const together = active_mask();
    if (i == 0) { atomic_or(&statistics->errors, *manager_errors); }
    constexpr int group = OutputRule<Dim, Downsample>::group;
    std::int64_t const row = divide(static_cast<long long>(i), rule.num_groups());
    auto const first = static_cast<int>(i - row * rule.num_groups()) * group;
    std::uint32_t entered = 0;  // bit j: candidate first + j is new
    bool const used = row < inputs.size();
    auto const in = used ? inputs[row] : Coordinate<Dim>{};
    if (used && !input_box.contains(in)) {
      atomic_or(&statistics->errors, std::uint32_t{DataError::out_of_range});
    } else if (used) {
      Key key;
      auto count = atomic_load(&statistics->count);
      for (int j = 0; j < group && count <= capacity; ++j) {
        if (!make_key(in, first + j, key)) { continue; }
        count = atomic_load(&statistics->count);  // for the next one, so that nothing waits for it
        auto const what = seen.try_insert(key);
        if (what == Entered::now) { entered |= std::uint32_t{1} << j; }
        if (what == Entered::never) {
          atomic_or(&statistics->errors, std::uint32_t{DataError::capacity});
          break;
        }
      }
    }
    std::int64_t place = aggregated_fetch_add(&statistics->count, popcount(entered), together);
    for (int j = 0; j < group && entered >> j != 0; ++j) {
      Key key;
      if ((entered >> j & 1U) == 0 || !make_key(in, first + j, key)) { continue; }
      if (place < capacity) { keys[place] = key; }
      ++place;
    }
  }

 private:
  /// The key of a candidate, where there is one.
  [[nodiscard]] TESSERA_HOST_DEVICE bool make_key(Coordinate<Dim> const& in, int candidate, Key& key) const
  {
    Coordinate<Dim> out;
    if (!rule.find(in, candidate, out)) { return false; }
    key = packing.pack(out);
    return true;
  }
};

/// The number of rows of a derived set of fixed capacity, and what went wrong so far.
template <int Dim>
struct FinishCount {
  BoundsAndCount<Dim> const* statistics;  // [1]
  std::int32_t* count;                    // [1]
  std::uint32_t* errors;                  // [1]
  std::int64_t capacity;

  TESSERA_HOST_DEVICE void operator()(std::int64_t) const
  {
    auto found = statistics->errors;
    bool const fits = statistics->count <= capacity;
    if (!fits) { found |= DataError::capacity; }
    *count = fits ? statistics->count : static_cast<std::int32_t>(capacity);
    if (found != 0) { atomic_or(errors, found); }
  }
};

/// Worker w of `workers` takes the bounds of the keys w, w + workers, ... that were collected.
template <int Dim, class Key>
struct BoundsOfKeys {
  KeyPacking<Dim, Key> packing;
  Key const* keys;  // [capacity]
  std::int64_t capacity;
  std::int64_t workers;
  BoundsAndCount<Dim>* statistics;  // [1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t worker) const
  {
    BoundsAndCount<Dim> part;
    std::int64_t const count = statistics->count < capacity ? statistics->count : capacity;
    for (auto i = worker; i < count; i += workers) { part.include(packing.unpack(keys[i])); }
    if (worker < count) { statistics->merge_atomically(part); }
  }
};

/// rows[i] = the coordinate of keys[i]; zeros in rows that are not in use.
template <int Dim, class Key>
struct UnpackKeys {
  KeyPacking<Dim, Key> packing;
  Key const* keys;        // [num_rows.capacity]
  Coordinate<Dim>* rows;  // [num_rows.capacity]
  RowCount num_rows;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    rows[i] = i < num_rows.size() ? packing.unpack(keys[i]) : Coordinate<Dim>{};
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
