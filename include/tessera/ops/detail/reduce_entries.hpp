// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate.hpp>
#include <tessera/coords/detail/reduce_rows.hpp>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Gathers one channel over one slab of rows, for every batch entry; item number n is (slab, channel).
template <int Dim, class Term>
struct ReduceEntries {
  using Value = typename Term::Value;

  Term term;
  Coordinate<Dim> const* coordinates;  // [rows]
  Value* partials;                     // [slabs, batches, channels]
  RowCount rows;
  std::int64_t rows_per_slab;
  int batches;
  int channels;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    using Part = typename PartOfTerm<Term, 1>::type;
    auto const slab = n / channels;
    auto const channel = static_cast<int>(n - slab * channels);
    auto* const own = partials + slab * batches * channels + channel;  // nobody else writes these
    for (int b = 0; b < batches; ++b) { own[std::int64_t{b} * channels] = Term::identity(); }
    auto const begin = slab * rows_per_slab;
    auto const end = begin + rows_per_slab < rows.size() ? begin + rows_per_slab : rows.size();
    int current = 0;
    Part part{term, current, channel};
    auto const leave = [&] {
      auto& of_entry = own[std::int64_t{current} * channels];
      of_entry = Term::combine(of_entry, part.value(0));
    };
    for (auto row = begin; row < end; ++row) {
      int const batch = coordinates[row].batch;
      if (batch < 0 || batch >= batches) { continue; }  // outside the range; CoordinateSet::check() tells
      if (batch != current) {
        leave();
        current = batch;
        part = Part{term, current, channel};
      }
      part.add(part.load(row));
    }
    leave();
  }
};

/// to[group, j] = from[group * fan_in, j] combined with those of the next fan_in - 1 slabs, in order.
template <class Term>
struct CombineSlabs {
  using Value = typename Term::Value;
  static constexpr int fan_in = 64;

  Value const* from;  // [slabs, width]
  Value* to;          // [ceil(slabs / fan_in), width]
  std::int64_t slabs;
  std::int64_t width;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    auto const group = n / width;
    auto const first = group * fan_in;
    auto const last = first + fan_in < slabs ? first + fan_in : slabs;
    Value value = Term::identity();
    for (auto slab = first; slab < last; ++slab) {
      value = Term::combine(value, from[slab * width + (n - group * width)]);
    }
    to[n] = value;
  }
};

/// Rows that one item gathers: a number of used rows that depends on the batch entries alone, never on how
/// much room there is, so that a plan gives the bits of an eager call. Partial results take up to a quarter
/// of the features' elements.
[[nodiscard]] inline std::int64_t rows_per_slab(int batches)
{
  constexpr std::int64_t rows = 32;
  return rows * std::max<std::int64_t>(1, ceil_div(batches, 8));
}

/// `result[b, c] =` what `term` gathers over the rows of batch entry b, for every channel c.
///
/// @param coordinates  [rows], or null: there is one entry, or no row
/// Cost: one pass over the features; 1 / 32 of their elements as workspace, up to 1 / 4 with many batch
/// entries.
/// Stream: enqueues a few kernels, does not wait.
/// Determinism: as reduce_rows() of one entry; rows of an entry are taken in their order.
template <int Dim, class Term, class Space>
[[nodiscard]] Buffer<typename Term::Value, Space> reduce_rows(Term const& term,
                                                              Coordinate<Dim> const* coordinates,
                                                              RowCount const& rows, int batches, int channels,
                                                              Execution<Space> const& exec)
{
  using Value = typename Term::Value;
  if (coordinates == nullptr && batches == 1) { return reduce_rows(term, rows, channels, exec); }
  auto const width = std::int64_t{batches} * channels;
  if (width == 0) { return {}; }
  auto const rows_each = rows_per_slab(batches);
  auto slabs = std::max<std::int64_t>(1, ceil_div(rows.capacity, rows_each));
  Buffer<Value, Space> values{slabs * width, exec};
  for_each(slabs * channels,
           ReduceEntries<Dim, Term>{term, coordinates, values.data(), rows, rows_each, batches, channels},
           exec);
  while (slabs > 1) {
    auto const groups = ceil_div(slabs, CombineSlabs<Term>::fan_in);
    Buffer<Value, Space> joined{groups * width, exec};
    for_each(groups * width, CombineSlabs<Term>{values.data(), joined.data(), slabs, width}, exec);
    values = std::move(joined);
    slabs = groups;
  }
  return values;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
