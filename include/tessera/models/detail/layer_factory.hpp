// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/conv.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Everything the constructor of a network hands to its layers.
template <int Dim>
class LayerFactory {
 public:
  LayerFactory(std::optional<ConvConfig> const& config, std::uint64_t seed) : config_{config}, seed_{seed} {}

  /// Options of the next layer, with a seed of its own (and the five after it, for a residual block).
  [[nodiscard]] ConvOptions<Dim> conv(int in, int out, IntArray<Dim> const& kernel_size)
  {
    ConvOptions<Dim> options{in, out, kernel_size};
    options.seed(next_seed());
    if (config_) { options.config(*config_); }
    return options;
  }
  [[nodiscard]] std::uint64_t next_seed()
  {
    auto const seed = seed_;
    seed_ += 6;
    return seed;
  }

 private:
  std::optional<ConvConfig> config_;
  std::uint64_t seed_;
};

/// `int(width * c)` for every c, as Python truncates. @throws invalid_argument  one of them is below 1
template <std::size_t N>
[[nodiscard]] std::array<int, N> scaled_channels(std::array<int, N> channels, double width, char const* who)
{
  for (auto& c : channels) {
    auto const scaled = width * c;
    expects(scaled >= 1 && scaled <= 1 << 20, who, ": width ", width, " makes ", scaled, " channels of ", c);
    c = static_cast<int>(scaled);
  }
  return channels;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
