// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/detail/pool_gradients.hpp>

#include <cstdint>
#include <type_traits>

namespace tessera {
inline namespace v0 {

/// What a pool makes of the values in a window.
enum class PoolKind : std::uint8_t { max, average, sum };

namespace detail {

/// Calls `f(rule)` with a pool's rule.
template <class Scalar, class F>
decltype(auto) with_pool_rule(PoolKind kind, bool from_zero, F const& f)
{
  switch (kind) {
    case PoolKind::max: return f(LargestInWindow<Scalar>::make(from_zero));
    case PoolKind::average: return f(MeanOfWindow<Scalar>::make(from_zero));
    default: return f(SumOfWindow<Scalar>::make(from_zero));
  }
}

}  // namespace detail

/// The pool of `features` over a map that is there already, for bindings and for those who make maps themselves.
///
/// | name      | shape                    | memory | holds                                                    |
/// |-----------|--------------------------|--------|----------------------------------------------------------|
/// | features  | [map.num_in(), channels] | Space  | any values                                               |
/// | from_zero |                          | host   | whether a maximum begins at 0, as compat::spconv has it  |
/// | returns   | [map.num_out(), channels] | Space | as max_pool(), average_pool(), sum_pool(); 0 of no pairs |
///
/// @throws invalid_argument  another number of rows
/// Cost: one read of every pair.
/// Stream: enqueues one kernel, does not wait.
/// Determinism: the same bits on every run and for every order of the input rows.
template <class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> pool_over_map(PoolKind kind, MatrixView<Scalar const> const& features,
                                                  KernelMap<Space>& map, bool from_zero,
                                                  Execution<Space> const& exec)
{
  detail::expects(features.rows == map.num_in(), "pool_over_map: ", features.rows,
                  " rows of features for a map of ", map.num_in());
  return detail::with_pool_rule<Scalar>(
      kind, from_zero, [&](auto const& rule) { return detail::pool_windows(features, map, rule, exec); });
}

/// The gradient of pool_over_map() for its features: that of the pool of the same kind.
///
/// @param grad      [map.num_out(), channels] in `Space`
/// @param features  [map.num_in(), channels] in `Space`, read by the maximum's alone
/// @throws invalid_argument  another number of rows or channels
/// Cost: transpose() the first time; one read of every pair.
/// Stream: enqueues on `exec`, does not wait.
/// Determinism: same input, same bits; sums in float (double for double), offsets ascending.
template <class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> pool_over_map_backward(PoolKind kind,
                                                           MatrixView<Scalar const> const& grad,
                                                           MatrixView<Scalar const> const& features,
                                                           KernelMap<Space>& map, bool from_zero,
                                                           Execution<Space> const& exec)
{
  detail::expects(
      grad.rows == map.num_out() && features.rows == map.num_in() && grad.columns == features.columns,
      "pool_over_map_backward: a gradient of ", grad.rows, " x ", grad.columns, " for a map from ",
      map.num_in(), " to ", map.num_out(), " rows and features of ", features.rows, " x ", features.columns);
  return detail::with_pool_rule<Scalar>(kind, from_zero, [&](auto const& rule) {
    using Rule = std::decay_t<decltype(rule)>;
    return detail::pool_backward_over<Rule>(map, grad, features, from_zero, exec);
  });
}

}  // namespace v0
}  // namespace tessera
