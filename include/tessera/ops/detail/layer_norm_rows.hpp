// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/weight_gradient/slabs.hpp>
#include <tessera/core/detail/lanes.hpp>
#include <tessera/core/space.hpp>
#include <tessera/ops/detail/elementwise.hpp>

#include <cmath>
#include <cstdint>
#include <type_traits>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Threads that share a row: those of a warp on the device, one on the host.
template <class Space>
inline constexpr int lanes_of_row = std::is_same_v<Space, Device> ? 32 : 1;

/// What a row is normalised by.
template <class Sum>
struct LayerNormOf {
  Sum const* weight;  // [channels], or null: ones
  Sum const* bias;    // [channels], or null: zeros
  Sum epsilon;

  [[nodiscard]] TESSERA_HOST_DEVICE Sum weight_of(std::int64_t channel) const
  {
    return weight != nullptr ? weight[channel] : Sum{1};
  }
  [[nodiscard]] TESSERA_HOST_DEVICE Sum bias_of(std::int64_t channel) const
  {
    return bias != nullptr ? bias[channel] : Sum{0};
  }
};

/// One row, of which a lane has every `Lanes`-th pack of `Size` channels.
template <class Scalar, int Size, int Lanes>
struct RowLanes {
  using Sum = accumulator_t<Scalar>;

  std::int64_t packs;
  std::int64_t lane;

  /// The sum of `term(channel)` over the row, in every lane.
  template <class Term>
  [[nodiscard]] TESSERA_HOST_DEVICE Sum sum(Term const& term) const
  {
    Sum own{0};
    for (auto pack = lane; pack < packs; pack += Lanes) {
      for (int j = 0; j < Size; ++j) { own += term(pack * Size + j); }
    }
    return sum_over_lanes(own);
  }
  /// to[channel] = value(channel) for the lane's channels.
  template <class Value>
  TESSERA_HOST_DEVICE void store(Scalar* to, Value const& value) const
  {
    for (auto pack = lane; pack < packs; pack += Lanes) {
      Pack<Scalar, Size> result;
      for (int j = 0; j < Size; ++j) { result.values[j] = static_cast<Scalar>(value(pack * Size + j)); }
      store_pack(to + pack * Size, result);
    }
  }
};

/// The mean of a row, and 1 / sqrt(its biased variance + epsilon).
template <class Sum>
struct RowMoments {
  Sum mean;
  Sum scale;
};

template <class Lanes, class Scalar, class Sum>
[[nodiscard]] TESSERA_HOST_DEVICE RowMoments<Sum> moments_of(Lanes const& lanes, Scalar const* x,
                                                             std::int64_t channels, Sum epsilon)
{
  using std::sqrt;
  auto const count = static_cast<Sum>(channels);
  auto const mean = lanes.sum([&](std::int64_t c) { return static_cast<Sum>(x[c]); }) / count;
  auto const variance = lanes.sum([&](std::int64_t c) {
    auto const distance = static_cast<Sum>(x[c]) - mean;
    return distance * distance;
  }) / count;
  return {mean, Sum{1} / sqrt(variance + epsilon)};
}

/// y[i, c] = (x[i, c] - mean[i]) * scale[i] * weight[c] + bias[c]; item number n is a lane of a row.
template <class Scalar, int Size, int Lanes>
struct NormalizeEachRow {
  using Sum = accumulator_t<Scalar>;

  LayerNormOf<Sum> by;
  Scalar const* x;  // [rows, channels]
  Scalar* y;        // [rows, channels]
  std::int64_t channels;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    auto const row = n / Lanes;
    RowLanes<Scalar, Size, Lanes> const lanes{channels / Size, n - row * Lanes};
    auto const* const in = x + row * channels;
    auto const moments = moments_of(lanes, in, channels, by.epsilon);
    lanes.store(y + row * channels, [&](std::int64_t c) {
      return (static_cast<Sum>(in[c]) - moments.mean) * moments.scale * by.weight_of(c) + by.bias_of(c);
    });
  }
};

/// With n = (x - mean) scale and g = grad weight of a row:
/// dx[c] = scale (g[c] - mean of g - n[c] * mean of (g n)). Also notes the moments of each row.
template <class Scalar, int Size, int Lanes>
struct NormalizeEachRowBackward {
  using Sum = accumulator_t<Scalar>;

  LayerNormOf<Sum> by;
  Scalar const* grad;        // [rows, channels]
  Scalar const* x;           // [rows, channels]
  Scalar* result;            // [rows, channels]
  RowMoments<Sum>* moments;  // [rows]
  std::int64_t channels;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    auto const row = n / Lanes;
    RowLanes<Scalar, Size, Lanes> const lanes{channels / Size, n - row * Lanes};
    auto const* const in = x + row * channels;
    auto const* const g = grad + row * channels;
    auto const own = moments_of(lanes, in, channels, by.epsilon);
    auto const normal = [&](std::int64_t c) { return (static_cast<Sum>(in[c]) - own.mean) * own.scale; };
    auto const weighted = [&](std::int64_t c) { return static_cast<Sum>(g[c]) * by.weight_of(c); };
    auto const count = static_cast<Sum>(channels);
    auto const mean = lanes.sum(weighted) / count;
    auto const slope = lanes.sum([&](std::int64_t c) { return weighted(c) * normal(c); }) / count;
    lanes.store(result + row * channels,
                [&](std::int64_t c) { return own.scale * (weighted(c) - mean - normal(c) * slope); });
    if (lanes.lane == 0) { moments[row] = own; }
  }
};

/// parts[slab, c] = sum over the rows of a slab of grad n, and parts[slab, channels + c] that of grad.
template <class Scalar>
struct SumNormSlabs {
  using Sum = accumulator_t<Scalar>;

  Scalar const* grad;              // [rows, channels]
  Scalar const* x;                 // [rows, channels]
  RowMoments<Sum> const* moments;  // [rows]
  Sum* parts;                      // [*, 2 channels]
  RowCount rows;
  std::int64_t first_slab;
  std::int64_t channels;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    auto const slab = n / (2 * channels);
    auto const column = n - slab * 2 * channels;
    bool const is_weight = column < channels;
    auto const c = is_weight ? column : column - channels;
    auto const begin = (first_slab + slab) * slab_rows;
    auto const end = begin + slab_rows < rows.size() ? begin + slab_rows : rows.size();
    Sum sum{0};
    for (auto row = begin; row < end; ++row) {
      auto const g = static_cast<Sum>(grad[row * channels + c]);
      auto const& of_row = moments[row];
      sum += is_weight ? g * (static_cast<Sum>(x[row * channels + c]) - of_row.mean) * of_row.scale : g;
    }
    parts[n] = sum;
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
