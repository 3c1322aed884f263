// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/weight_gradient/slabs.hpp>
#include <tessera/ops/detail/elementwise.hpp>
#include <tessera/ops/detail/row_pairs.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

// Grouped convolution reads and writes few channels for each pair, so that there is nothing for tensor cores
// to do: each item computes neighbouring channels of one output row, and goes along the row of the map.

/// Channels in groups: of the side that is read and of that which is written.
struct ChannelGroups {
  int groups = 1;
  int in = 1;   // channels of a group that are read
  int out = 1;  // and written

  [[nodiscard]] TESSERA_HOST_DEVICE int in_channels() const { return groups * in; }
  [[nodiscard]] TESSERA_HOST_DEVICE int out_channels() const { return groups * out; }
};

/// Where the weight [volume, in, groups * out] has what leads from channel j of a group to channel c; read
/// backwards, from channel j of the group's outputs to input channel c.
template <class Scalar, bool Backwards>
struct GroupedWeight {
  Scalar const* data;
  ChannelGroups forward;  // of the convolution, whichever way it is read

  [[nodiscard]] TESSERA_HOST_DEVICE std::int64_t at(int k, int j, int c) const
  {
    auto const row = std::int64_t{k} * forward.in;
    if constexpr (Backwards) {
      int const group = c / forward.in;
      return (row + c - group * forward.in) * forward.out_channels() + group * forward.out + j;
    } else {
      return (row + j) * forward.out_channels() + c;
    }
  }
};

/// to[o, c] = bias[c] + sum over offsets k, ascending, and channels j of c's group of from[map[o, k], j]
/// weight[k, j, c]. Item number n is a pack of `Size` channels of a row; where there is one channel read a
/// group, they are read as a pack.
template <class Scalar, int Size, bool IsDepthwise, bool Backwards>
struct GroupedProducts {
  using Sum = accumulator_t<Scalar>;

  Scalar const* from;       // [num_in, channels read]
  std::int32_t const* map;  // [rows, volume]
  GroupedWeight<Scalar, Backwards> weight;
  Scalar const* bias;  // [channels written], or null
  Scalar* to;          // [rows, channels written]
  ChannelGroups channels;
  int volume;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    int const packs = channels.out_channels() / Size;
    auto const row = n / packs;
    int const first = static_cast<int>(n - row * packs) * Size;
    Sum sums[Size];
    for (int i = 0; i < Size; ++i) { sums[i] = bias != nullptr ? static_cast<Sum>(bias[first + i]) : Sum{0}; }
    for_each_pair_of(map, volume, row, [&](int k, std::int32_t in) {
      add(from + std::int64_t{in} * channels.in_channels(), k, first, sums);
    });
    Pack<Scalar, Size> result;
    for (int i = 0; i < Size; ++i) { result.values[i] = static_cast<Scalar>(sums[i]); }
    store_pack(to + row * channels.out_channels() + first, result);
  }

 private:
  TESSERA_HOST_DEVICE void add(Scalar const* x, int k, int first, Sum* sums) const
  {
    if constexpr (IsDepthwise) {
      auto const read = load_pack<Size>(x + first);
      auto const by = load_pack<Size>(weight.data + std::int64_t{k} * channels.out_channels() + first);
      for (int i = 0; i < Size; ++i) {
        sums[i] += static_cast<Sum>(read.values[i]) * static_cast<Sum>(by.values[i]);
      }
    } else {
      for (int i = 0; i < Size; ++i) {
        int const c = first + i;
        auto const* const group = x + c / channels.out * channels.in;
        for (int j = 0; j < channels.in; ++j) {
          sums[i] += static_cast<Sum>(group[j]) * static_cast<Sum>(weight.data[weight.at(k, j, c)]);
        }
      }
    }
  }
};

/// parts[slab, k, j, c] = sum over the rows o of a slab with i = map[o, k] >= 0 of x[i, channel j of c's
/// group] dy[o, c].
template <class Scalar>
struct GroupedWeightSlabs {
  using Sum = accumulator_t<Scalar>;

  Scalar const* x;          // [num_in, in channels]
  Scalar const* grad;       // [rows, out channels]
  std::int32_t const* map;  // [rows, volume]
  Sum* parts;               // [*, volume, in, out channels]
  ChannelGroups channels;
  int volume;
  std::int64_t rows;
  std::int64_t first_slab;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    int const outs = channels.out_channels();
    auto const matrix = std::int64_t{channels.in} * outs;
    auto const slab = n / (volume * matrix);
    auto const rest = n - slab * volume * matrix;
    auto const k = static_cast<int>(rest / matrix);
    auto const j = static_cast<int>((rest - k * matrix) / outs);
    auto const c = static_cast<int>(rest - k * matrix - std::int64_t{j} * outs);
    int const source = c / channels.out * channels.in + j;
    auto const begin = (first_slab + slab) * slab_rows;
    auto const end = begin + slab_rows < rows ? begin + slab_rows : rows;
    Sum sum{0};
    for (auto o = begin; o < end; ++o) {
      auto const i = map[o * volume + k];
      if (i < 0) { continue; }
      sum += static_cast<Sum>(x[std::int64_t{i} * channels.in_channels() + source]) *
             static_cast<Sum>(grad[o * outs + c]);
    }
    parts[n] = sum;
  }
};

/// The products of rows `from` over `map`, a new matrix.
template <bool Backwards, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> grouped_products(MatrixView<Scalar const> const& from,
                                                     Scalar const* weight, Scalar const* bias,
                                                     ChannelGroups const& forward, KernelMap<Space>& map,
                                                     Execution<Space> const& exec)
{
  auto const channels = Backwards ? ChannelGroups{forward.groups, forward.out, forward.in} : forward;
  Matrix<Scalar, Space> to{map.num_out(), channels.out_channels(), exec};
  if (to.size() == 0) { return to; }
  auto const run = [&](auto size, auto depthwise) {
    constexpr int columns = decltype(size)::value;
    using Body = GroupedProducts<Scalar, columns, decltype(depthwise)::value, Backwards>;
    for_each(to.rows() * (channels.out_channels() / columns),
             Body{from.data, map.out_in(exec), {weight, forward}, bias, to.data(), channels, map.volume()},
             exec);
  };
  bool const depthwise = forward.in == 1 && forward.out == 1;
  // Only a depthwise product reads packs; others write them alone, to rows of the library's own.
  bool const reads_whole = !depthwise || (begins_in_packs(from.data) && begins_in_packs(weight));
  with_pack_size<Scalar>(reads_whole && moves_in_packs(to.data(), to.columns()), [&](auto size) {
    if (depthwise) {
      run(size, std::true_type{});
    } else {
      run(size, std::false_type{});
    }
  });
  return to;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
