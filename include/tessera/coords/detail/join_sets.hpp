// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate_set.hpp>
#include <tessera/coords/key_packing.hpp>
#include <tessera/core/detail/sort.hpp>

#include <algorithm>
#include <climits>
#include <cstdint>
#include <type_traits>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Which voxels of two sets are wanted: those that either has, or those that both have.
enum class JoinKind : std::uint8_t { either, both };

/// What joining two sets found.
struct JoinStatistics {
  std::int32_t count = 0;    // voxels that are wanted
  std::uint32_t errors = 0;  // bits of DataError
};

/// keys[i] = key of row i of `a`, then of `b`; the largest where there is no row. numbers[i] = i.
template <int Dim, class Key>
struct JoinKeys {
  CoordinateView<Dim> a;
  CoordinateView<Dim> b;
  CoordinateBox<Dim> a_box;
  CoordinateBox<Dim> b_box;
  KeyPacking<Dim, Key> packing;  // of both boxes
  Key none;
  Key* keys;                   // [rows of a + rows of b]
  std::int32_t* numbers;       // [rows of a + rows of b]
  JoinStatistics* statistics;  // [1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    bool const is_a = i < a.num_rows.capacity;
    auto const row = is_a ? i : i - a.num_rows.capacity;
    auto const& view = is_a ? a : b;
    keys[i] = none;
    numbers[i] = static_cast<std::int32_t>(i);
    if (row >= view.size()) { return; }
    auto const c = view[row];
    if ((is_a ? a_box : b_box).contains(c)) {
      keys[i] = packing.pack(c);
    } else {
      atomic_or(&statistics->errors, std::uint32_t{DataError::out_of_range});
    }
  }
};

/// The rows of two sets, sorted by voxel: equal keys are neighbours, rows of the first set before those of
/// the second. `place` has the number of wanted voxels before each item.
template <int Dim, class Key>
struct JoinedRows {
  KeyPacking<Dim, Key> packing;
  Key const* keys;              // [count] ascending
  Key none;                     // key of items without a row
  std::int32_t const* numbers;  // [count] row of the first set, or num_first + row of the second
  std::int64_t count;
  std::int64_t num_first;
  std::int32_t const* place;  // [count + 1]

  [[nodiscard]] TESSERA_HOST_DEVICE bool begins_run(std::int64_t i) const
  {
    return i < count && keys[i] != none && (i == 0 || keys[i - 1] != keys[i]);
  }
  /// Whether item i is where a wanted voxel begins.
  [[nodiscard]] TESSERA_HOST_DEVICE bool is_wanted(std::int64_t i) const
  {
    return i < count && place[i + 1] != place[i];
  }
  /// The rows of the run that begins at i, the smallest of each set, or -1. @returns whether one set has two.
  TESSERA_HOST_DEVICE bool rows_of_run(std::int64_t i, std::int32_t& first, std::int32_t& second) const
  {
    first = second = -1;
    bool twice = false;
    for (auto at = i; at < count && keys[at] == keys[i]; ++at) {
      bool const is_first = numbers[at] < num_first;
      auto& row = is_first ? first : second;
      twice = twice || row >= 0;
      if (row < 0) { row = is_first ? numbers[at] : numbers[at] - static_cast<std::int32_t>(num_first); }
    }
    return twice;
  }
};

/// starts[i] = 1 where item i is the first of a voxel that is wanted; one further 0 closes the array.
template <class Joined>
struct MarkWanted {
  Joined joined;
  JoinKind kind;
  std::int32_t* starts;        // [count + 1]
  JoinStatistics* statistics;  // [1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    starts[i] = 0;
    if (!joined.begins_run(i)) { return; }
    std::int32_t first = -1;
    std::int32_t second = -1;
    if (joined.rows_of_run(i, first, second)) {
      atomic_or(&statistics->errors, std::uint32_t{DataError::duplicate});
    }
    starts[i] = kind == JoinKind::either || (first >= 0 && second >= 0) ? 1 : 0;
  }
};

/// statistics->count = number of wanted voxels; also takes the errors of both managers.
struct CountWanted {
  std::int32_t const* total;  // [1]
  std::uint32_t const* first_errors;
  std::uint32_t const* second_errors;
  JoinStatistics* statistics;  // [1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t) const
  {
    statistics->count = *total;
    statistics->errors |= atomic_load(first_errors) | atomic_load(second_errors);
  }
};

/// The rows of a combined set and of its maps; item i also row i where it is not in use, item 0 the count.
template <int Dim, class Joined>
struct WriteCombined {
  Joined joined;
  Coordinate<Dim>* rows;    // [capacity]
  std::int32_t* of_first;   // [capacity]
  std::int32_t* of_second;  // [capacity]
  std::int64_t capacity;    // at most joined.count
  std::int32_t* count;      // [1] or null

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto const total = joined.place[joined.count];
    if (i == 0 && count != nullptr) {
      *count = total < capacity ? total : static_cast<std::int32_t>(capacity);
    }
    if (i >= total && i < capacity) {
      rows[i] = {};
      of_first[i] = of_second[i] = -1;
    }
    if (!joined.is_wanted(i) || joined.place[i] >= capacity) { return; }
    auto const row = joined.place[i];
    rows[row] = joined.packing.unpack(joined.keys[i]);
    joined.rows_of_run(i, of_first[row], of_second[row]);
  }
};

/// match[row of the first set] = row of the second.
template <class Joined>
struct WriteMatches {
  Joined joined;
  std::int32_t* match;  // [num_rows]
  std::int64_t num_rows;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    if (!joined.is_wanted(i)) { return; }
    std::int32_t first = -1;
    std::int32_t second = -1;
    joined.rows_of_run(i, first, second);
    if (first < num_rows) { match[first] = second; }
  }
};

/// Hands on to a combined set's coordinate manager what its two sets' managers and joining them found.
struct NoteJoinErrors {
  JoinStatistics const* statistics;  // [1]
  std::int64_t capacity;
  std::uint32_t const* first_errors;
  std::uint32_t const* second_errors;
  std::uint32_t* errors;  // [1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t) const
  {
    auto found = statistics->errors | atomic_load(first_errors) | atomic_load(second_errors);
    if (statistics->count > capacity) { found |= DataError::capacity; }
    if (found != 0) { atomic_or(errors, found); }
  }
};

/// The smallest box around both.
template <int Dim>
[[nodiscard]] CoordinateBox<Dim> united_box(CoordinateBox<Dim> const& a, CoordinateBox<Dim> const& b)
{
  auto box = a.empty() ? b : a;
  box.batches = std::max(a.batches, b.batches);
  for (int i = 0; i < Dim && !a.empty() && !b.empty(); ++i) {
    box.lower[i] = std::min(a.lower[i], b.lower[i]);
    box.upper[i] = std::max(a.upper[i], b.upper[i]);
  }
  return box;
}

/// The positions of both boxes, and as many batch entries as the one with more.
template <int Dim>
[[nodiscard]] CoordinateBox<Dim> shared_box(CoordinateBox<Dim> const& a, CoordinateBox<Dim> const& b)
{
  CoordinateBox<Dim> box;
  box.batches = std::max(a.batches, b.batches);
  if (a.empty() || b.empty()) { return box; }
  for (int i = 0; i < Dim; ++i) {
    box.lower[i] = std::max(a.lower[i], b.lower[i]);
    box.upper[i] = std::min(a.upper[i], b.upper[i]);
  }
  if (box.empty()) {
    box.lower = IntArray<Dim>(0);
    box.upper = IntArray<Dim>(-1);
  }
  return box;
}

template <int Dim, class Space>
void check_combination(CoordinateSet<Dim, Space> const* a, CoordinateSet<Dim, Space> const* b,
                       char const* who)
{
  expects(a != nullptr && b != nullptr, who, ": the ", a == nullptr ? "first" : "second", " set is missing");
  expects(a->tensor_stride() == b->tensor_stride(), who, ": tensor strides ", list(a->tensor_stride()),
          " and ", list(b->tensor_stride()), " differ; voxels of one size are needed");
  expects(a->capacity() < INT_MAX - b->capacity(), who, ": ", a->capacity(), " and ", b->capacity(),
          " rows together are more than row indices hold");
}

/// Stride, range and capacity of the combination of two sets.
template <int Dim, class Space>
[[nodiscard]] CoordinateSetOptions<Dim> combined_options(CoordinateSet<Dim, Space> const& a,
                                                         CoordinateSet<Dim, Space> const& b)
{
  CoordinateSetOptions<Dim> options;
  options.tensor_stride = a.tensor_stride();
  options.fixed_capacity = a.fixed_capacity() ? a.fixed_capacity() : b.fixed_capacity();
  if (a.only_entry() == b.only_entry()) { options.only_entry = a.only_entry(); }
  if (a.spatial_range() && b.spatial_range()) {
    auto range = *a.spatial_range();
    range.batches = std::max(range.batches, b.spatial_range()->batches);
    for (int i = 0; i < Dim; ++i) {
      range.extent[i] = std::max(range.extent[i], b.spatial_range()->extent[i]);
    }
    options.spatial_range = range;
  }
  return options;
}

/// Calls `body(joined)` with the sorted rows of both sets, the voxels of `kind` being counted in `statistics`
/// [1].
/// Stream: enqueues a sort, a scan and kernels, does not wait.
template <int Dim, class Space, class Body>
void with_joined_rows(CoordinateSet<Dim, Space> const& a, CoordinateSet<Dim, Space> const& b, JoinKind kind,
                      JoinStatistics* statistics, Execution<Space> const& exec, Body const& body)
{
  for_each(1, StoreValue<JoinStatistics>{statistics, {}}, exec);
  auto const box = united_box(a.box(), b.box());
  with_packing(box, [&](auto const& packing) {
    using Key = typename std::decay_t<decltype(packing)>::KeyType;
    auto const count = a.capacity() + b.capacity();
    auto const none = static_cast<Key>(Key{1} << key_bits(box));
    Buffer<Key, Space> keys{count, exec};
    Buffer<std::int32_t, Space> numbers{count, exec};
    Buffer<std::int32_t, Space> place{count + 1, exec};
    {
      Buffer<Key, Space> unsorted{count, exec};
      Buffer<std::int32_t, Space> in_order{count, exec};
      for_each(count,
               JoinKeys<Dim, Key>{a.view(), b.view(), a.box(), b.box(), packing, none, unsorted.data(),
                                  in_order.data(), statistics},
               exec);
      Sort<Space>::pairs(unsorted.data(), in_order.data(), keys.data(), numbers.data(), count,
                         key_bits(box) + 1, exec);
    }
    JoinedRows<Dim, Key> const joined{packing, keys.data(),  none,        numbers.data(),
                                      count,   a.capacity(), place.data()};
    using Joined = JoinedRows<Dim, Key>;
    for_each(count + 1, MarkWanted<Joined>{joined, kind, place.data(), statistics}, exec);
    Scan<Space>::exclusive(place.data(), place.data(), count + 1, exec);
    for_each(1, CountWanted{place.data() + count, access(a).errors(), access(b).errors(), statistics}, exec);
    body(joined);
  });
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
