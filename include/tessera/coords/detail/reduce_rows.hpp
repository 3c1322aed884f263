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

// What is gathered over rows, channel by channel, is a term: its `Value`, of no rows `identity()`, of two parts of
// the rows `combine(a, b)`. `Part<Size>{term, batch, channel}` gathers `Size` channels from the one given on over
// rows of one batch entry: `add(load(row))`, then `value(j)` for each of the channels. `pack` is the largest Size,
// which serves where `in_packs()`; a term that has `at(row, batch, channel)` instead of parts has a pack of 1.

/// The parts of terms that read one channel at a time.
template <class Term>
struct PartOfOneChannel {
  using Value = typename Term::Value;

  Term term;
  int batch;
  int channel;
  Value gathered = Term::identity();

  TESSERA_HOST_DEVICE PartOfOneChannel(Term const& of, int entry, int own)
      : term{of}, batch{entry}, channel{own}
  {}
  [[nodiscard]] TESSERA_HOST_DEVICE Value load(std::int64_t row) const
  {
    return term.at(row, batch, channel);
  }
  TESSERA_HOST_DEVICE void add(Value const& of_row) { gathered = Term::combine(gathered, of_row); }
  [[nodiscard]] TESSERA_HOST_DEVICE Value value(int) const { return gathered; }
};

template <class Term, int Size, class = void>
struct PartOfTerm {
  using type = PartOfOneChannel<Term>;
};
template <class Term, int Size>
struct PartOfTerm<Term, Size, std::enable_if_t<(Term::pack > 1)>> {
  using type = typename Term::template Part<Size>;
};

/// The sum of a feature.
template <class Scalar>
struct SumOfRows {
  using Value = accumulator_t<Scalar>;
  static constexpr int pack = pack_size<Scalar>;
  [[nodiscard]] TESSERA_HOST_DEVICE static constexpr Value identity() { return Value{0}; }
  [[nodiscard]] TESSERA_HOST_DEVICE static Value combine(Value a, Value b) { return a + b; }

  Scalar const* features;  // [rows, channels]
  int channels;

  [[nodiscard]] bool in_packs() const { return moves_in_packs(features, channels); }

  template <int Size>
  struct Part {
    SumOfRows of;
    int channel;
    Value sums[Size] = {};

    TESSERA_HOST_DEVICE Part(SumOfRows const& term, int, int own) : of{term}, channel{own} {}
    [[nodiscard]] TESSERA_HOST_DEVICE Pack<Scalar, Size> load(std::int64_t row) const
    {
      return load_pack<Size>(of.features + row * of.channels + channel);
    }
    TESSERA_HOST_DEVICE void add(Pack<Scalar, Size> const& x)
    {
      for (int j = 0; j < Size; ++j) { sums[j] += static_cast<Value>(x.values[j]); }
    }
    [[nodiscard]] TESSERA_HOST_DEVICE Value value(int j) const { return sums[j]; }
  };
};

/// Adds rows to a part, of which four are loaded at once.
template <class Part>
TESSERA_HOST_DEVICE void add_rows(Part& part, std::int64_t begin, std::int64_t end)
{
  constexpr int ahead = 4;
  using Row = decltype(part.load(begin));
  auto row = begin;
  for (; row + ahead <= end; row += ahead) {
    Row const rows[ahead] = {part.load(row), part.load(row + 1), part.load(row + 2), part.load(row + 3)};
    for (auto const& of_row : rows) { part.add(of_row); }
  }
  for (; row < end; ++row) { part.add(part.load(row)); }
}

/// Gathers a pack of channels over a slab of rows that are all of one entry; item number n is (slab, pack).
template <class Term, int Size>
struct ReduceRows {
  static constexpr int parts = 16;
  static constexpr int rows_per_part = 16;
  static constexpr int rows_per_slab = parts * rows_per_part;  // used ones: room for more changes no bit
  struct Value {
    typename Term::Value of[Size];
  };

  Term term;
  typename Term::Value* partials;  // [slabs, channels]
  RowCount rows;
  int channels;

  [[nodiscard]] TESSERA_HOST_DEVICE Value part(std::int64_t n, int p) const
  {
    auto const slab = divide(static_cast<long long>(n), channels / Size);
    auto const channel = static_cast<int>(n - slab * (channels / Size)) * Size;
    typename PartOfTerm<Term, Size>::type own{term, 0, channel};
    auto const begin = slab * rows_per_slab + p * rows_per_part;
    auto const end = begin + rows_per_part < rows.size() ? begin + rows_per_part : rows.size();
    add_rows(own, begin, end);
    Value result;
    for (int j = 0; j < Size; ++j) { result.of[j] = own.value(j); }
    return result;
  }
  [[nodiscard]] TESSERA_HOST_DEVICE static Value combine(Value a, Value const& b)
  {
    for (int j = 0; j < Size; ++j) { a.of[j] = Term::combine(a.of[j], b.of[j]); }
    return a;
  }
  TESSERA_HOST_DEVICE void finish(std::int64_t n, Value const& value) const
  {
    for (int j = 0; j < Size; ++j) { partials[n * Size + j] = value.of[j]; }
  }
};

/// to[group, j] = what up to 1,024 slabs have; every 16th is of one part, so that few slabs keep all parts busy.
template <class Term>
struct ReduceSlabs {
  using Value = typename Term::Value;
  static constexpr int parts = 16;
  static constexpr int fan_in = 64 * parts;

  Value const* from;  // [slabs, width]
  Value* to;          // [ceil(slabs / fan_in), width]
  std::int64_t slabs;
  std::int64_t width;

  struct Column {
    Value const* from;
    std::int64_t width;
    Value gathered = Term::identity();

    [[nodiscard]] TESSERA_HOST_DEVICE Value load(std::int64_t step) const
    {
      return from[step * parts * width];
    }
    TESSERA_HOST_DEVICE void add(Value const& slab) { gathered = Term::combine(gathered, slab); }
  };
  [[nodiscard]] TESSERA_HOST_DEVICE Value part(std::int64_t n, int p) const
  {
    auto const group = n / width;
    auto const first = group * fan_in + p;
    auto const last = (group + 1) * fan_in < slabs ? (group + 1) * fan_in : slabs;
    Column column{from + first * width + (n - group * width), width};
    add_rows(column, 0, first < last ? (last - first + parts - 1) / parts : 0);
    return column.gathered;
  }
  [[nodiscard]] TESSERA_HOST_DEVICE static Value combine(Value const& a, Value const& b)
  {
    return Term::combine(a, b);
  }
  TESSERA_HOST_DEVICE void finish(std::int64_t n, Value const& value) const { to[n] = value; }
};

/// `result[c] =` what `term` gathers over the rows, which are all of one entry, for every channel c.
///
/// Cost: one pass over the features; 1 / 256 of their elements as workspace.
/// Stream: enqueues two kernels, more beyond 262,144 rows; does not wait.
/// Determinism: the bits are the same on every run, for any number of threads and any capacity (but not for
/// another order of the rows).
template <class Term, class Space>
[[nodiscard]] Buffer<typename Term::Value, Space> reduce_rows(Term const& term, RowCount const& rows,
                                                              int channels, Execution<Space> const& exec)
{
  using Value = typename Term::Value;
  if (channels == 0) { return {}; }
  constexpr std::int64_t rows_per_slab = ReduceRows<Term, 1>::rows_per_slab;
  auto slabs = std::max<std::int64_t>(1, ceil_div(rows.capacity, rows_per_slab));
  Buffer<Value, Space> values{slabs * channels, exec};
  auto const reduce = [&](auto size) {
    using Body = ReduceRows<Term, size()>;
    for_each_reduction(slabs * (channels / size()), Body{term, values.data(), rows, channels}, exec);
  };
  bool in_packs = false;
  if constexpr (Term::pack > 1) {
    in_packs = channels % Term::pack == 0 && term.in_packs();
    if (in_packs) { reduce(std::integral_constant<int, Term::pack>{}); }
  }
  if (!in_packs) { reduce(std::integral_constant<int, 1>{}); }
  while (slabs > 1) {
    auto const groups = ceil_div(slabs, ReduceSlabs<Term>::fan_in);
    Buffer<Value, Space> joined{groups * channels, exec};
    for_each_reduction(groups * channels, ReduceSlabs<Term>{values.data(), joined.data(), slabs, channels},
                       exec);
    values = std::move(joined);
    slabs = groups;
  }
  return values;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
