// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate.hpp>
#include <tessera/core/buffer.hpp>
#include <tessera/core/detail/pack.hpp>
#include <tessera/core/int_array.hpp>
#include <tessera/core/parallel.hpp>
#include <tessera/core/row_count.hpp>
#include <tessera/core/scalar.hpp>

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

// What is gathered over the rows of a batch entry, channel by channel, is a term: its `Value`, of no rows
// `identity()`, of rows and those after them `combine(a, b)`. A term that reads one channel at a time gives that of
// a row by `at(row, batch, channel)`. One that can read `pack` channels at once adds a row to those gathered before
// it by `add(to, row, batch, first_channel)`, for one channel as well, and says by `in_packs()` whether it can.

/// The sum of a feature.
template <class Scalar>
struct SumOfRows {
  using Value = accumulator_t<Scalar>;
  static constexpr int pack = pack_size<Scalar>;
  [[nodiscard]] TESSERA_HOST_DEVICE static constexpr Value identity() { return Value{0}; }

  Scalar const* features;  // [rows, channels]
  int channels;

  [[nodiscard]] bool in_packs() const { return moves_in_packs(features, channels); }
  template <int Size>
  TESSERA_HOST_DEVICE void add(Value (&to)[Size], std::int64_t row, int, int channel) const
  {
    auto const x = load_pack<Size>(features + row * channels + channel);
    for (int j = 0; j < Size; ++j) { to[j] += static_cast<Value>(x.values[j]); }
  }
  [[nodiscard]] TESSERA_HOST_DEVICE static Value combine(Value a, Value b) { return a + b; }
};

/// Gathers a pack of channels over one slab of rows, for every batch entry; item number n is (slab, pack).
template <int Dim, class Term, int Size>
struct ReduceSlab {
  using Value = typename Term::Value;
  static constexpr int rows_ahead = 4;  // whose loads are under way at once

  Term term;
  Coordinate<Dim> const* coordinates;  // [rows], or null: all rows are of entry 0
  Value* partials;                     // [slabs, batches, channels]
  RowCount rows;
  std::int64_t rows_per_slab;
  int batches;
  int channels;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    std::int64_t const slab = divide(static_cast<long long>(n), channels / Size);
    auto const channel = static_cast<int>(n - slab * (channels / Size)) * Size;
    auto* const own = partials + slab * batches * channels + channel;  // nobody else writes these
    Value value[Size];
    for (int j = 0; j < Size; ++j) { value[j] = Term::identity(); }
    for (int b = 0; b < batches; ++b) { store(value, own, b); }
    auto const begin = slab * rows_per_slab;
    auto const end = begin + rows_per_slab < rows.size() ? begin + rows_per_slab : rows.size();
    if (coordinates == nullptr) {
      add_rows(value, channel, begin, end);
      store(value, own, 0);
    } else {
      add_rows_by_entry(value, own, channel, begin, end);
    }
  }

 private:
  TESSERA_HOST_DEVICE void add_row(Value (&to)[Size], std::int64_t row, int batch, int channel) const
  {
    if constexpr (Term::pack > 1) {
      term.add(to, row, batch, channel);
    } else {
      to[0] = Term::combine(to[0], term.at(row, batch, channel));
    }
  }
  TESSERA_HOST_DEVICE void add_rows(Value (&to)[Size], int channel, std::int64_t begin,
                                    std::int64_t end) const
  {
    auto row = begin;
    for (; row + rows_ahead <= end; row += rows_ahead) {
      for (int i = 0; i < rows_ahead; ++i) { add_row(to, row + i, 0, channel); }
    }
    for (; row < end; ++row) { add_row(to, row, 0, channel); }
  }
  TESSERA_HOST_DEVICE void add_rows_by_entry(Value (&value)[Size], Value* own, int channel,
                                             std::int64_t begin, std::int64_t end) const
  {
    int current = 0;
    for (auto row = begin; row < end; ++row) {
      int const batch = coordinates[row].batch;
      if (batch < 0 || batch >= batches) { continue; }  // outside the range; CoordinateSet::check() tells
      if (batch != current) {
        store(value, own, current);
        for (int j = 0; j < Size; ++j) { value[j] = own[std::int64_t{batch} * channels + j]; }
        current = batch;
      }
      add_row(value, row, batch, channel);
    }
    store(value, own, current);
  }
  TESSERA_HOST_DEVICE void store(Value const (&value)[Size], Value* own, int batch) const
  {
    for (int j = 0; j < Size; ++j) { own[std::int64_t{batch} * channels + j] = value[j]; }
  }
};

/// to[group, j] = from[group * fan_in, j] combined with those of the next fan_in - 1 slabs, in order.
template <class Term>
struct CombineSlabs {
  using Value = typename Term::Value;
  static constexpr int fan_in = 64;
  static constexpr int slabs_ahead = 8;  // whose loads are under way at once

  Value const* from;  // [slabs, width]
  Value* to;          // [ceil(slabs / fan_in), width]
  std::int64_t slabs;
  std::int64_t width;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    auto const group = n / width;
    auto const* const column = from + (n - group * width);
    auto slab = group * fan_in;
    auto const last = slab + fan_in < slabs ? slab + fan_in : slabs;
    Value value = Term::identity();
    for (; slab + slabs_ahead <= last; slab += slabs_ahead) {
      Value next[slabs_ahead];
      for (int i = 0; i < slabs_ahead; ++i) { next[i] = column[(slab + i) * width]; }
      for (int i = 0; i < slabs_ahead; ++i) { value = Term::combine(value, next[i]); }
    }
    for (; slab < last; ++slab) { value = Term::combine(value, column[slab * width]); }
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
/// Cost: one pass over the features; 1 / 32 of their elements as workspace, up to 1 / 4 with many batch
/// entries.
/// Stream: enqueues a few kernels, does not wait.
/// Determinism: the bits are the same on every run, for any number of threads and any capacity (but not for
/// another order of the rows).
template <int Dim, class Term, class Space>
[[nodiscard]] Buffer<typename Term::Value, Space> reduce_rows(Term const& term,
                                                              Coordinate<Dim> const* coordinates,
                                                              RowCount const& rows, int batches, int channels,
                                                              Execution<Space> const& exec)
{
  using Value = typename Term::Value;
  auto const width = std::int64_t{batches} * channels;
  if (width == 0) { return {}; }
  auto const rows_each = rows_per_slab(batches);
  auto slabs = std::max<std::int64_t>(1, ceil_div(rows.capacity, rows_each));
  Buffer<Value, Space> values{slabs * width, exec};
  auto const reduce_slabs = [&](auto size) {
    using Body = ReduceSlab<Dim, Term, size()>;
    for_each(slabs * (channels / size()),
             Body{term, coordinates, values.data(), rows, rows_each, batches, channels}, exec);
  };
  bool in_packs = false;
  if constexpr (Term::pack > 1) {
    in_packs = channels % Term::pack == 0 && term.in_packs();
    if (in_packs) { reduce_slabs(std::integral_constant<int, Term::pack>{}); }
  }
  if (!in_packs) { reduce_slabs(std::integral_constant<int, 1>{}); }
  while (slabs > 1) {
    auto const groups = ceil_div(slabs, CombineSlabs<Term>::fan_in);
    Buffer<Value, Space> joined{groups * width, exec};
    for_each(groups * width, CombineSlabs<Term>{values.data(), joined.data(), slabs, width}, exec);
    values = std::move(joined);
    slabs = groups;
  }
  return values;
}

/// The same of rows that are all of one entry: `result[c]`.
template <class Term, class Space>
[[nodiscard]] Buffer<typename Term::Value, Space> reduce_rows(Term const& term, RowCount const& rows,
                                                              int channels, Execution<Space> const& exec)
{
  Coordinate<3> const* const one_entry = nullptr;  // the dimension does not matter
  return reduce_rows(term, one_entry, rows, 1, channels, exec);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
