// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/loss/detail/dice.hpp>
#include <tessera/ops/loss/loss_record.hpp>

namespace tessera {
inline namespace v0 {

/// Options of dice_loss(): `DiceLossOptions<float>().ignore(0).smooth(1)`.
/// @tparam Sum  accumulator_t of the logits' scalar
template <class Sum>
class DiceLossOptions : public ClassLossOptions<Sum, DiceLossOptions<Sum>> {
 public:
  static constexpr char const* name = "dice_loss";
  static constexpr char const* backward_name = "dice_loss_backward";

  /// Added above and below, so that classes of few rows do not jump.
  DiceLossOptions& smooth(double value) { return smooth_ = value, *this; }
  [[nodiscard]] double smooth() const noexcept { return smooth_; }
  /// Whether probabilities are squared below, as in the V-Net paper.
  DiceLossOptions& squared(bool value) { return squared_ = value, *this; }
  [[nodiscard]] bool squared() const noexcept { return squared_; }
  /// Which classes the loss is a mean over.
  DiceLossOptions& classes(ops::LossClasses value) { return classes_ = value, *this; }
  [[nodiscard]] ops::LossClasses classes() const noexcept { return classes_; }
  /// Merges the sums of several processes, so that each has the loss of all rows, and gradients add up to
  /// those of one process; or null. Must outlive what records the loss.
  template <class Space>
  DiceLossOptions& exchange(ops::RowExchange<Space>* value)
  {
    return exchange_ = value, *this;
  }
  template <class Space>
  [[nodiscard]] ops::RowExchange<Space>* exchange() const noexcept
  {
    return static_cast<ops::RowExchange<Space>*>(exchange_);
  }

 private:
  double smooth_ = 1;
  bool squared_ = false;
  ops::LossClasses classes_ = ops::LossClasses::all;
  void* exchange_ = nullptr;  // a RowExchange of the logits' space
};

namespace detail {

/// dice_loss() of rows and their labels.
template <class Sum>
struct DiceLoss {
  static constexpr char const* name = DiceLossOptions<Sum>::name;
  static constexpr char const* obstacle = "its labels are those of one input";

  /// What the gradient reads besides the logits.
  template <class Space>
  struct Kept {
    Buffer<DiceCoefficients<Sum>, Space> coefficients;  // [classes]
  };

  template <class Value, class Space>
  [[nodiscard]] Matrix<Sum, Space> compute(Value const& x, Kept<Space>& kept,
                                           Execution<Space> const& exec) const
  {
    using Scalar = scalar_of_rows<Value>;
    expects(options.smooth() >= 0, name, ": smoothing by ", options.smooth(), " is negative");
    auto const rows = class_rows(x, labels, options, name, exec);
    Buffer<Sum, Space> p{rows.rows.capacity * rows.classes, exec};
    for_each(rows.rows.capacity, Probabilities<Scalar>{rows, p.data()}, exec);
    auto const own =
        reduce_rows(OverlapOfRows<Scalar>{rows, p.data(), options.squared()}, rows.rows, rows.classes, exec);
    kept.coefficients = {rows.classes, exec};
    Matrix<Sum, Space> loss{1, 1, exec};
    FinishDice<Sum> finish{own.data(),
                           loss.data(),
                           kept.coefficients.data(),
                           1,
                           rows.classes,
                           static_cast<Sum>(options.smooth()),
                           options.classes() == ops::LossClasses::present};
    Buffer<Sum, Space> all;
    auto* const exchange = options.template exchange<Space>();
    if (exchange != nullptr) {
      using Overlap = Overlap<Sum>;
      static_assert(sizeof(Overlap) == 3 * sizeof(Sum));
      all = gather_ranks(reinterpret_cast<Sum const*>(own.data()), 3 * own.size(), *exchange, exec);
      finish.overlaps = reinterpret_cast<Overlap const*>(all.data());
      finish.ranks = exchange->size();
    }
    for_each(1, finish, exec);
    return loss;
  }
  template <class Value, class Space>
  [[nodiscard]] Matrix<scalar_of_rows<Value>, Space> gradient(MatrixView<Sum const> const& grad,
                                                              Value const& x, Kept<Space> const& kept,
                                                              Execution<Space> const& exec) const
  {
    return gradient_through_softmax(grad, x, labels, options.ignored(),
                                    DiceGradient<Sum>{kept.coefficients.data(), options.squared()},
                                    DiceLossOptions<Sum>::backward_name, exec);
  }

  ops::LabelsView labels;
  DiceLossOptions<Sum> options;
};

}  // namespace detail

/// The dice loss of rows of logits and their classes: with p the softmax of each row, t its class as ones and
/// zeros, and s the smoothing, the loss is
/// `1 - mean over classes c of (2 sum of p[c] t[c] + s) / (sum of p[c] + sum of t[c] + s)`,
/// sums over the rows that count; of squares of p below where the options say so.
///
/// | name    | shape           | memory | holds                                                                   |
/// |---------|-----------------|--------|-------------------------------------------------------------------------|
/// | x       | [rows, classes] | Space  | a SparseTensor, PointTensor or Matrix of logits                         |
/// | labels  | [rows]          | Space  | classes, or the label that is ignored; stays until the gradient is done |
/// | returns | [1, 1]          | Space  | the loss in float (double for double)                                   |
///
/// Rows that are not in use or ignored have no part; without any other row the loss is 0.
/// @throws invalid_argument  negative smoothing, and what cross_entropy() throws of rows and labels
/// Cost: three passes over the logits, and a matrix of their shape.
/// Stream: enqueues a few kernels, does not wait.
/// Determinism: the same bits on every run and for any capacity; they depend on the order of the rows.
/// Source: Milletari et al. 2016 (squared), Sudre et al. 2017.
template <class Value, class Space>
[[nodiscard]] Matrix<accumulator_t<detail::scalar_of_rows<Value>>, Space> dice_loss(
    Value const& x, ops::LabelsView const& labels,
    DiceLossOptions<accumulator_t<detail::scalar_of_rows<Value>>> const& options,
    Execution<Space> const& exec)
{
  using Sum = accumulator_t<detail::scalar_of_rows<Value>>;
  return detail::compute_loss(detail::DiceLoss<Sum>{labels, options}, x, exec);
}

/// The gradient of dice_loss() for the logits: `g[i, c] = grad * p[c] (d[c] - sum over k of p[k] d[k])`,
/// where d, the gradient for the probabilities, is `(-2 t[c] + dice[c]) / (divisor[c] * number of classes)`,
/// with `2 p[c] dice[c]` for `dice[c]` where p is squared; 0 in rows that have no part.
/// @param grad  [1, 1] in `Space`: the gradient of the loss
/// Other arguments and errors: as dice_loss().
/// Cost: the loss once more, and a pass over the logits. Stream, determinism: as dice_loss().
template <class Value, class Space>
[[nodiscard]] Matrix<detail::scalar_of_rows<Value>, Space> dice_loss_backward(
    MatrixView<accumulator_t<detail::scalar_of_rows<Value>> const> const& grad, Value const& x,
    ops::LabelsView const& labels,
    DiceLossOptions<accumulator_t<detail::scalar_of_rows<Value>>> const& options,
    Execution<Space> const& exec)
{
  using Sum = accumulator_t<detail::scalar_of_rows<Value>>;
  return detail::compute_loss_backward(grad, detail::DiceLoss<Sum>{labels, options}, x, exec);
}

}  // namespace v0
}  // namespace tessera
