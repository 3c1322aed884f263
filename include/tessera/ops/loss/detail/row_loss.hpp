// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/loss/detail/class_rows.hpp>
#include <tessera/ops/record.hpp>

#include <cstdint>
#include <memory>
#include <utility>
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

/// A loss, and what its sum was divided by, [1].
template <class Sum, class Space>
struct DividedLoss {
  Matrix<Sum, Space> loss;  // [1, 1]
  std::shared_ptr<Buffer<Sum, Space> const> divisor;
};

template <class Value, class Options, class Space>
[[nodiscard]] DividedLoss<accumulator_t<scalar_of_rows<Value>>, Space> row_loss_unrecorded(
    Value const& x, ops::LabelsView const& labels, Options const& options, Execution<Space> const& exec)
{
  using Scalar = scalar_of_rows<Value>;
  using Sum = accumulator_t<Scalar>;
  options.check();
  auto const rows = class_rows(x, labels, options, Options::name, exec);
  auto const rule = options.rule();
  Buffer<WeightedLoss<Sum>, Space> losses{rows.rows.capacity, exec};
  for_each(losses.size(), LossOfRow<Scalar, std::decay_t<decltype(rule)>>{rows, rule, losses.data()}, exec);
  auto const sums = sum_rows(losses.data(), rows.rows, 1, exec);
  Matrix<Sum, Space> loss{1, 1, exec};
  auto divisor = std::make_shared<Buffer<Sum, Space>>(1, exec);
  for_each(1,
           FinishLoss<Sum>{sums.data(), options.normalizer(), loss.data(), divisor->data(),
                           options.reduction() == ops::Reduction::mean},
           exec);
  return {std::move(loss), std::move(divisor)};
}

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

namespace ops {

/// A loss that is a sum of one term a row of logits.
template <class Options, class Value, class Space>
struct RowLossRecord final
    : FunctionRecord<RowLossRecord<Options, Value, Space>, Space,
                     Matrix<accumulator_t<detail::scalar_of_rows<Value>>, Space>, Value> {
  using Sum = accumulator_t<detail::scalar_of_rows<Value>>;

  RowLossRecord(Matrix<Sum, Space> const& loss, Value const& x, LabelsView const& of, Options const& with)
      : RowLossRecord::FunctionRecord{Recorded<Matrix<Sum, Space>>{loss}, Recorded<Value>{x}},
        labels{of},
        options{with}
  {}

  [[nodiscard]] char const* name() const noexcept override { return Options::name; }
  [[nodiscard]] char const* obstacle() const noexcept override { return "its labels are those of one input"; }
  [[nodiscard]] Matrix<Sum, Space> compute(Value const& x, Execution<Space> const& exec) const
  {
    return detail::row_loss_unrecorded(x, labels, options, exec).loss;
  }
  [[nodiscard]] Matrix<Sum, Space> compute_again(Value const& x, Execution<Space> const& exec)
  {
    auto result = detail::row_loss_unrecorded(x, labels, options, exec);
    divisor = std::move(result.divisor);
    return std::move(result.loss);
  }
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    auto const& x = this->input();
    if (!gradients.wants(x.id())) { return; }
    auto const grad = gradients.template of<Sum>(this->output().id());
    gradients.add(x.id(), detail::row_loss_gradient(grad, *x.value(), labels, options, divisor->data(), exec),
                  exec);
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/) { this->output().give_back(); }
  void drop_kept() { divisor = nullptr; }

  LabelsView labels;
  Options options;
  std::shared_ptr<Buffer<Sum, Space> const> divisor;  // [1] of the recorded rows
};

}  // namespace ops

namespace detail {

template <class Value, class Options, class Space>
[[nodiscard]] Matrix<accumulator_t<scalar_of_rows<Value>>, Space> row_loss(Value const& x,
                                                                           ops::LabelsView const& labels,
                                                                           Options const& options,
                                                                           Execution<Space> const& exec)
{
  using Sum = accumulator_t<scalar_of_rows<Value>>;
  std::shared_ptr<Buffer<Sum, Space> const> divisor;
  return run_recorded(
      exec,
      [&](auto const& inside) {
        auto result = row_loss_unrecorded(x, labels, options, inside);
        divisor = std::move(result.divisor);
        return std::move(result.loss);
      },
      [&](auto const& loss) {
        auto record = std::make_shared<ops::RowLossRecord<Options, Value, Space>>(loss, x, labels, options);
        record->divisor = divisor;
        return record;
      });
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
