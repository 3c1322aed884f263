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

/// `sums[out[p], :] += x[in[p], :] * panels` for each pair p; an `out` may occur once.
///
/// Every sum is one chain over the channels, ascending, and goes through the same instructions whatever its
/// place in the list, so its bits depend on nothing but its own operands.
template <class Sum>
struct PanelProduct {
  Sum const* features = nullptr;  // x[row, channel] = features[row * row_step + channel * channel_step]
  std::int64_t row_step = 0;
  std::int64_t channel_step = 1;
  Sum const* panels = nullptr;        // [num_panels], each [channels, panel_channels], aligned to 64 bytes
  std::int64_t panel_size = 0;        // from panel to panel
  Sum* sums = nullptr;                // [*, num_panels * panel_channels], aligned to 64 bytes
  std::int32_t const* in = nullptr;   // [count] rows of x
  std::int32_t const* out = nullptr;  // [count] rows of sums
  std::int64_t count = 0;
  int channels = 0;
  int num_panels = 1;
};

/// A vector register of `Bytes`, in the spelling that g++, clang++ and nvcc share; no intrinsics' header is
/// needed.
template <class Sum, int Bytes>
struct Lanes {
  using type __attribute__((vector_size(Bytes), may_alias)) = Sum;
};

/// `sum += x * weights` in one rounding where registers of `Bytes` have such an instruction, else in two.
///
/// Left to g++ (13 and newer, and older ones for some processors), chains of sums are fused in one copy of a loop
/// and not in another, so that bits would depend on the number of rows. Clang fuses by the expression.
template <int Bytes, class Sum>
__attribute__((always_inline)) inline void multiply_add(typename Lanes<Sum, Bytes>::type& sum, Sum x,
                                                        typename Lanes<Sum, Bytes>::type const& weights)
{
#if defined(__clang__) || !(defined(__x86_64__) || defined(__aarch64__))
  sum = sum + x * weights;
#else
  [[maybe_unused]] auto const factor = x - typename Lanes<Sum, Bytes>::type{};
#if defined(__aarch64__)
  if constexpr (sizeof(Sum) == 4) {
    asm("fmla %0.4s, %1.4s, %2.4s" : "+w"(sum) : "w"(factor), "w"(weights));
  } else {
    asm("fmla %0.2d, %1.2d, %2.2d" : "+w"(sum) : "w"(factor), "w"(weights));
  }
#else
#if defined(__FMA__)
  constexpr bool is_fused = true;
#else
  constexpr bool is_fused = Bytes > 16;
#endif
  if constexpr (!is_fused) {
    sum += x * weights;
  } else if constexpr (sizeof(Sum) == 4) {
    asm("vfmadd231ps {%2, %1, %0|%0, %1, %2}" : "+v"(sum) : "v"(factor), "v"(weights));
  } else {
    asm("vfmadd231pd {%2, %1, %0|%0, %1, %2}" : "+v"(sum) : "v"(factor), "v"(weights));
  }
#endif
#endif
}

/// The columns of a product that are summed in registers at once: one register of each row, or two.
template <class Sum>
struct PanelStrip {
  Sum const* weights;          // of the first register, at channel 0
  std::int64_t second_weight;  // where the second register's weights are, from there
  std::int64_t column;         // of the first register in a row of sums; the second follows
};

/// The product for pairs `first + Row...` and the columns of a strip.
///
/// This is inlined into functions for different instruction sets, which is why it is not called otherwise.
template <int Bytes, bool Two, class Sum, int... Row>
__attribute__((always_inline)) inline void multiply_rows(PanelProduct<Sum> const& p,
                                                         PanelStrip<Sum> const& strip, std::int64_t first,
                                                         std::integer_sequence<int, Row...>)
{
  using Register = typename Lanes<Sum, Bytes>::type;
  constexpr std::int64_t lanes = Two ? Bytes / sizeof(Sum) : 0;
  auto const stride = std::int64_t{p.num_panels} * panel_channels<Sum>;
  Sum const* const x[] = {p.features + p.in[first + Row] * p.row_step...};
  Sum* const y[] = {p.sums + p.out[first + Row] * stride + strip.column...};
  Register low[] = {*reinterpret_cast<Register const*>(y[Row])...};
  [[maybe_unused]] Register high[] = {*reinterpret_cast<Register const*>(y[Row] + lanes)...};
  Sum const* w = strip.weights;
  auto const step = p.channel_step;
  auto const end = p.channels * step;
  for (std::int64_t c = 0; c < end; c += step, w += panel_channels<Sum>) {
    auto const w_low = *reinterpret_cast<Register const*>(w);
    if constexpr (Two) {
      auto const w_high = *reinterpret_cast<Register const*>(w + strip.second_weight);
      ((multiply_add<Bytes, Sum>(low[Row], x[Row][c], w_low),
        multiply_add<Bytes, Sum>(high[Row], x[Row][c], w_high)),
       ...);
    } else {
      (multiply_add<Bytes, Sum>(low[Row], x[Row][c], w_low), ...);
    }
  }
  ((*reinterpret_cast<Register*>(y[Row]) = low[Row]), ...);
  if constexpr (Two) { ((*reinterpret_cast<Register*>(y[Row] + lanes) = high[Row]), ...); }
}

/// The pairs from `i` on for the columns of a strip, `Rows` at once, and of what is left half as many.
template <int Bytes, bool Two, int Rows, class Sum>
__attribute__((always_inline)) inline void multiply_strip(PanelProduct<Sum> const& p,
                                                          PanelStrip<Sum> const& strip, std::int64_t i = 0)
{
  for (; p.count - i >= Rows; i += Rows) {
    multiply_rows<Bytes, Two>(p, strip, i, std::make_integer_sequence<int, Rows>{});
  }
  if constexpr (Rows > 1) { multiply_strip<Bytes, Two, Rows / 2>(p, strip, i); }
}

/// The product with registers of `Bytes`, two at a time: of one panel, or of two where a register holds one.
/// The sums of six rows in two registers leave room for their operands in sixteen registers, those of eight
/// rows in thirty-two, and both are enough to hide the latency of the additions; more rows than eight have
/// more pointers than there are registers for them.
template <int Bytes, class Sum>
__attribute__((always_inline)) inline void multiply_panels_with(PanelProduct<Sum> const& p)
{
  constexpr int lanes = Bytes / sizeof(Sum);
  constexpr int rows = Bytes == 64 ? 8 : 6;
  for (int panel = 0; panel < p.num_panels; ++panel) {
    auto const* const weights = p.panels + panel * p.panel_size;
    auto const column = std::int64_t{panel} * panel_channels<Sum>;
    if constexpr (lanes < panel_channels<Sum>) {
      for (int c = 0; c < panel_channels<Sum>; c += 2 * lanes) {
        multiply_strip<Bytes, true, rows>(p, PanelStrip<Sum>{weights + c, lanes, column + c});
      }
    } else if (panel + 1 < p.num_panels) {
      multiply_strip<Bytes, true, rows>(p, PanelStrip<Sum>{weights, p.panel_size, column});
      ++panel;
    } else {
      multiply_strip<Bytes, false, rows>(p, PanelStrip<Sum>{weights, 0, column});
    }
  }
}

/// For every processor of the target: registers of 16 bytes.
template <class Sum>
void multiply_panels_portably(PanelProduct<Sum> const& p)
{
  multiply_panels_with<16>(p);
}

#if defined(__x86_64__)

template <class Sum>
__attribute__((target("avx2,fma"))) void multiply_panels_avx2(PanelProduct<Sum> const& p)
{
  multiply_panels_with<32>(p);
}

template <class Sum>
__attribute__((target("avx512f"))) void multiply_panels_avx512(PanelProduct<Sum> const& p)
{
  multiply_panels_with<64>(p);
}

#endif

/// Bytes of the widest vector register that this processor has and a product is written for.
[[nodiscard]] inline int widest_register()
{
#if defined(__x86_64__)
  static int const bytes = __builtin_cpu_supports("avx512f") != 0                                      ? 64
                           : __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0 ? 32
                                                                                                       : 16;
  return bytes;
#else
  return 16;
#endif
}

template <class Sum>
using MultiplyPanels = void (*)(PanelProduct<Sum> const&);

/// The product for registers of so many bytes; programs need no `-march` for it. Those of 32 and of 64 bytes
/// give the same bits.
template <class Sum>
[[nodiscard]] MultiplyPanels<Sum> multiply_panels([[maybe_unused]] int bytes = widest_register())
{
#if defined(__x86_64__)
  if (bytes == 64) { return multiply_panels_avx512<Sum>; }
  if (bytes == 32) { return multiply_panels_avx2<Sum>; }
#endif
  return multiply_panels_portably<Sum>;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
