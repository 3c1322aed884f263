// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/loss/detail/row_loss.hpp>
#include <tessera/ops/loss/loss_record.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {

/// Options of smooth_l1(): `SmoothL1Options<float>().beta(1.0 / 9)`.
/// @tparam Sum  accumulator_t of the scalar
template <class Sum>
class SmoothL1Options {
 public:
  /// The distance below which the loss is a parabola; 0: nowhere.
  SmoothL1Options& beta(double value) { return beta_ = value, *this; }
  [[nodiscard]] double beta() const noexcept { return beta_; }
  /// How much each row counts, [rows] in the values' space; without it 1.
  SmoothL1Options& row_weights(Sum const* weights) { return row_weights_ = weights, *this; }
  [[nodiscard]] Sum const* row_weights() const noexcept { return row_weights_; }
  SmoothL1Options& reduction(ops::Reduction value) { return reduction_ = value, *this; }
  [[nodiscard]] ops::Reduction reduction() const noexcept { return reduction_; }
  /// What a mean divides by, [1] in the values' space, in place of the weights of the own elements.
  SmoothL1Options& normalizer(Sum const* value) { return normalizer_ = value, *this; }
  [[nodiscard]] Sum const* normalizer() const noexcept { return normalizer_; }

 private:
  double beta_ = 1;
  Sum const* row_weights_ = nullptr;
  Sum const* normalizer_ = nullptr;
  ops::Reduction reduction_ = ops::Reduction::mean;
};

namespace detail {

/// Values and what they should be, for kernels.
template <class Scalar>
struct SmoothL1Rows {
  using Sum = accumulator_t<Scalar>;

  Scalar const* x;       // [capacity, columns]
  Scalar const* target;  // [capacity, columns]
  Sum const* weights;    // [capacity], or null: ones
  RowCount rows;
  std::int64_t columns;
  Sum beta;

  [[nodiscard]] TESSERA_HOST_DEVICE Sum weight(std::int64_t row) const
  {
    return weights != nullptr ? weights[row] : Sum{1};
  }
  [[nodiscard]] TESSERA_HOST_DEVICE Sum distance(std::int64_t i) const
  {
    return static_cast<Sum>(x[i]) - static_cast<Sum>(target[i]);
  }
  /// `d^2 / (2 beta)` below beta, else `|d| - beta / 2`.
  [[nodiscard]] TESSERA_HOST_DEVICE Sum loss(Sum d) const
  {
    auto const size = d < 0 ? -d : d;
    return size < beta ? d * d / (2 * beta) : size - beta / 2;
  }
  /// `d / beta` below beta, else the sign.
  [[nodiscard]] TESSERA_HOST_DEVICE Sum gradient(Sum d) const
  {
    if (d >= beta && d > 0) { return Sum{1}; }
    if (d <= -beta && d < 0) { return Sum{-1}; }
    return beta > 0 || is_nan(d) ? d / (beta > 0 ? beta : Sum{1}) : Sum{0};
  }
};

template <class Scalar>
struct SmoothL1OfRow {
  SmoothL1Rows<Scalar> rows;
  WeightedLoss<accumulator_t<Scalar>>* losses;  // [capacity]

  TESSERA_HOST_DEVICE void operator()(std::int64_t row) const
  {
    using Sum = accumulator_t<Scalar>;
    losses[row] = {};
    if (row >= rows.rows.size()) { return; }
    Sum sum{0};
    for (std::int64_t c = 0; c < rows.columns; ++c) {
      sum += rows.loss(rows.distance(row * rows.columns + c));
    }
    losses[row] = {rows.weight(row) * sum, rows.weight(row) * static_cast<Sum>(rows.columns)};
  }
};

/// dx[i] = grad / divisor * weight of the row * the gradient of the element, 0 in rows that are not in use.
template <class Scalar>
struct SmoothL1Gradient {
  using Sum = accumulator_t<Scalar>;

  SmoothL1Rows<Scalar> rows;
  Sum const* grad;     // [1]
  Sum const* divisor;  // [1]
  Scalar* dx;          // [capacity, columns]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto const row = i / rows.columns;
    auto const by = *divisor;
    bool const takes_part = row < rows.rows.size() && by != 0;
    dx[i] = takes_part ? static_cast<Scalar>(*grad / by * rows.weight(row) * rows.gradient(rows.distance(i)))
                       : Scalar(0.0F);
  }
};

template <class Value, class Space>
[[nodiscard]] SmoothL1Rows<scalar_of_rows<Value>> smooth_l1_rows(
    Value const& x, MatrixView<scalar_of_rows<Value> const> const& target,
    SmoothL1Options<accumulator_t<scalar_of_rows<Value>>> const& options, char const* who,
    Execution<Space> const& /*exec*/)
{
  expect_rows(x, who);
  auto const values = rows_of(x);
  expects(target.rows == values.rows && target.columns == values.columns, who, ": targets of ", target.rows,
          " x ", target.columns, " for ", values.rows, " rows of ", values.columns, " columns");
  expects(options.beta() >= 0, who, ": beta ", options.beta(), " is negative");
  return {values.data,  target.data,    options.row_weights(),
          used_rows(x), values.columns, static_cast<accumulator_t<scalar_of_rows<Value>>>(options.beta())};
}

/// smooth_l1() of rows and what they should be.
template <class Scalar>
struct SmoothL1 {
  static constexpr char const* name = "smooth_l1";
  static constexpr char const* obstacle = "its targets are those of one input";
  using Sum = accumulator_t<Scalar>;

  template <class Space>
  struct Kept {
    Buffer<Sum, Space> divisor;  // [1]
  };

  template <class Value, class Space>
  [[nodiscard]] Matrix<Sum, Space> compute(Value const& x, Kept<Space>& kept,
                                           Execution<Space> const& exec) const
  {
    auto const rows = smooth_l1_rows(x, target, options, name, exec);
    Buffer<WeightedLoss<Sum>, Space> losses{rows.rows.capacity, exec};
    for_each(losses.size(), SmoothL1OfRow<Scalar>{rows, losses.data()}, exec);
    auto const sums = sum_rows(losses.data(), rows.rows, 1, exec);
    return finish_loss(sums.data(), options, kept.divisor, exec);
  }
  template <class Value, class Space>
  [[nodiscard]] Matrix<Scalar, Space> gradient(MatrixView<Sum const> const& grad, Value const& x,
                                               Kept<Space> const& kept, Execution<Space> const& exec) const
  {
    expect_one(grad, "smooth_l1_backward");
    auto const rows = smooth_l1_rows(x, target, options, "smooth_l1_backward", exec);
    Matrix<Scalar, Space> dx{rows.rows.capacity, rows.columns, exec};
    for_each(dx.size(), SmoothL1Gradient<Scalar>{rows, grad.data, kept.divisor.data(), dx.data()}, exec);
    return dx;
  }

  MatrixView<Scalar const> target;
  SmoothL1Options<Sum> options;
};

}  // namespace detail

/// The smooth L1 loss (Huber's over beta) of rows of values and what they should be: with `d = x[i, c] -
/// target[i, c]`, `loss = sum of w[i] * (d^2 / (2 beta) where |d| < beta, else |d| - beta / 2)`, over the sum
/// of the weights of all elements where a mean is asked for.
///
/// | name    | shape           | memory | holds                                                                    |
/// |---------|-----------------|--------|--------------------------------------------------------------------------|
/// | x       | [rows, columns] | Space  | a SparseTensor, PointTensor or Matrix                                    |
/// | target  | [rows, columns] | Space  | any values; constant, and stays as it is until the gradient was computed |
/// | returns | [1, 1]          | Space  | the loss in float (double for double)                                    |
///
/// Rows that are not in use have no part. Where all weights are 0 the loss is 0. NaN flows.
/// @throws invalid_argument  targets of another shape, a negative beta
/// Cost: one pass over both.
/// Stream: enqueues a few kernels, does not wait.
/// Determinism: the same bits on every run and for any capacity; they depend on the order of the rows.
/// Source: PyTorch's smooth_l1_loss; Girshick 2015.
template <class Value, class Space>
[[nodiscard]] Matrix<accumulator_t<detail::scalar_of_rows<Value>>, Space> smooth_l1(
    Value const& x, MatrixView<detail::scalar_of_rows<Value> const> const& target,
    SmoothL1Options<accumulator_t<detail::scalar_of_rows<Value>>> const& options,
    Execution<Space> const& exec)
{
  return detail::compute_loss(detail::SmoothL1<detail::scalar_of_rows<Value>>{target, options}, x, exec);
}

/// The gradient of smooth_l1() for `x`: `g[i, c] = s * w[i] * (d / beta where |d| < beta, else the sign of
/// d)` with `s = grad / (what the mean divided by)`; 0 in rows that are not in use.
/// @param grad  [1, 1] in `Space`: the gradient of the loss
/// Other arguments and errors: as smooth_l1().
/// Cost: two passes over both. Stream, determinism: as smooth_l1().
template <class Value, class Space>
[[nodiscard]] Matrix<detail::scalar_of_rows<Value>, Space> smooth_l1_backward(
    MatrixView<accumulator_t<detail::scalar_of_rows<Value>> const> const& grad, Value const& x,
    MatrixView<detail::scalar_of_rows<Value> const> const& target,
    SmoothL1Options<accumulator_t<detail::scalar_of_rows<Value>>> const& options,
    Execution<Space> const& exec)
{
  return detail::compute_loss_backward(grad, detail::SmoothL1<detail::scalar_of_rows<Value>>{target, options},
                                       x, exec);
}

}  // namespace v0
}  // namespace tessera
