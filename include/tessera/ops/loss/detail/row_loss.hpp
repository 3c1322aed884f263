// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/loss/detail/class_rows.hpp>

#include <cstdint>
#include <type_traits>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

// Losses that are sums of one term a row. A rule says what the term of a row of class y is, by `loss(softmax,
// y)`; how much it weighs in a mean, by `weight(y)`; and what its gradient is, by `gradient(state, softmax,
// y, c)` with the state that `gradient_state(softmax, y)` finds once a row.

/// The loss of a row and its weight, or their sums.
template <class Sum>
struct WeightedLoss {
  Sum loss = 0;
  Sum weight = 0;

  [[nodiscard]] TESSERA_HOST_DEVICE friend WeightedLoss operator+(WeightedLoss const& a,
                                                                  WeightedLoss const& b)
  {
    return {a.loss + b.loss, a.weight + b.weight};
  }
};

template <class Scalar, class Rule>
struct LossOfRow {
  ClassRows<Scalar> rows;
  Rule rule;
  WeightedLoss<accumulator_t<Scalar>>* losses;  // [capacity]

  TESSERA_HOST_DEVICE void operator()(std::int64_t row) const
  {
    int const y = rows.class_of(row);
    losses[row] = {};
    if (y >= 0) { losses[row] = {rule.loss(rows.softmax(row), y), rule.weight(y)}; }
  }
};

template <class Scalar, class Rule>
struct WeightOfRow {
  ClassRows<Scalar> rows;
  Rule rule;
  accumulator_t<Scalar>* weights;  // [capacity]

  TESSERA_HOST_DEVICE void operator()(std::int64_t row) const
  {
    int const y = rows.class_of(row);
    weights[row] = y >= 0 ? rule.weight(y) : 0;
  }
};

/// loss = sum / divisor, 0 where the divisor is; divisor[0] keeps it, 1 of a sum.
template <class Sum>
struct FinishLoss {
  WeightedLoss<Sum> const* sums;  // [1]
  Sum const* normalizer;          // [1], or null: the sum of the weights
  Sum* loss;                      // [1]
  Sum* divisor;                   // [1]
  bool is_mean;

  TESSERA_HOST_DEVICE void operator()(std::int64_t) const
  {
    auto const by = !is_mean ? Sum{1} : normalizer != nullptr ? *normalizer : sums->weight;
    *divisor = by;
    *loss = by != 0 ? sums->loss / by : Sum{0};
  }
};

/// The loss of what rows add up to, and what it was divided by.
template <class Sum, class Options, class Space>
[[nodiscard]] Matrix<Sum, Space> finish_loss(WeightedLoss<Sum> const* sums, Options const& options,
                                             Buffer<Sum, Space>& divisor, Execution<Space> const& exec)
{
  Matrix<Sum, Space> loss{1, 1, exec};
  divisor = {1, exec};
  for_each(1,
           FinishLoss<Sum>{sums, options.normalizer(), loss.data(), divisor.data(),
                           options.reduction() == ops::Reduction::mean},
           exec);
  return loss;
}

/// dx[row, c] = grad / divisor * the gradient of the row's term, 0 in rows that have no part.
template <class Scalar, class Rule>
struct GradientOfRow {
  using Sum = accumulator_t<Scalar>;

  ClassRows<Scalar> rows;
  Rule rule;
  Sum const* grad;     // [1]
  Sum const* divisor;  // [1]
  Scalar* dx;          // [capacity, classes]

  TESSERA_HOST_DEVICE void operator()(std::int64_t row) const
  {
    auto* const own = dx + row * rows.classes;
    int const y = rows.class_of(row);
    auto const by = *divisor;
    if (y < 0 || by == 0) {
      for (int c = 0; c < rows.classes; ++c) { own[c] = static_cast<Scalar>(0.0F); }
      return;
    }
    auto const softmax = rows.softmax(row);
    auto const state = rule.gradient_state(softmax, y);
    auto const scale = *grad / by;
    for (int c = 0; c < rows.classes; ++c) {
      own[c] = static_cast<Scalar>(scale * rule.gradient(state, softmax, y, c));
    }
  }
};

/// What a mean of the losses divides by, [1].
template <class Value, class Options, class Space>
[[nodiscard]] Buffer<accumulator_t<scalar_of_rows<Value>>, Space> weight_of_rows(
    Value const& x, ops::LabelsView const& labels, Options const& options, Execution<Space> const& exec)
{
  using Scalar = scalar_of_rows<Value>;
  auto const rows = class_rows(x, labels, options, Options::name, exec);
  auto const rule = options.rule();
  Buffer<accumulator_t<Scalar>, Space> weights{rows.rows.capacity, exec};
  for_each(weights.size(), WeightOfRow<Scalar, std::decay_t<decltype(rule)>>{rows, rule, weights.data()},
           exec);
  return sum_rows(weights.data(), rows.rows, 1, exec);
}

/// Throws unless a loss's gradient is one number.
template <class Sum>
void expect_one(MatrixView<Sum> const& grad, char const* who)
{
  expects(grad.size() == 1, who, ": a gradient of ", grad.rows, " x ", grad.columns, "; a loss is 1 x 1");
}

/// @param divisor  [1] in the space
template <class Value, class Options, class Space>
[[nodiscard]] Matrix<scalar_of_rows<Value>, Space> row_loss_gradient(
    MatrixView<accumulator_t<scalar_of_rows<Value>> const> const& grad, Value const& x,
    ops::LabelsView const& labels, Options const& options,
    accumulator_t<scalar_of_rows<Value>> const* divisor, Execution<Space> const& exec)
{
  using Scalar = scalar_of_rows<Value>;
  expect_one(grad, Options::backward_name);
  auto const logits = rows_of(x);
  ClassRows<Scalar> const rows{logits.data, labels.data, used_rows(x), static_cast<int>(logits.columns),
                               options.ignored()};
  auto const rule = options.rule();
  Matrix<Scalar, Space> dx{logits.rows, logits.columns, exec};
  for_each(dx.rows(),
           GradientOfRow<Scalar, std::decay_t<decltype(rule)>>{rows, rule, grad.data, divisor, dx.data()},
           exec);
  return dx;
}

/// A loss that is a sum of one term a row of logits, as `Options` have it.
template <class Sum, class Options>
struct RowLoss {
  static constexpr char const* name = Options::name;
  static constexpr char const* obstacle = "its labels are those of one input";

  template <class Space>
  struct Kept {
    Buffer<Sum, Space> divisor;  // [1]
  };

  template <class Value, class Space>
  [[nodiscard]] Matrix<Sum, Space> compute(Value const& x, Kept<Space>& kept,
                                           Execution<Space> const& exec) const
  {
    using Scalar = scalar_of_rows<Value>;
    options.check();
    auto const rows = class_rows(x, labels, options, name, exec);
    auto const rule = options.rule();
    Buffer<WeightedLoss<Sum>, Space> losses{rows.rows.capacity, exec};
    for_each(losses.size(), LossOfRow<Scalar, std::decay_t<decltype(rule)>>{rows, rule, losses.data()}, exec);
    auto const sums = sum_rows(losses.data(), rows.rows, 1, exec);
    return finish_loss(sums.data(), options, kept.divisor, exec);
  }
  template <class Value, class Space>
  [[nodiscard]] Matrix<scalar_of_rows<Value>, Space> gradient(MatrixView<Sum const> const& grad,
                                                              Value const& x, Kept<Space> const& kept,
                                                              Execution<Space> const& exec) const
  {
    return row_loss_gradient(grad, x, labels, options, kept.divisor.data(), exec);
  }

  ops::LabelsView labels;
  Options options;
};

/// The gradient of a loss whose divisor nobody has kept.
template <class Value, class Options, class Space>
[[nodiscard]] Matrix<scalar_of_rows<Value>, Space> row_loss_backward(
    MatrixView<accumulator_t<scalar_of_rows<Value>> const> const& grad, Value const& x,
    ops::LabelsView const& labels, Options const& options, Execution<Space> const& exec)
{
  using Sum = accumulator_t<scalar_of_rows<Value>>;
  options.check();
  auto const own = weight_of_rows(x, labels, options, exec);  // checks the labels too
  Buffer<Sum, Space> one;
  auto const* divisor = options.normalizer() != nullptr ? options.normalizer() : own.data();
  if (options.reduction() == ops::Reduction::sum) {
    one = {1, exec};
    for_each(1, StoreValue<Sum>{one.data(), Sum{1}}, exec);
    divisor = one.data();
  }
  return row_loss_gradient(grad, x, labels, options, divisor, exec);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
