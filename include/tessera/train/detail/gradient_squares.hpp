// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/buffer.hpp>
#include <tessera/core/int_array.hpp>
#include <tessera/core/parallel.hpp>
#include <tessera/train/parameter_arena.hpp>

#include <algorithm>
#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// to[i] = the squares of the gradients of every `lanes`-th four from the i-th on, summed in order; of
/// segments that are trained.
template <class Sum>
struct SumSquares {
  Sum const* gradients;             // [4 * fours]
  std::int32_t const* segment_of;   // [fours / 2]
  SegmentSettings const* settings;  // [segments]
  std::int64_t fours;
  std::int64_t lanes;
  double* to;  // [lanes]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    double sum = 0;
    for (auto four = i; four < fours; four += lanes) {
      if (settings[segment_of[four / 2]].is_trained == 0) { continue; }
      for (int k = 0; k < 4; ++k) {
        auto const value = static_cast<double>(gradients[4 * four + k]);
        sum += value * value;
      }
    }
    to[i] = sum;
  }
};

/// to[i] = every `lanes`-th number from the i-th on, summed in order.
struct SumStrided {
  double const* from;  // [count]
  std::int64_t count;
  std::int64_t lanes;
  double* to;  // [lanes]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    double sum = 0;
    for (auto j = i; j < count; j += lanes) { sum += from[j]; }
    to[i] = sum;
  }
};

/// The sum of squares of an arena's gradients, in double, which holds the square of any float: not finite
/// exactly where a gradient of float is not. Which numbers are added in which order follows from the arena's
/// size alone.
template <class Space>
class GradientSquares {
 public:
  GradientSquares(std::int64_t gradient_size, Execution<Space> const& exec)
      : fours_{gradient_size / 4},
        lanes_{std::clamp<std::int64_t>(fours_ / 16, 1, most_lanes)},
        sums_{2 * lanes_ + 1, exec}
  {}

  /// Where the sum lies after enqueue().
  [[nodiscard]] double const* result() const noexcept { return sums_.data(); }

  /// Cost: one pass over the gradients, and three small kernels at most.
  /// Stream: enqueues on `exec`, does not wait.
  template <class Scalar>
  void enqueue(train::ParameterArena<Scalar, Space>& arena, Execution<Space> const& exec)
  {
    using Sum = accumulator_t<Scalar>;
    auto* const result = sums_.data();
    auto* from = result + 1;
    auto* to = from + lanes_;
    auto count = lanes_;
    for_each(count,
             SumSquares<Sum>{arena.gradients().data, arena.segment_of(), arena.settings(), fours_, count,
                             count == 1 ? result : from},
             exec);
    while (count > 1) {
      auto const lanes = ceil_div(count, fan_in);
      for_each(lanes, SumStrided{from, count, lanes, lanes == 1 ? result : to}, exec);
      std::swap(from, to);
      count = lanes;
    }
  }

 private:
  static constexpr std::int64_t most_lanes =
      65536;  // threads that a GPU of 132 SMs has at work, and some in reserve
  static constexpr std::int64_t fan_in = 64;

  std::int64_t fours_;
  std::int64_t lanes_;
  Buffer<double, Space> sums_;  // the result, and two rows of partial sums
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
