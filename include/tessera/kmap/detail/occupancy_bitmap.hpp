// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/detail/sort.hpp>
#include <tessera/kmap/detail/collect_outputs.hpp>
#include <tessera/kmap/detail/grid_indexer.hpp>

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// A bit for every cell of a box: outputs set theirs, and the bits before one are the number of its row. So
/// rows come out unique and in lexicographic order, without a table and without a sort.
struct OccupancyBitmap {
  static constexpr int group = 8;  // words whose bits are counted together
  static constexpr int cells_of_group = group * 32;

  std::uint32_t* words;  // [num_groups, group]
  std::int32_t* before;  // [num_groups + 1] bits of the groups before
  std::int64_t num_groups;

  TESSERA_HOST_DEVICE void set(std::uint32_t cell) const
  {
    atomic_or(&words[cell / 32], std::uint32_t{1} << (cell % 32));
  }
  [[nodiscard]] TESSERA_HOST_DEVICE std::int64_t num_words() const { return num_groups * group; }
  /// Calls `body(row, cell)` for the bits of a word. (A thread for more bits than that waits for the
  /// fullest.)
  template <class Body>
  TESSERA_HOST_DEVICE void for_each_in(std::int64_t word, Body const& body) const
  {
    auto row = before[word / group];
    if (row == before[word / group + 1]) { return; }
    auto bits = words[word];
    if (bits == 0) { return; }
    for (auto i = word / group * group; i < word; ++i) { row += popcount(words[i]); }
    for (; bits != 0; bits &= bits - 1) {
      auto const place = static_cast<std::uint32_t>(popcount((bits & (0U - bits)) - 1));
      body(row++, static_cast<std::uint32_t>(word) * 32 + place);
    }
  }
  [[nodiscard]] TESSERA_HOST_DEVICE std::int32_t count() const { return before[num_groups]; }
};

/// Item number i is one part of the outputs of one input: see OutputRule::visit().
template <int Dim, class Downsample>
struct MarkOutputs {
  CoordinateView<Dim> inputs;
  CoordinateBox<Dim> input_box;  // in it no candidate overflows
  OutputRule<Dim, Downsample> rule;
  GridIndexer<Dim> indexer;  // of the rule's box
  OccupancyBitmap cells;
  std::uint32_t* errors;  // [1] of the coordinate manager

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    std::int64_t const row = divide(static_cast<long long>(i), rule.num_parts());
    if (row >= inputs.size()) { return; }
    auto const in = inputs.load(row);
    if (!input_box.contains(in)) {
      atomic_or(errors, std::uint32_t{DataError::out_of_range});
      return;
    }
    rule.visit(in, static_cast<int>(i - row * rule.num_parts()),
               [&](Coordinate<Dim> const& out) { cells.set(indexer.pack(out)); });
  }
};

/// before[g] = the bits of group g, and 0 behind the last.
struct CountCells {
  OccupancyBitmap cells;

  TESSERA_HOST_DEVICE void operator()(std::int64_t number) const
  {
    int count = 0;
    for (int i = 0; i < OccupancyBitmap::group && number < cells.num_groups; ++i) {
      count += popcount(cells.words[number * OccupancyBitmap::group + i]);
    }
    cells.before[number] = count;
  }
};

/// What the host learns of the outputs: their number, what went wrong, and, of worker w, the bounds of
/// the words w, w + workers, ...
template <int Dim>
struct DescribeCells {
  GridIndexer<Dim> indexer;
  OccupancyBitmap cells;
  std::int64_t workers;
  std::uint32_t const* errors;      // [1] of the coordinate manager
  BoundsAndCount<Dim>* statistics;  // [1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t worker) const
  {
    if (worker == 0) {
      statistics->count = cells.count();
      statistics->errors = atomic_load(errors);
    }
    BoundsAndCount<Dim> part;
    for (auto i = worker; i < cells.num_words(); i += workers) {
      cells.for_each_in(i, [&](std::int32_t, std::uint32_t cell) { part.include(indexer.unpack(cell)); });
    }
    statistics->merge_atomically(part);
  }
};

/// The rows of word i, and row i where it is not in use; item 0 also their number, where only the space knows
/// it.
template <int Dim>
struct WriteCells {
  GridIndexer<Dim> indexer;
  OccupancyBitmap cells;
  Coordinate<Dim>* rows;  // [capacity]
  std::int64_t capacity;
  std::int32_t* count;    // [1] or null
  std::uint32_t* errors;  // [1] of the coordinate manager

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto const total = cells.count();
    if (i == 0 && count != nullptr) {
      if (total > capacity) { atomic_or(errors, std::uint32_t{DataError::capacity}); }
      *count = total > capacity ? static_cast<std::int32_t>(capacity) : total;
    }
    if (i >= total && i < capacity) { rows[i] = {}; }
    if (i >= cells.num_words()) { return; }
    cells.for_each_in(i, [&](std::int32_t row, std::uint32_t cell) {
      if (row < capacity) { rows[row] = indexer.unpack(cell); }
    });
  }
};

/// Cells that are no more work than entering and sorting an output that may be. Host: table and cells took
/// the same time at 258 (60,000 inputs on 1300 x 1350 x 65 cells), with half as many inputs a table 0.75 of
/// it, with 94,000 1.3. Device: of bytes gone through, about as many either way. CenterPoint's levels (80,000
/// inputs) by cells instead of tables: 0.87 -> 0.77 ms per scan on an H100.
template <class Space>
inline constexpr std::int64_t cells_per_output = std::is_same_v<Space, Device> ? 512 : 256;

/// Whether a bit for every cell of `box` is less work than a table and a sort of up to `most` outputs. Rows
/// are numbered in 31 bits, and so are cells.
template <class Space, int Dim>
[[nodiscard]] bool fits_cells(CoordinateBox<Dim> const& box, std::int64_t most)
{
  constexpr std::int64_t numbers = INT32_MAX;
  constexpr std::int64_t always = 1 << 17;  // 16 KB of bits are less work than a launch
  auto const limit = std::min(numbers, always + cells_per_output<Space> * std::min(most, numbers));
  return num_cells(box, limit + 1) <= limit;
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
  auto const indexer = make_grid_indexer(rule.box);
  auto const num_groups = (num_cells(rule.box, INT32_MAX) - 1) / OccupancyBitmap::cells_of_group + 1;
  Buffer<std::uint32_t, Space> words{num_groups * OccupancyBitmap::group, exec};
  Buffer<std::int32_t, Space> before{num_groups + 1, exec};
  OccupancyBitmap const cells{words.data(), before.data(), num_groups};
  fill_bytes(words, 0, exec);
  for_each(set.capacity() * rule.num_parts(),
           MarkOutputs<Dim, Downsample>{set.view(), set.box(), rule, indexer, cells, access(set).errors()},
           exec);
  for_each(num_groups + 1, CountCells{cells}, exec);
  Scan<Space>::exclusive(cells.before, cells.before, num_groups + 1, exec);
  typename CoordinateSet<Dim, Space>::Rows rows;
  auto box = rule.box;
  if (set.fixed_capacity()) {
    rows = {{room, exec}, {1, exec}};
  } else {
    Buffer<BoundsAndCount<Dim>, Space> statistics{1, exec};
    for_each(1, StoreValue<BoundsAndCount<Dim>>{statistics.data(), {}}, exec);
    auto const workers = std::min(cells.num_words(), bounds_workers);
    for_each(workers, DescribeCells<Dim>{indexer, cells, workers, access(set).errors(), statistics.data()},
             exec);
    auto const found = download(statistics, exec)[0];
    report(found.errors);
    rows = {{found.count, exec}};
    box = found.box();
    box.batches = set.box().batches;
  }
  for_each(std::max(cells.num_words(), rows.rows.size()),
           WriteCells<Dim>{indexer, cells, rows.rows.data(), rows.rows.size(), rows.count.data(),
                           access(set).errors()},
           exec);
  return set.derive(std::move(rows), box, options, exec);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
