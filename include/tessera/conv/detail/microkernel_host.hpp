// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <cstdint>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Channels of a panel: the columns of a weight that are multiplied at once, 64 bytes of them.
template <class Sum>
inline constexpr int panel_channels = static_cast<int>(64 / sizeof(Sum));

/// `sums[out[p], :] += features[in[p], :] * panel` for each pair p; an `out` may occur once.
///
/// Every sum is one chain over the channels, ascending, and goes through the same instructions whatever its
/// place in the list, so its bits depend on nothing but its own operands.
template <class Sum>
struct PanelProduct {
  Sum const* features = nullptr;      // [*, channels]
  Sum const* panel = nullptr;         // [channels, panel_channels], aligned to 64 bytes
  Sum* sums = nullptr;                // [*, sums_stride], aligned to 64 bytes
  std::int64_t sums_stride = 0;       // a multiple of panel_channels
  std::int32_t const* in = nullptr;   // [count] rows of features
  std::int32_t const* out = nullptr;  // [count] rows of sums
  std::int64_t count = 0;
  int channels = 0;
};

/// A vector register of `Bytes`, in the spelling that g++, clang++ and nvcc share; no intrinsics' header is
/// needed.
template <class Sum, int Bytes>
struct Lanes {
  using type __attribute__((vector_size(Bytes), may_alias)) = Sum;
};

/// The product for pairs `first + Row...` and the two registers of channels from `channel` on.
///
/// This is inlined into functions for different instruction sets, which is why it is not called otherwise.
template <class Sum, int Bytes, int... Row>
__attribute__((always_inline)) inline void multiply_rows(PanelProduct<Sum> const& p, std::int64_t first,
                                                         int channel, std::integer_sequence<int, Row...>)
{
  using Register = typename Lanes<Sum, Bytes>::type;
  constexpr auto lanes = static_cast<int>(Bytes / sizeof(Sum));
  Sum const* const x[] = {p.features + p.in[first + Row] * std::int64_t{p.channels}...};
  Sum* const y[] = {p.sums + p.out[first + Row] * p.sums_stride + channel...};
  Register low[] = {*reinterpret_cast<Register const*>(y[Row])...};
  Register high[] = {*reinterpret_cast<Register const*>(y[Row] + lanes)...};
  Sum const* w = p.panel + channel;
  for (std::int64_t c = 0; c < p.channels; ++c, w += panel_channels<Sum>) {
    auto const w_low = *reinterpret_cast<Register const*>(w);
    auto const w_high = *reinterpret_cast<Register const*>(w + lanes);
    ((low[Row] += x[Row][c] * w_low, high[Row] += x[Row][c] * w_high), ...);
  }
  ((*reinterpret_cast<Register*>(y[Row]) = low[Row],
    *reinterpret_cast<Register*>(y[Row] + lanes) = high[Row]),
   ...);
}

/// The product with registers of `Bytes`. Six pairs by two registers of sums leave room for their operands
/// in sixteen registers, and are enough to hide the latency of the additions.
template <int Bytes, class Sum>
__attribute__((always_inline)) inline void multiply_panel_with(PanelProduct<Sum> const& p)
{
  constexpr auto strip = static_cast<int>(2 * Bytes / sizeof(Sum));
  for (int channel = 0; channel < panel_channels<Sum>; channel += strip) {
    std::int64_t i = 0;
    for (; p.count - i >= 6; i += 6) {
      multiply_rows<Sum, Bytes>(p, i, channel, std::make_integer_sequence<int, 6>{});
    }
    switch (p.count - i) {
      case 5: multiply_rows<Sum, Bytes>(p, i, channel, std::make_integer_sequence<int, 5>{}); break;
      case 4: multiply_rows<Sum, Bytes>(p, i, channel, std::make_integer_sequence<int, 4>{}); break;
      case 3: multiply_rows<Sum, Bytes>(p, i, channel, std::make_integer_sequence<int, 3>{}); break;
      case 2: multiply_rows<Sum, Bytes>(p, i, channel, std::make_integer_sequence<int, 2>{}); break;
      case 1: multiply_rows<Sum, Bytes>(p, i, channel, std::make_integer_sequence<int, 1>{}); break;
      default: break;
    }
  }
}

/// For every processor of the target: registers of 16 bytes.
template <class Sum>
void multiply_panel_portably(PanelProduct<Sum> const& p)
{
  multiply_panel_with<16>(p);
}

#if defined(__x86_64__)

template <class Sum>
__attribute__((target("avx2,fma"))) void multiply_panel_avx2(PanelProduct<Sum> const& p)
{
  multiply_panel_with<32>(p);
}

#endif

template <class Sum>
using MultiplyPanel = void (*)(PanelProduct<Sum> const&);

/// The fastest product that this processor supports; programs need no `-march` for it.
template <class Sum>
[[nodiscard]] MultiplyPanel<Sum> multiply_panel()
{
#if defined(__x86_64__)
  static bool const avx2 = __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
  if (avx2) { return multiply_panel_avx2<Sum>; }
#endif
  return multiply_panel_portably<Sum>;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
