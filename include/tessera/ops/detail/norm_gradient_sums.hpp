// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/detail/pack.hpp>
#include <tessera/core/host_device.hpp>
#include <tessera/core/scalar.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Two sums over rows.
template <class Sum>
struct SumPair {
  Sum first = 0;
  Sum second = 0;
};

/// The sums of dy and of dy * (x - mean).
template <int Dim, class Scalar>
struct NormGradientSums {
  using Sum = accumulator_t<Scalar>;
  using Value = SumPair<Sum>;
  static constexpr int pack = pack_size<Scalar>;
  [[nodiscard]] TESSERA_HOST_DEVICE static constexpr Value identity() { return {}; }

  Scalar const* grad;  // [rows, channels]
  Scalar const* x;     // [rows, channels]
  Sum const* mean;     // [batches, groups]
  int groups;
  int channels_per_group;

  [[nodiscard]] bool in_packs() const
  {
    auto const channels = std::int64_t{groups} * channels_per_group;
    return moves_in_packs(grad, channels) && moves_in_packs(x, channels);
  }
  [[nodiscard]] TESSERA_HOST_DEVICE static Value combine(Value a, Value const& b)
  {
    a.first += b.first;
    a.second += b.second;
    return a;
  }

  template <int Size>
  struct Part {
    struct Row {
      Pack<Scalar, Size> grad;
      Pack<Scalar, Size> x;
    };
    NormGradientSums of;
    int channel;
    Sum centre[Size];
    Value sums[Size] = {};

    TESSERA_HOST_DEVICE Part(NormGradientSums const& term, int batch, int own) : of{term}, channel{own}
    {
      for (int j = 0; j < Size; ++j) {
        centre[j] = of.mean[std::int64_t{batch} * of.groups + (channel + j) / of.channels_per_group];
      }
    }
    [[nodiscard]] TESSERA_HOST_DEVICE Row load(std::int64_t row) const
    {
      auto const at = row * of.groups * of.channels_per_group + channel;
      return {load_pack<Size>(of.grad + at), load_pack<Size>(of.x + at)};
    }
    TESSERA_HOST_DEVICE void add(Row const& row)
    {
      for (int j = 0; j < Size; ++j) {
        auto const dy = static_cast<Sum>(row.grad.values[j]);
        sums[j].first += dy;
        sums[j].second += dy * (static_cast<Sum>(row.x.values[j]) - centre[j]);
      }
    }
    [[nodiscard]] TESSERA_HOST_DEVICE Value value(int j) const { return sums[j]; }
  };
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
