// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/detail/norm_gradient_sums.hpp>
#include <tessera/ops/detail/normalize.hpp>
#include <tessera/ops/detail/product_gradients.hpp>
#include <tessera/ops/norm_options.hpp>

#include <cmath>
#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// dweight[c] = sum over entries of second[b, c] / sqrt(variance + epsilon), dbias[c] = sum of first[b, c].
template <int Dim, class Sum>
struct StoreAffineGradients {
  Normalization<Dim, Sum> by;
  SumPair<Sum> const* sums;  // [batches, channels]
  ops::AffineGradients<Sum> to;

  TESSERA_HOST_DEVICE void operator()(std::int64_t c) const
  {
    using std::sqrt;
    auto const channels = std::int64_t{by.groups} * by.channels_per_group;
    Sum weight{0};
    Sum bias{0};
    for (std::int64_t b = 0; b < by.batches; ++b) {
      auto const& sum = sums[b * channels + c];
      weight += sum.second / sqrt(by.variance[b * by.groups + c / by.channels_per_group] + by.epsilon);
      bias += sum.first;
    }
    bool const adds = to.mode == GradientMode::accumulate;
    if (to.weight != nullptr) { to.weight[c] = adds ? to.weight[c] + weight : weight; }
    if (to.bias != nullptr) { to.bias[c] = adds ? to.bias[c] + bias : bias; }
  }
};

/// What the statistics of (batch entry, group) take from dx: with r = 1 / sqrt(variance + epsilon) and n
/// values, first = r / n * sum over rows and channels of weight * dy, second = r^3 / n * that of weight * dy
/// * (x - mean).
template <int Dim, class Sum>
struct StatisticGradients {
  Normalization<Dim, Sum> by;
  SumPair<Sum> const* sums;  // [ranks, batches, channels]
  Sum const* count;          // [batches, groups]
  SumPair<Sum>* through;     // [batches, groups]
  int ranks;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    using std::sqrt;
    auto const channels = std::int64_t{by.groups} * by.channels_per_group;
    auto const batch = n / by.groups;
    auto const first_channel = (n - batch * by.groups) * by.channels_per_group;
    SumPair<Sum> total;
    for (int rank = 0; rank < ranks; ++rank) {
      for (auto c = first_channel; c < first_channel + by.channels_per_group; ++c) {
        auto const& sum = sums[(std::int64_t{rank} * by.batches + batch) * channels + c];
        auto const weight = by.weight != nullptr ? by.weight[c] : Sum{1};
        total.first += weight * sum.first;
        total.second += weight * sum.second;
      }
    }
    auto const root = Sum{1} / sqrt(by.variance[n] + by.epsilon);
    auto const share = count[n] > 0 ? root / count[n] : Sum{0};
    through[n] = {share * total.first, share * root * root * total.second};
  }
};

/// dx[i, c] = weight[c] * r * dy[i, c] - first - second * (x[i, c] - mean), 0 in rows that are not in use; item
/// number n is a NormalizedBlock.
template <int Dim, class Scalar, int Size>
struct NormalizeRowsBackward {
  using Sum = accumulator_t<Scalar>;

  Normalization<Dim, Sum> by;
  SumPair<Sum> const* through;  // [batches, groups], or null: the statistics do not depend on x
  Scalar const* grad;           // [rows, channels]
  Scalar const* x;              // [rows, channels]
  Scalar* dx;                   // [rows, channels]
  RowCount rows;
  int channels;

  [[nodiscard]] TESSERA_HOST_DEVICE Pack<Scalar, Size> load(Scalar const* from, std::int64_t row,
                                                            int channel) const
  {
    return load_pack<Size>(from + row * channels + channel);
  }
  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    NormalizedBlock const block{n, rows.capacity, channels, Size};
    auto const used = rows.size();
    NormalizationOfPack<Dim, Sum, Size> of_pack{by, block.first_channel};
    SumPair<Sum> take[Size] = {};
    auto const in_use = block.end < used ? block.end : used;
    auto const take_row = [&](std::int64_t row, Pack<Scalar, Size> pack, Pack<Scalar, Size> const& dy) {
      of_pack.enter(row, [&](int j, int, std::int64_t statistic) {
        if (through != nullptr) { take[j] = through[statistic]; }
      });
      for (int j = 0; j < Size; ++j) {
        auto const centred = static_cast<Sum>(pack.values[j]) - of_pack.mean[j];
        pack.values[j] = static_cast<Scalar>(of_pack.scale[j] * static_cast<Sum>(dy.values[j]) -
                                             take[j].first - take[j].second * centred);
      }
      store_pack(dx + row * channels + block.first_channel, pack);
    };
    auto row = block.begin;
    for (; row + normalized_rows_ahead <= in_use; row += normalized_rows_ahead) {
      Pack<Scalar, Size> packs[normalized_rows_ahead];
      Pack<Scalar, Size> dy[normalized_rows_ahead];
      for (int i = 0; i < normalized_rows_ahead; ++i) {
        packs[i] = load(x, row + i, block.first_channel);
        dy[i] = load(grad, row + i, block.first_channel);
      }
      for (int i = 0; i < normalized_rows_ahead; ++i) { take_row(row + i, packs[i], dy[i]); }
    }
    for (; row < in_use; ++row) {
      take_row(row, load(x, row, block.first_channel), load(grad, row, block.first_channel));
    }
    Pack<Scalar, Size> zeros;
    for (int j = 0; j < Size; ++j) { zeros.values[j] = static_cast<Scalar>(0.0F); }
    for (; row < block.end; ++row) { store_pack(dx + row * channels + block.first_channel, zeros); }
  }
};

/// What the gradient of a normalisation is asked for.
template <class Sum, class Space>
struct NormGradient {
  ops::AffineGradients<Sum> affine;
  Sum const* count = nullptr;  // [batches, groups] values of the statistics, or null: they were given
  ops::RowExchange<Space>* exchange = nullptr;
  bool wants_x = true;
};

/// What is wanted of the gradients of an operation with these options, which adds them to those of the
/// parameters.
template <class Sum, class Options, class Space>
[[nodiscard]] NormGradient<Sum, Space> norm_gradient(ops::Gradients<Space>& gradients, Options const& options,
                                                     VariableId x, Execution<Space> const& exec)
{
  NormGradient<Sum, Space> asked;
  asked.affine = {gradients.template parameter<Sum>(options.weight.id, options.channels, exec),
                  gradients.template parameter<Sum>(options.bias.id, options.channels, exec),
                  GradientMode::accumulate};
  asked.wants_x = gradients.wants(x);
  return asked;
}

/// The gradient of normalize() for `x`, or no rows where it is not wanted, and those of weight and bias.
/// Cost: up to two passes over both.
/// Stream: enqueues on `exec`, does not wait.
/// Determinism: as reduce_rows().
template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> normalize_backward(
    MatrixView<Scalar const> const& grad, MatrixView<Scalar const> const& x, RowCount const& rows,
    Normalization<Dim, accumulator_t<Scalar>> const& by,
    NormGradient<accumulator_t<Scalar>, Space> const& asked, char const* who, Execution<Space> const& exec)
{
  using Sum = accumulator_t<Scalar>;
  using Pair = SumPair<Sum>;
  expects(grad.rows == x.rows && grad.columns == x.columns, who, ": a gradient of ", grad.rows, " x ",
          grad.columns, " for ", x.rows, " rows of ", x.columns, " channels");
  auto const channels = static_cast<int>(x.columns);
  bool const through_statistics = asked.count != nullptr && asked.wants_x;
  bool const has_affine = asked.affine.weight != nullptr || asked.affine.bias != nullptr;
  Buffer<Pair, Space> through;
  if (has_affine || through_statistics) {
    auto const sums = reduce_rows(
        NormGradientSums<Dim, Scalar>{grad.data, x.data, by.mean, by.groups, by.channels_per_group},
        by.coordinates, rows, by.batches, channels, exec);
    if (has_affine) {
      for_each(channels, StoreAffineGradients<Dim, Sum>{by, sums.data(), asked.affine}, exec);
    }
    if (through_statistics) {
      through = {std::int64_t{by.batches} * by.groups, exec};
      StatisticGradients<Dim, Sum> body{by, sums.data(), asked.count, through.data(), 1};
      Buffer<Sum, Space> all;
      if (asked.exchange != nullptr) {
        static_assert(sizeof(Pair) == 2 * sizeof(Sum));
        all = gather_ranks(reinterpret_cast<Sum const*>(sums.data()), 2 * sums.size(), *asked.exchange, exec);
        body.sums = reinterpret_cast<Pair const*>(all.data());
        body.ranks = asked.exchange->size();
      }
      for_each(through.size(), body, exec);
    }
  }
  if (!asked.wants_x) { return {}; }
  Matrix<Scalar, Space> dx{x.rows, x.columns, exec};
  bool const in_packs = moves_in_packs(grad.data, x.columns) && moves_in_packs(x.data, x.columns);
  with_pack_size<Scalar>(in_packs, [&](auto size) {
    using Body = NormalizeRowsBackward<Dim, Scalar, size()>;
    auto const blocks = ceil_div(x.rows, normalized_rows_per_item);
    for_each(blocks * (x.columns / size()),
             Body{by, through.data(), grad.data, x.data, dx.data(), rows, channels}, exec);
  });
  return dx;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
