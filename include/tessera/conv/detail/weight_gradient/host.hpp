// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/microkernel_host.hpp>
#include <tessera/conv/detail/weight_gradient/slabs.hpp>
#include <tessera/core/buffer.hpp>
#include <tessera/core/execution.hpp>
#include <tessera/core/int_array.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <numeric>

namespace tessera {
inline namespace v0 {
namespace detail {

/// One thread's share of a weight's gradient: transposed(x) * dy over the pairs of an offset, whose rows are
/// gathered so that they are the channels of a PanelProduct.
template <class Scalar>
class HostWeightSlabs {
 public:
  using Sum = accumulator_t<Scalar>;

  HostWeightSlabs(WeightGradientArguments<Scalar> const& arguments, Execution<Host> const& exec)
      : arguments_{arguments},
        num_panels_{ceil_div(arguments.out_channels, panel_channels<Sum>)},
        x_{pairs_at_once * std::int64_t{arguments.in_channels}, exec},
        dy_{pairs_at_once * width(), exec},
        sums_{arguments.in_channels * width(), exec},
        channels_{arguments.in_channels, exec}
  {
    std::iota(channels_.data(), channels_.data() + channels_.size(), 0);
    fill_bytes(dy_, 0, exec);  // the channels that the last panel has too many
  }

  /// gradient = sum over the output rows o in [begin, end), ascending, of transposed(x[in(o)]) * dy[o].
  /// @param in        `in(o)`: the input row, or -1
  /// @param gradient  [in_channels, out_channels]
  template <class InputOf>
  void run(InputOf const& in, std::int64_t begin, std::int64_t end, Sum* gradient)
  {
    std::fill_n(sums_.data(), sums_.size(), Sum{0});
    int pairs = 0;
    for (auto o = begin; o < end; ++o) {
      if (in(o) < 0) { continue; }
      gather(in(o), o, pairs++);
      if (pairs == pairs_at_once) {
        add(pairs);
        pairs = 0;
      }
    }
    add(pairs);
    for (int c = 0; c < arguments_.in_channels; ++c) {
      std::copy_n(sums_.data() + c * width(), arguments_.out_channels,
                  gradient + std::int64_t{c} * arguments_.out_channels);
    }
  }

 private:
  static constexpr int pairs_at_once = 256;  // two panels of them stay in the first-level cache

  [[nodiscard]] std::int64_t width() const { return std::int64_t{num_panels_} * panel_channels<Sum>; }

  void gather(std::int32_t in, std::int64_t out, int pair)
  {
    auto const to_sum = [](Scalar value) { return static_cast<Sum>(value); };
    auto const* const x = arguments_.features + in * std::int64_t{arguments_.in_channels};
    std::transform(x, x + arguments_.in_channels, x_.data() + pair * std::int64_t{arguments_.in_channels},
                   to_sum);
    auto const* dy = arguments_.grad_output + out * arguments_.out_channels;
    for (int panel = 0; panel < num_panels_; ++panel, dy += panel_channels<Sum>) {
      auto const used = std::min(arguments_.out_channels - panel * panel_channels<Sum>, panel_channels<Sum>);
      std::transform(dy, dy + used,
                     dy_.data() + (std::int64_t{panel} * pairs_at_once + pair) * panel_channels<Sum>, to_sum);
    }
  }

  void add(int pairs)
  {
    PanelProduct<Sum> product;
    product.features = x_.data();
    product.row_step = 1;
    product.channel_step = arguments_.in_channels;
    product.panels = dy_.data();
    product.panel_size = std::int64_t{pairs_at_once} * panel_channels<Sum>;
    product.num_panels = num_panels_;
    product.sums = sums_.data();
    product.in = channels_.data();
    product.out = channels_.data();
    product.count = arguments_.in_channels;
    product.channels = pairs;
    multiply_(product);
  }

  WeightGradientArguments<Scalar> const& arguments_;
  int num_panels_;
  MultiplyPanels<Sum> multiply_ = multiply_panels<Sum>();
  Buffer<Sum, Host> x_;                  // [pairs_at_once, in_channels]
  Buffer<Sum, Host> dy_;                 // [num_panels, pairs_at_once, panel_channels]
  Buffer<Sum, Host> sums_;               // [in_channels, width]
  Buffer<std::int32_t, Host> channels_;  // [in_channels] 0, 1, 2, ...
};

/// parts[slab, k] = sum over the output rows o of a slab, ascending, of transposed(x[out_in[o, k]]) * dy[o].
/// @param out_in  [num_out, volume]
/// @param parts   [count, volume, in_channels, out_channels]
template <class Scalar>
void sum_weight_slabs(WeightGradientArguments<Scalar> const& arguments, std::int32_t const* out_in,
                      std::int64_t num_out, int volume, std::int64_t first, std::int64_t count,
                      accumulator_t<Scalar>* parts, Execution<Host> const& exec)
{
  auto const size = std::int64_t{arguments.in_channels} * arguments.out_channels;
  std::atomic<std::int64_t> next{0};
  exec.parallel_for(exec.num_threads(), 1, [&](std::int64_t, std::int64_t) {
    HostWeightSlabs<Scalar> slabs{arguments, exec};
    for (auto i = next++; i < count * volume; i = next++) {
      auto const row = (first + i / volume) * slab_rows;
      auto const* const in = out_in + i % volume;
      slabs.run([&](std::int64_t o) { return in[o * volume]; }, row, std::min(row + slab_rows, num_out),
                parts + i * size);
    }
  });
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
