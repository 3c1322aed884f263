// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/sort.hpp>
#include <tessera/kmap/detail/collect_outputs.hpp>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// A bit for every key of a box: outputs set theirs, and the bits before one are the number of its row. So
/// rows come out unique and in lexicographic order, without a table and without a sort.
struct OutputCells {
  static constexpr int group = 8;  // words whose bits are counted together

  std::uint32_t* words;  // [num_groups, group]
  std::int32_t* before;  // [num_groups + 1] bits of the groups before
  std::int64_t num_groups;

  TESSERA_HOST_DEVICE void set(std::uint32_t key) const
  {
    atomic_or(&words[key / 32], std::uint32_t{1} << (key % 32));
  }
  [[nodiscard]] TESSERA_HOST_DEVICE std::int64_t num_words() const { return num_groups * group; }
  /// Calls `body(row, key)` for the bits of a word.
  template <class Body>
  TESSERA_HOST_DEVICE void for_each_in(std::int64_t word, Body const& body) const
  {
    auto bits = words[word];
    if (bits == 0) { return; }
    auto row = before[word / group];
    for (auto i = word / group * group; i < word; ++i) { row += count_bits(words[i]); }
    for (; bits != 0; bits &= bits - 1) {
      auto const place = static_cast<std::uint32_t>(count_bits((bits & (0U - bits)) - 1));
      body(row++, static_cast<std::uint32_t>(word) * 32 + place);
    }
  }
  [[nodiscard]] TESSERA_HOST_DEVICE std::int32_t count() const { return before[num_groups]; }
};

/// Item number i is up to OutputRule::group candidates of one input.
template <int Dim, class Downsample>
struct MarkOutputs {
  CoordinateView<Dim> inputs;
  CoordinateBox<Dim> input_box;  // in it no candidate overflows
  OutputRule<Dim, Downsample> rule;
  KeyPacking<Dim, std::uint32_t> packing;  // of the rule's box
  OutputCells cells;
  std::uint32_t* errors;  // [1] of the frame

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    constexpr int group = OutputRule<Dim, Downsample>::group;
    std::int64_t const row = divide(static_cast<long long>(i), rule.num_groups());
    if (row >= inputs.size()) { return; }
    auto const in = inputs.load(row);
    if (!input_box.contains(in)) {
      atomic_or(errors, std::uint32_t{DataError::out_of_range});
      return;
    }
    auto const first = static_cast<int>(i - row * rule.num_groups()) * group;
    Coordinate<Dim> out;
    for (int j = first; j < first + group; ++j) {
      if (rule.find(in, j, out)) { cells.set(packing.pack(out)); }
    }
  }
};

/// counts[g] = the bits of group g, and 0 behind the last.
struct CountCells {
  OutputCells cells;
  std::int32_t* counts;  // [num_groups + 1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t number) const
  {
    int count = 0;
    for (int i = 0; i < OutputCells::group && number < cells.num_groups; ++i) {
      count += count_bits(cells.words[number * OutputCells::group + i]);
    }
    counts[number] = count;
  }
};

/// What the host learns of the outputs: their number, what went wrong, and, of worker w, the bounds of the
/// words w, w + workers, ...
template <int Dim>
struct DescribeCells {
  KeyPacking<Dim, std::uint32_t> packing;
  OutputCells cells;
  std::int64_t workers;
  std::uint32_t const* errors;  // [1] of the frame
  Statistics<Dim>* statistics;  // [1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t worker) const
  {
    if (worker == 0) {
      statistics->count = cells.count();
      statistics->errors = atomic_load(errors);
    }
    Statistics<Dim> part;
    for (auto i = worker; i < cells.num_words(); i += workers) {
      cells.for_each_in(i, [&](std::int32_t, std::uint32_t key) { part.include(packing.unpack(key)); });
    }
    statistics->merge_atomically(part);
  }
};

/// The rows of a word, and one row that is not in use; item 0 also their number, where only the space knows
/// it.
template <int Dim>
struct WriteCells {
  KeyPacking<Dim, std::uint32_t> packing;
  OutputCells cells;
  Coordinate<Dim>* rows;  // [capacity]
  std::int64_t capacity;
  std::int32_t* count;    // [1] or null
  std::uint32_t* errors;  // [1] of the frame

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto const total = cells.count();
    if (i == 0 && count != nullptr) {
      if (total > capacity) { atomic_or(errors, std::uint32_t{DataError::capacity}); }
      *count = total > capacity ? static_cast<std::int32_t>(capacity) : total;
    }
    if (i >= total && i < capacity) { rows[i] = {}; }
    if (i >= cells.num_words()) { return; }
    cells.for_each_in(i, [&](std::int32_t row, std::uint32_t key) {
      if (row < capacity) { rows[row] = packing.unpack(key); }
    });
  }
};

/// Whether a bit for every key of `box` is less work than a table and a sort of up to `most` outputs. The
/// limits are of bytes gone through, about as many either way; the device's times between them were not
/// taken. CenterPoint's levels (22 to 25 bits, 80,000 inputs) on an H100: 0.87 -> 0.77 ms a frame.
template <int Dim>
[[nodiscard]] bool fits_cells(CoordinateBox<Dim> const& box, std::int64_t most)
{
  constexpr int most_bits = 28;
  int const bits = key_bits(box);
  return bits <= most_bits && (std::int64_t{1} << bits) / 32 <= 4096 + 16 * most;
}

/// The outputs by `rule`, of a box that fits_cells(). See derive_outputs().
/// @param room  for rows, of a set with a fixed capacity
/// Stream: enqueues a fill, three kernels and a scan, waits once for the number of outputs unless the set has
/// a fixed capacity.
template <class Downsample, int Dim, class Space>
[[nodiscard]] CoordinateSetPointer<Dim, Space> derive_by_cells(CoordinateSet<Dim, Space>& set,
                                                               OutputRule<Dim, Downsample> const& rule,
                                                               std::int64_t room,
                                                               CoordinateSetOptions<Dim> const& options,
                                                               Execution<Space> const& exec)
{
  auto const packing = make_packing<std::uint32_t>(rule.box);
  constexpr int group_bits = 32 * OutputCells::group;
  auto const num_groups = ((std::int64_t{1} << key_bits(rule.box)) + group_bits - 1) / group_bits;
  Buffer<std::uint32_t, Space> words{num_groups * OutputCells::group, exec};
  Buffer<std::int32_t, Space> before{num_groups + 1, exec};
  OutputCells const cells{words.data(), before.data(), num_groups};
  fill_bytes(words, 0, exec);
  for_each(set.capacity() * rule.num_groups(),
           MarkOutputs<Dim, Downsample>{set.view(), set.box(), rule, packing, cells, set.errors()}, exec);
  for_each(num_groups + 1, CountCells{cells, before.data()}, exec);
  Scan<Space>::exclusive(before.data(), before.data(), num_groups + 1, exec);
  typename CoordinateSet<Dim, Space>::Rows rows;
  auto box = rule.box;
  if (set.fixed_capacity()) {
    rows = {{room, exec}, {1, exec}};
  } else {
    Buffer<Statistics<Dim>, Space> statistics{1, exec};
    for_each(1, StoreValue<Statistics<Dim>>{statistics.data(), {}}, exec);
    auto const workers = std::min(cells.num_words(), bounds_workers);
    for_each(workers, DescribeCells<Dim>{packing, cells, workers, set.errors(), statistics.data()}, exec);
    auto const found = download(statistics, exec)[0];
    report(found.errors);
    rows = {{found.count, exec}};
    box = found.box();
    box.batches = set.box().batches;
  }
  for_each(
      std::max(cells.num_words(), rows.rows.size()),
      WriteCells<Dim>{packing, cells, rows.rows.data(), rows.rows.size(), rows.count.data(), set.errors()},
      exec);
  return set.derive(std::move(rows), box, options, exec);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
