// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/loss/detail/softmax_gradient.hpp>
#include <tessera/ops/row_statistics.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Sums over the rows of a class: of p where it is the row's, of p or p^2, and the number of its rows.
template <class Sum>
struct Overlap {
  Sum both = 0;
  Sum predicted = 0;
  Sum rows = 0;

  [[nodiscard]] TESSERA_HOST_DEVICE friend Overlap operator+(Overlap const& a, Overlap const& b)
  {
    return {a.both + b.both, a.predicted + b.predicted, a.rows + b.rows};
  }
};

template <class Scalar>
struct OverlapOfRows {
  using Sum = accumulator_t<Scalar>;
  using Value = Overlap<Sum>;
  static constexpr int pack = 1;
  [[nodiscard]] TESSERA_HOST_DEVICE static constexpr Value identity() { return {}; }

  ClassRows<Scalar> rows;
  Sum const* p;  // [capacity, classes]
  bool squared;

  [[nodiscard]] TESSERA_HOST_DEVICE Value at(std::int64_t row, int, int c) const
  {
    int const y = rows.class_of(row);
    if (y < 0) { return {}; }
    auto const own = p[row * rows.classes + c];
    return {y == c ? own : Sum{0}, squared ? own * own : own, y == c ? Sum{1} : Sum{0}};
  }
  [[nodiscard]] TESSERA_HOST_DEVICE static Value combine(Value const& a, Value const& b) { return a + b; }
};

/// What the gradient for the probabilities of a class is made of.
template <class Sum>
struct DiceCoefficients {
  Sum of_both;       // dloss / dboth
  Sum of_predicted;  // dloss / dpredicted
};

/// `loss = 1 - mean over the classes that count of (2 both + smooth) / (predicted + rows + smooth)`; a class
/// of which the divisor is 0 is predicted perfectly.
template <class Sum>
struct FinishDice {
  Overlap<Sum> const* overlaps;         // [ranks, classes]
  Sum* loss;                            // [1]
  DiceCoefficients<Sum>* coefficients;  // [classes]
  int ranks;
  int classes;
  Sum smooth;
  bool present_alone;

  TESSERA_HOST_DEVICE void operator()(std::int64_t) const
  {
    int counted = 0;
    Sum sum{0};
    for (int c = 0; c < classes; ++c) {
      coefficients[c] = {};
      auto const o = overlap(c);
      if (present_alone && !(o.rows > 0)) { continue; }
      ++counted;
      auto const divisor = o.predicted + o.rows + smooth;
      auto const dice = divisor != 0 ? (2 * o.both + smooth) / divisor : Sum{1};
      sum += dice;
      if (divisor != 0) { coefficients[c] = {-2 / divisor, dice / divisor}; }
    }
    *loss = counted > 0 ? Sum{1} - sum / static_cast<Sum>(counted) : Sum{0};
    for (int c = 0; c < classes && counted > 0; ++c) {
      coefficients[c].of_both /= static_cast<Sum>(counted);
      coefficients[c].of_predicted /= static_cast<Sum>(counted);
    }
  }

 private:
  [[nodiscard]] TESSERA_HOST_DEVICE Overlap<Sum> overlap(int c) const
  {
    Overlap<Sum> all;
    for (int rank = 0; rank < ranks; ++rank) { all = all + overlaps[std::int64_t{rank} * classes + c]; }
    return all;
  }
};

/// The gradient of the loss for a probability.
template <class Sum>
struct DiceGradient {
  DiceCoefficients<Sum> const* coefficients;  // [classes]
  bool squared;

  [[nodiscard]] TESSERA_HOST_DEVICE Sum operator()(std::int64_t, int y, int c, Sum p) const
  {
    auto const& own = coefficients[c];
    return (c == y ? own.of_both : Sum{0}) + own.of_predicted * (squared ? 2 * p : Sum{1});
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
