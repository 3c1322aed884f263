// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate_set.hpp>
#include <tessera/coords/detail/batch_entries.hpp>
#include <tessera/core/buffer.hpp>
#include <tessera/core/int_array.hpp>
#include <tessera/core/parallel.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/ops/row_statistics.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>

namespace tessera {
inline namespace v0 {
namespace detail {

// --- what is gathered over the rows of a batch entry, channel by channel -----------------------------------

/// The sum of a feature.
template <class Scalar>
struct SumOfRows {
  using Value = accumulator_t<Scalar>;
  [[nodiscard]] TESSERA_HOST_DEVICE static constexpr Value identity() { return Value{0}; }

  Scalar const* features;  // [rows, channels]
  int channels;

  [[nodiscard]] TESSERA_HOST_DEVICE Value at(std::int64_t row, int, int channel) const
  {
    return static_cast<Value>(features[row * channels + channel]);
  }
  [[nodiscard]] TESSERA_HOST_DEVICE static Value combine(Value a, Value b) { return a + b; }
};

/// Number, mean and squared distances of a feature.
template <class Scalar>
struct MomentsOfRows {
  using Value = ops::Moments<accumulator_t<Scalar>>;
  [[nodiscard]] TESSERA_HOST_DEVICE static constexpr Value identity() { return {}; }

  Scalar const* features;  // [rows, channels]
  int channels;

  [[nodiscard]] TESSERA_HOST_DEVICE Value at(std::int64_t row, int, int channel) const
  {
    using Sum = accumulator_t<Scalar>;
    return {Sum{1}, static_cast<Sum>(features[row * channels + channel]), Sum{0}};
  }
  [[nodiscard]] TESSERA_HOST_DEVICE static Value combine(Value a, Value const& b)
  {
    a.merge(b);
    return a;
  }
};

/// The largest feature; NaN if there is one.
template <class Scalar>
struct LargestOfRows {
  using Value = accumulator_t<Scalar>;
  static constexpr Value below_all = -std::numeric_limits<Value>::infinity();
  [[nodiscard]] TESSERA_HOST_DEVICE static constexpr Value identity() { return below_all; }

  Scalar const* features;  // [rows, channels]
  int channels;

  [[nodiscard]] TESSERA_HOST_DEVICE Value at(std::int64_t row, int, int channel) const
  {
    return static_cast<Value>(features[row * channels + channel]);
  }
  [[nodiscard]] TESSERA_HOST_DEVICE static Value combine(Value a, Value b) { return larger_or_nan(a, b); }
};

/// The number of rows.
struct NumberOfRows {
  using Value = std::int32_t;
  [[nodiscard]] TESSERA_HOST_DEVICE static constexpr Value identity() { return 0; }

  [[nodiscard]] TESSERA_HOST_DEVICE static Value at(std::int64_t, int, int) { return 1; }
  [[nodiscard]] TESSERA_HOST_DEVICE static Value combine(Value a, Value b) { return a + b; }
};

// --- the reduction -----------------------------------------------------------------------------------------

/// Gathers one channel over one slab of rows, for every batch entry; item number n is (slab, channel).
template <int Dim, class Term>
struct ReduceSlab {
  using Value = typename Term::Value;

  Term term;
  Coordinate<Dim> const* coordinates;  // [rows], or null: all rows are of entry 0
  Value* partials;                     // [slabs, batches, channels]
  RowCount rows;
  std::int64_t rows_per_slab;
  int batches;
  int channels;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    auto const slab = n / channels;
    auto const channel = static_cast<int>(n - slab * channels);
    auto* const own = partials + slab * batches * channels + channel;  // nobody else writes these
    for (int b = 0; b < batches; ++b) { own[std::int64_t{b} * channels] = Term::identity(); }
    auto const begin = slab * rows_per_slab;
    auto const end = begin + rows_per_slab < rows.size() ? begin + rows_per_slab : rows.size();
    int current = 0;
    Value value = Term::identity();
    for (auto row = begin; row < end; ++row) {
      int const batch = coordinates != nullptr ? coordinates[row].batch : 0;
      if (batch < 0 || batch >= batches) { continue; }  // outside the range; CoordinateSet::check() tells
      if (batch != current) {
        own[std::int64_t{current} * channels] = value;
        value = own[std::int64_t{batch} * channels];
        current = batch;
      }
      value = Term::combine(value, term.at(row, batch, channel));
    }
    own[std::int64_t{current} * channels] = value;
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

/// Rows that one thread gathers: a number of used rows that depends on the batch entries alone, never on how
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
  for_each(slabs * channels,
           ReduceSlab<Dim, Term>{term, coordinates, values.data(), rows, rows_each, batches, channels}, exec);
  while (slabs > 1) {
    auto const groups = ceil_div(slabs, CombineSlabs<Term>::fan_in);
    Buffer<Value, Space> joined{groups * width, exec};
    for_each(groups * width, CombineSlabs<Term>{values.data(), joined.data(), slabs, width}, exec);
    values = std::move(joined);
    slabs = groups;
  }
  return values;
}

/// The rows of each batch entry of a set.
template <class Space>
struct RowsOfEntriesKey {
  using Value = Buffer<std::int32_t, Space>;
  friend bool operator==(RowsOfEntriesKey, RowsOfEntriesKey) { return true; }
};

/// Rows of each batch entry, [num_batches]; counted once and kept by the set. `who` begins an error's
/// sentence.
/// @throws invalid_argument  more batch entries than most_entries(): whoever counts them has memory for each
template <int Dim, class Space>
[[nodiscard]] std::shared_ptr<Buffer<std::int32_t, Space>> rows_of_entries(CoordinateSet<Dim, Space>& set,
                                                                           char const* who,
                                                                           Execution<Space> const& exec)
{
  check_num_entries(set.num_batches(), set.capacity(), who);
  std::lock_guard lock{access(set).mutex()};
  return access(set).cache().get_or_make(RowsOfEntriesKey<Space>{}, [&] {
    return std::make_shared<Buffer<std::int32_t, Space>>(
        reduce_rows(NumberOfRows{}, set.data(), set.row_count(), set.num_batches(), 1, exec));
  });
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
