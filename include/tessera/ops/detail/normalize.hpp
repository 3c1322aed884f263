// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/detail/elementwise.hpp>
#include <tessera/ops/detail/reduce.hpp>

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

/// y[i, c] = (x[i, c] - mean) / sqrt(variance + epsilon) * weight[c] + bias[c]; item number n is one pack of
/// channels in a few rows, so that the root is taken once for them.
template <int Dim, class Scalar, int Size>
struct NormalizeRows {
  using Sum = accumulator_t<Scalar>;
  static constexpr int rows_per_item = 8;

  Normalization<Dim, Sum> by;
  Scalar const* x;  // [rows, channels]
  Scalar* y;        // [rows, channels]
  std::int64_t rows;
  int channels;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    using std::sqrt;
    auto const packs = channels / Size;
    auto const block = n / packs;
    auto const first_channel = static_cast<int>(n - block * packs) * Size;
    auto const begin = block * rows_per_item;
    auto const end = begin + rows_per_item < rows ? begin + rows_per_item : rows;
    Sum mean[Size] = {};
    Sum scale[Size] = {};
    Sum bias[Size] = {};
    int current = -1;
    for (auto row = begin; row < end; ++row) {
      int batch = by.coordinates != nullptr ? by.coordinates[row].batch : 0;
      if (batch < 0 || batch >= by.batches) { batch = 0; }  // outside the range; CoordinateSet::check() tells
      if (batch != current) {
        current = batch;
        for (int j = 0; j < Size; ++j) {
          auto const channel = first_channel + j;
          auto const statistic = std::int64_t{batch} * by.groups + channel / by.channels_per_group;
          auto const root = sqrt(by.variance[statistic] + by.epsilon);
          mean[j] = by.mean[statistic];
          scale[j] = (by.weight != nullptr ? by.weight[channel] : Sum{1}) / root;
          bias[j] = by.bias != nullptr ? by.bias[channel] : Sum{0};
        }
      }
      auto const at = row * channels + first_channel;
      auto pack = load_pack<Size>(x + at);
      for (int j = 0; j < Size; ++j) {
        pack.values[j] =
            static_cast<Scalar>((static_cast<Sum>(pack.values[j]) - mean[j]) * scale[j] + bias[j]);
      }
      store_pack(y + at, pack);
    }
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
  with_pack_size<Scalar>(x.columns % pack_size<Scalar> == 0, [&](auto size) {
    using Body = NormalizeRows<Dim, Scalar, size()>;
    auto const blocks = ceil_div(x.rows, Body::rows_per_item);
    for_each(blocks * (x.columns / size()), Body{by, x.data, y.data(), x.rows, static_cast<int>(x.columns)},
             exec);
  });
  return y;
}

/// mean[b, g] = sum over the channels of group g of sums[b, c] / (rows of b * channels_per_group); 0 without
/// rows.
template <class Sum>
struct DivideByRows {
  Sum const* sums;             // [batches, groups * channels_per_group]
  std::int32_t const* counts;  // [batches], or null: entry 0 has `rows`
  Sum* means;                  // [batches, groups]
  std::int64_t rows;
  int groups;
  int channels_per_group;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    auto const count = counts != nullptr ? std::int64_t{counts[n / groups]} : rows;
    Sum sum{0};
    for (int c = 0; c < channels_per_group; ++c) { sum += sums[n * channels_per_group + c]; }
    means[n] = count > 0 ? sum / static_cast<Sum>(count * channels_per_group) : Sum{0};
  }
};

/// Mean and biased variance of (batch entry, group of channels).
template <class Sum, class Space>
struct RowStatistics {
  Buffer<Sum, Space> mean;      // [batches, groups]
  Buffer<Sum, Space> variance;  // [batches, groups]
};

/// @param rows         of `x` that are in use
/// @param coordinates  [rows], or null: all rows are of one entry
/// @param counts       [batches] rows of each entry, or null with `coordinates`
/// Cost: two passes over the features.
/// Stream: enqueues, does not wait.
/// Determinism: as reduce_rows().
template <int Dim, class Scalar, class Space>
[[nodiscard]] RowStatistics<accumulator_t<Scalar>, Space> row_statistics(
    MatrixView<Scalar const> const& x, RowCount const& rows, Coordinate<Dim> const* coordinates,
    std::int32_t const* counts, int batches, int groups, Execution<Space> const& exec)
{
  using Sum = accumulator_t<Scalar>;
  auto const channels = static_cast<int>(x.columns);
  auto const size = channels / groups;
  auto const values = std::int64_t{batches} * groups;
  RowStatistics<Sum, Space> result{{values, exec}, {values, exec}};
  auto const divide = [&](Buffer<Sum, Space> const& sums, Buffer<Sum, Space>& means) {
    for_each(values, DivideByRows<Sum>{sums.data(), counts, means.data(), rows.capacity, groups, size}, exec);
  };
  divide(reduce_rows(SumOfRows<Scalar>{x.data, channels}, coordinates, rows, batches, channels, exec),
         result.mean);
  divide(reduce_rows(SquaredDeviation<Scalar>{x.data, channels, result.mean.data(), groups, size},
                     coordinates, rows, batches, channels, exec),
         result.variance);
  return result;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
