// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/weight_gradient/slabs.hpp>
#include <tessera/core/execution.hpp>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// parts[slab, k] = sum over the output rows o of a slab, ascending, of transposed(x[out_in[o, k]]) * dy[o].
/// @param out_in  [num_out, volume]
/// @param parts   [count, volume, in_channels, out_channels]
template <class Scalar>
void sum_weight_slabs(WeightGradientArguments<Scalar> const& arguments, std::int32_t const* out_in,
                      std::int64_t num_out, int volume, std::int64_t first, std::int64_t count,
                      accumulator_t<Scalar>* parts, Execution<Host> const& exec)
{
  using Sum = accumulator_t<Scalar>;
  auto const in_channels = std::int64_t{arguments.in_channels};
  auto const out_channels = std::int64_t{arguments.out_channels};
  auto const size = in_channels * out_channels;
  exec.parallel_for(count * volume, 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<Sum> gradient(static_cast<std::size_t>(out_channels));
    for (auto i = begin; i < end; ++i) {
      auto const k = i % volume;
      auto const row = (first + i / volume) * slab_rows;
      auto* const sums = parts + i * size;
      std::fill_n(sums, size, Sum{0});
      for (auto o = row; o < std::min(row + slab_rows, num_out); ++o) {
        auto const in = out_in[o * volume + k];
        if (in < 0) { continue; }
        auto const* const x = arguments.features + in * in_channels;
        auto const* const dy = arguments.grad_output + o * out_channels;
        std::transform(dy, dy + out_channels, gradient.begin(),
                       [](Scalar value) { return static_cast<Sum>(value); });
        for (std::int64_t c = 0; c < in_channels; ++c) {
          auto const value = static_cast<Sum>(x[c]);
          auto* const to = sums + c * out_channels;
          for (std::int64_t j = 0; j < out_channels; ++j) {
            to[j] += value * gradient[static_cast<std::size_t>(j)];
          }
        }
      }
    }
  });
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
