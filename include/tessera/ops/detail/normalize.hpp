// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/detail/elementwise.hpp>
#include <tessera/ops/detail/row_terms.hpp>

#include <cmath>
#include <type_traits>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// What rows are normalised by; statistics belong to (batch entry, group of channels).
template <int Dim, class Sum>
struct Normalization {
  Coordinate<Dim> const* coordinates = nullptr;  // [rows], or null: all rows are of entry 0
  Sum const* mean = nullptr;                     // [batches, groups]
  Sum const* variance = nullptr;                 // [batches, groups]
  Sum const* weight = nullptr;                   // [channels], or null: ones
  Sum const* bias = nullptr;                     // [channels], or null: zeros
  Sum epsilon = 0;
  int batches = 1;
  int groups = 1;
  int channels_per_group = 1;
};

/// Mean and factor of a pack of channels, for rows that follow each other: they are read, and the root is taken,
/// where a row is of another batch entry than the one before it.
template <int Dim, class Sum, int Size>
struct NormalizationOfPack {
  Normalization<Dim, Sum> by;
  int first_channel;
  int batch = -1;
  Sum mean[Size] = {};
  Sum scale[Size] = {};

  TESSERA_HOST_DEVICE NormalizationOfPack(Normalization<Dim, Sum> const& normalization, int channel)
      : by{normalization}, first_channel{channel}
  {}

  /// Goes to a row; `changed(j, channel, statistic)` is called for each channel whose statistics are others now.
  template <class Changed>
  TESSERA_HOST_DEVICE void enter(std::int64_t row, Changed const& changed)
  {
    using std::sqrt;
    int of_row = by.coordinates != nullptr ? by.coordinates[row].batch : 0;
    if (of_row < 0 || of_row >= by.batches) {
      of_row = 0;
    }  // outside the range; CoordinateSet::check() tells
    if (of_row == batch) { return; }
    batch = of_row;
    for (int j = 0; j < Size; ++j) {
      auto const channel = first_channel + j;
      auto const statistic = std::int64_t{batch} * by.groups + channel / by.channels_per_group;
      auto const root = sqrt(by.variance[statistic] + by.epsilon);
      mean[j] = by.mean[statistic];
      scale[j] = (by.weight != nullptr ? by.weight[channel] : Sum{1}) / root;
      changed(j, channel, statistic);
    }
  }
};

/// Rows that one item of a normalisation has, of one pack of channels, and those of them whose loads are under
/// way at once. The roots of a pack's channels cost as much as eight of its rows.
inline constexpr int normalized_rows_per_item = 16;
inline constexpr int normalized_rows_ahead = 4;

/// The pack of channels and the rows of item number n.
struct NormalizedBlock {
  int first_channel;
  std::int64_t begin;
  std::int64_t end;

  TESSERA_HOST_DEVICE NormalizedBlock(std::int64_t n, std::int64_t rows, int channels, int size)
  {
    auto const packs = channels / size;
    auto const block = n / packs;
    first_channel = static_cast<int>(n - block * packs) * size;
    begin = block * normalized_rows_per_item;
    end = begin + normalized_rows_per_item < rows ? begin + normalized_rows_per_item : rows;
  }
};

/// y[i, c] = (x[i, c] - mean) / sqrt(variance + epsilon) * weight[c] + bias[c]; item number n is a
/// NormalizedBlock.
template <int Dim, class Scalar, int Size>
struct NormalizeRows {
  using Sum = accumulator_t<Scalar>;

  Normalization<Dim, Sum> by;
  Scalar const* x;  // [rows, channels]
  Scalar* y;        // [rows, channels]
  std::int64_t rows;
  int channels;

  [[nodiscard]] TESSERA_HOST_DEVICE Pack<Scalar, Size> load(std::int64_t row, int channel) const
  {
    return load_pack<Size>(x + row * channels + channel);
  }

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    NormalizedBlock const block{n, rows, channels, Size};
    NormalizationOfPack<Dim, Sum, Size> of_pack{by, block.first_channel};
    Sum bias[Size] = {};
    auto const normalize_row = [&](std::int64_t row, Pack<Scalar, Size> pack) {
      of_pack.enter(row, [&](int j, int channel, std::int64_t) {
        bias[j] = by.bias != nullptr ? by.bias[channel] : Sum{0};
      });
      for (int j = 0; j < Size; ++j) {
        auto const centred = static_cast<Sum>(pack.values[j]) - of_pack.mean[j];
        pack.values[j] = static_cast<Scalar>(centred * of_pack.scale[j] + bias[j]);
      }
      store_pack(y + row * channels + block.first_channel, pack);
    };
    auto row = block.begin;
    for (; row + normalized_rows_ahead <= block.end; row += normalized_rows_ahead) {
      Pack<Scalar, Size> packs[normalized_rows_ahead];
      for (int i = 0; i < normalized_rows_ahead; ++i) { packs[i] = load(row + i, block.first_channel); }
      for (int i = 0; i < normalized_rows_ahead; ++i) { normalize_row(row + i, packs[i]); }
    }
    for (; row < block.end; ++row) { normalize_row(row, load(row, block.first_channel)); }
  }
};

/// A new matrix of normalised rows.
/// Stream: enqueues one kernel, does not wait.
template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> normalize(MatrixView<Scalar const> const& x,
                                              Normalization<Dim, accumulator_t<Scalar>> const& by,
                                              Execution<Space> const& exec)
{
  Matrix<Scalar, Space> y{x.rows, x.columns, exec};
  with_pack_size<Scalar>(moves_in_packs(x.data, x.columns), [&](auto size) {
    using Body = NormalizeRows<Dim, Scalar, size()>;
    auto const blocks = ceil_div(x.rows, normalized_rows_per_item);
    for_each(blocks * (x.columns / size()), Body{by, x.data, y.data(), x.rows, static_cast<int>(x.columns)},
             exec);
  });
  return y;
}

/// running = (1 - momentum) running + momentum * statistic, the variance made unbiased. Fewer than two rows
/// have no variance: the running statistics stay, and one row is noted as an error.
template <class Sum>
struct UpdateRunning {
  Sum* mean = nullptr;              // [channels], or null: there are none
  Sum* variance = nullptr;          // [channels]
  std::uint32_t* errors = nullptr;  // or null
  Sum momentum = 0;

  TESSERA_HOST_DEVICE void operator()(std::int64_t c, ops::Moments<Sum> const& batch) const
  {
    if (batch.count < 2) {
      if (batch.count == 1 && c == 0 && errors != nullptr) {
        atomic_or(errors, std::uint32_t{DataError::too_few_rows});
      }
      return;
    }
    if (mean == nullptr) { return; }
    mean[c] = (Sum{1} - momentum) * mean[c] + momentum * batch.mean;
    variance[c] = (Sum{1} - momentum) * variance[c] + momentum * (batch.m2 / (batch.count - Sum{1}));
  }
};

/// Merges what ranks and channels of (batch entry, group) have; item number n is one of them.
template <class Sum>
struct FinishStatistics {
  ops::Moments<Sum> const* moments;  // [ranks, values * channels_per_group]
  Sum* mean;                         // [values]
  Sum* variance;                     // [values]
  Sum* count;                        // [values]
  std::int64_t values;
  int ranks;
  int channels_per_group;
  UpdateRunning<Sum> update;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    ops::Moments<Sum> all;
    for (int rank = 0; rank < ranks; ++rank) {
      for (int c = 0; c < channels_per_group; ++c) {
        all.merge(moments[(rank * values + n) * channels_per_group + c]);
      }
    }
    mean[n] = all.mean;
    variance[n] = all.count > 0 ? all.m2 / all.count : Sum{0};
    count[n] = all.count;
    update(n, all);
  }
};

/// @param rows         of `x` that are in use
/// @param coordinates  [rows], or null: all rows are of one entry
/// @param update       the running statistics of as many groups, which those of the rows are added to
/// @param exchange     merges the statistics of several processes, or null
/// Cost: one pass over the features.
/// Stream: enqueues, does not wait.
/// Determinism: as reduce_rows().
template <int Dim, class Scalar, class Space>
[[nodiscard]] ops::RowStatistics<accumulator_t<Scalar>, Space> row_statistics(
    MatrixView<Scalar const> const& x, RowCount const& rows, Coordinate<Dim> const* coordinates, int batches,
    int groups, UpdateRunning<accumulator_t<Scalar>> const& update, ExchangeArgument<Space> exchange,
    Execution<Space> const& exec)
{
  using Sum = accumulator_t<Scalar>;
  using Moments = ops::Moments<Sum>;
  auto const channels = static_cast<int>(x.columns);
  auto const values = std::int64_t{batches} * groups;
  ops::RowStatistics<Sum, Space> result{{values, exec}, {values, exec}, {values, exec}};
  auto const moments =
      reduce_rows(MomentsOfRows<Scalar>{x.data, channels}, coordinates, rows, batches, channels, exec);
  FinishStatistics<Sum> finish{moments.data(),
                               result.mean.data(),
                               result.variance.data(),
                               result.count.data(),
                               values,
                               1,
                               channels / groups,
                               update};
  if (exchange == nullptr) {
    for_each(values, finish, exec);
    return result;
  }
  static_assert(sizeof(Moments) == 3 * sizeof(Sum));
  auto const all =
      gather_ranks(reinterpret_cast<Sum const*>(moments.data()), 3 * moments.size(), *exchange, exec);
  finish.moments = reinterpret_cast<Moments const*>(all.data());
  finish.ranks = exchange->size();
  for_each(values, finish, exec);
  return result;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
