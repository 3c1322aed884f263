// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <cmath>
#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): a bijection whose outputs look unrelated.
[[nodiscard]] constexpr std::uint64_t splitmix64(std::uint64_t x) noexcept
{
  x += 0x9e3779b97f4a7c15U;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

/// SplitMix64. Its numbers are the same with every compiler, which those of the distributions in
/// `<random>` are not. A stream is named by three numbers, so that each thing (a house, a ray) has
/// a stream of its own and the order in which things are made does not matter.
class Random {
 public:
  explicit Random(std::uint64_t seed, std::uint64_t stream = 0, std::uint64_t index = 0) noexcept
      : state_{splitmix64(seed + splitmix64(stream + splitmix64(index)))}
  {}

  [[nodiscard]] std::uint64_t next() noexcept
  {
    state_ += 0x9e3779b97f4a7c15U;
    return splitmix64(state_);
  }

  /// In [0, 1), a multiple of 2^-53.
  [[nodiscard]] double uniform() noexcept { return static_cast<double>(next() >> 11) * 0x1p-53; }

  [[nodiscard]] double uniform(double low, double high) noexcept { return low + (high - low) * uniform(); }

  [[nodiscard]] bool chance(double probability) noexcept { return uniform() < probability; }

  /// Mean 0, variance 1, within +-3.5: the sum of four uniform numbers, without libm.
  [[nodiscard]] double bell() noexcept
  {
    double sum = -2.0;
    for (int i = 0; i < 4; ++i) { sum += uniform(); }
    return sum * 1.7320508075688772;
  }

 private:
  std::uint64_t state_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
