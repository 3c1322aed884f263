// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate_set.hpp>
#include <tessera/coords/detail/batch_entries.hpp>
#include <tessera/core/buffer.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/ops/detail/reduce_entries.hpp>
#include <tessera/ops/row_statistics.hpp>

#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Number, mean and squared distances of a feature.
template <class Scalar>
struct MomentsOfRows {
  using Sum = accumulator_t<Scalar>;
  using Value = ops::Moments<Sum>;
  static constexpr int pack = pack_size<Scalar>;
  [[nodiscard]] TESSERA_HOST_DEVICE static constexpr Value identity() { return {}; }

  Scalar const* features;  // [rows, channels]
  int channels;

  [[nodiscard]] bool in_packs() const { return moves_in_packs(features, channels); }
  [[nodiscard]] TESSERA_HOST_DEVICE static Value combine(Value a, Value const& b)
  {
    a.merge(b);
    return a;
  }

  /// Row after row, with one division for all channels. (Sums of distances from the first row and of their squares
  /// need none, but lose digits where that row is far from the others: ten times the error on 20 rows after a ReLU.)
  /// Source: Welford 1962.
  template <int Size>
  struct Part {
    MomentsOfRows of;
    int channel;
    Sum count = 0;
    Sum mean[Size] = {};
    Sum m2[Size] = {};

    TESSERA_HOST_DEVICE Part(MomentsOfRows const& term, int, int own) : of{term}, channel{own} {}
    [[nodiscard]] TESSERA_HOST_DEVICE Pack<Scalar, Size> load(std::int64_t row) const
    {
      return load_pack<Size>(of.features + row * of.channels + channel);
    }
    TESSERA_HOST_DEVICE void add(Pack<Scalar, Size> const& x)
    {
      count += Sum{1};
      auto const share = Sum{1} / count;
      for (int j = 0; j < Size; ++j) {
        auto const value = static_cast<Sum>(x.values[j]);
        auto const distance = value - mean[j];
        mean[j] += distance * share;
        m2[j] += distance * (value - mean[j]);
      }
    }
    [[nodiscard]] TESSERA_HOST_DEVICE Value value(int j) const { return {count, mean[j], m2[j]}; }
  };
};

/// The largest feature; NaN if there is one.
template <class Scalar>
struct LargestOfRows {
  using Value = accumulator_t<Scalar>;
  static constexpr int pack = 1;
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
  static constexpr int pack = 1;
  [[nodiscard]] TESSERA_HOST_DEVICE static constexpr Value identity() { return 0; }

  [[nodiscard]] TESSERA_HOST_DEVICE static Value at(std::int64_t, int, int) { return 1; }
  [[nodiscard]] TESSERA_HOST_DEVICE static Value combine(Value a, Value b) { return a + b; }
};

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
