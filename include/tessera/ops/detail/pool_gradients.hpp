// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/detail/pool_windows.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// counts[i] = pairs of row i of a map.
struct CountRowPairs {
  std::int32_t const* map;  // [rows, volume]
  int volume;
  std::int32_t* counts;  // [rows]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    counts[i] = for_each_pair_of(map, volume, i, [](std::int32_t) {});
  }
};

/// The sum of value / divisor[source]; of a mean, over the number of pairs.
template <class Scalar>
struct SumOfShares {
  using Sum = accumulator_t<Scalar>;

  Sum begin;                    // 0
  std::int32_t const* divisor;  // [sources], or null: ones
  bool is_mean;

  [[nodiscard]] TESSERA_HOST_DEVICE Sum term(Sum value, std::int32_t source) const
  {
    return divisor != nullptr ? value / static_cast<Sum>(divisor[source]) : value;
  }
  [[nodiscard]] TESSERA_HOST_DEVICE static Sum combine(Sum a, Sum b) { return a + b; }
  [[nodiscard]] TESSERA_HOST_DEVICE Sum finish(Sum value, int count) const
  {
    return is_mean ? value / static_cast<Sum>(count) : value;
  }
};

/// to[i, c] = sum over the pairs (i, s) of from[s, c] / divisor[s], offsets ascending; of a mean, over the
/// number of pairs.
template <class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> sum_over_pairs(MatrixView<Scalar const> const& from,
                                                   KernelMap<Space>& map, std::int32_t const* divisor,
                                                   bool is_mean, Execution<Space> const& exec)
{
  return pool_windows<Scalar>(from, map, SumOfShares<Scalar>{{}, divisor, is_mean}, exec);
}

/// Pairs of each row of a map, [num_out].
template <class Space>
[[nodiscard]] Buffer<std::int32_t, Space> count_row_pairs(KernelMap<Space>& map, Execution<Space> const& exec)
{
  Buffer<std::int32_t, Space> counts{map.num_out(), exec};
  for_each(map.num_out(), CountRowPairs{map.out_in(exec), map.volume(), counts.data()}, exec);
  return counts;
}

/// winner[o, c] = the input that output o has its largest value of channel c from: the first of equal ones,
/// the first NaN; -1 where none is above the value that the pool begins with.
template <class Scalar>
struct FindWinners {
  using Sum = accumulator_t<Scalar>;

  Scalar const* features;      // [num_in, channels]
  std::int32_t const* out_in;  // [num_out, volume]
  std::int32_t* winner;        // [num_out, channels]
  int volume;
  std::int64_t channels;
  bool from_zero;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    auto const out = n / channels;
    auto const c = n - out * channels;
    std::int32_t best = -1;
    Sum largest{0};
    for_each_pair_of(out_in, volume, out, [&](std::int32_t in) {
      if (best >= 0 && is_nan(largest)) { return; }
      auto const value = static_cast<Sum>(features[in * channels + c]);
      bool const is_first = best < 0 && !from_zero;
      if (is_first || is_nan(value) || value > largest) {
        best = in;
        largest = value;
      }
    });
    winner[n] = best;
  }
};

/// grad_in[i, c] = sum over the outputs o that input i is the winner of, of grad[o, c], offsets ascending.
template <class Scalar>
struct SumOfWins {
  using Sum = accumulator_t<Scalar>;

  Scalar const* grad;              // [num_out, channels]
  std::int32_t const* winner;      // [num_out, channels]
  std::int32_t const* transposed;  // [num_in, volume]
  Scalar* grad_in;                 // [num_in, channels]
  int volume;
  std::int64_t channels;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    auto const in = n / channels;
    auto const c = n - in * channels;
    Sum sum{0};
    for_each_pair_of(transposed, volume, in, [&](std::int32_t out) {
      if (winner[out * channels + c] == in) { sum += static_cast<Sum>(grad[out * channels + c]); }
    });
    grad_in[n] = static_cast<Scalar>(sum);
  }
};

/// The map of a pool, whose outputs must be as many as the rows of the gradient.
template <int Dim, class Scalar, class Space>
[[nodiscard]] MappedCoordinates<Dim, Space> pool_map_of(SparseTensor<Dim, Scalar, Space> const& x,
                                                        nn::PoolOptions<Dim> const& options,
                                                        MatrixView<Scalar const> const& grad, char const* who,
                                                        Execution<Space> const& exec)
{
  expect_coordinates(x, who);
  auto mapped = pool_map(x, options, who, exec);
  expects(grad.rows == mapped.map->num_out(), who, ": ", grad.rows, " rows of a gradient for ",
          mapped.map->num_out(), " outputs");
  return mapped;
}

/// The gradient of the pool of `Rule` over `map` for its input, whose features are read where an output is one
/// of its inputs.
template <class Rule, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> pool_backward_over(KernelMap<Space>& map,
                                                       MatrixView<Scalar const> const& grad,
                                                       MatrixView<Scalar const> const& features,
                                                       [[maybe_unused]] bool from_zero,
                                                       Execution<Space> const& exec)
{
  auto const transposed = transpose(map, exec);
  if constexpr (!Rule::takes_one) {
    auto const counts = Rule::is_mean ? count_row_pairs(map, exec) : Buffer<std::int32_t, Space>{};
    return sum_over_pairs<Scalar>(grad, *transposed, counts.data(), false, exec);
  } else {
    expects(grad.columns == features.columns, Rule::backward_name, ": ", grad.columns,
            " channels of a gradient for ", features.columns);
    Buffer<std::int32_t, Space> winner{grad.size(), exec};
    for_each(grad.size(),
             FindWinners<Scalar>{features.data, map.out_in(exec), winner.data(), map.volume(), grad.columns,
                                 from_zero},
             exec);
    Matrix<Scalar, Space> result{map.num_in(), features.columns, exec};
    for_each(result.size(),
             SumOfWins<Scalar>{grad.data, winner.data(), transposed->out_in(exec), result.data(),
                               map.volume(), grad.columns},
             exec);
    return result;
  }
}

/// The gradient of the pool of `Rule` for `x`.
template <class Rule, int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> pool_backward(MatrixView<Scalar const> const& grad,
                                                  SparseTensor<Dim, Scalar, Space> const& x,
                                                  nn::PoolOptions<Dim> const& options,
                                                  Execution<Space> const& exec)
{
  auto const mapped = pool_map_of(x, options, grad, Rule::backward_name, exec);
  bool const from_zero =
      rules::visit(pool_config(options).compat, [](auto rules) { return rules.pools_from_zero; });
  return pool_backward_over<Rule>(*mapped.map, grad, x.features(), from_zero, exec);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
