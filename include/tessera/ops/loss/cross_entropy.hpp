// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/loss/detail/row_loss.hpp>
#include <tessera/ops/loss/loss_record.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The term of a row of class y: `(1 - e) * w[y] * -log p(y) + e / C * sum over c of w[c] * -log p(c)`.
template <class Sum>
struct CrossEntropyRule {
  Sum const* class_weights;  // [classes], or null: ones
  Sum smoothing;             // e

  struct State {
    Sum of_class;   // (1 - e) * w[y]
    Sum of_all;     // e / C * the sum of w
    Sum per_class;  // e / C
  };

  [[nodiscard]] TESSERA_HOST_DEVICE Sum weight(int c) const
  {
    return class_weights != nullptr ? class_weights[c] : Sum{1};
  }
  template <class Softmax>
  [[nodiscard]] TESSERA_HOST_DEVICE Sum loss(Softmax const& softmax, int y) const
  {
    auto result = -(Sum{1} - smoothing) * weight(y) * softmax.log_p(y);
    if (smoothing > 0) {
      Sum all{0};
      for (int c = 0; c < softmax.classes; ++c) { all += weight(c) * softmax.log_p(c); }
      result -= smoothing / static_cast<Sum>(softmax.classes) * all;
    }
    return result;
  }
  template <class Softmax>
  [[nodiscard]] TESSERA_HOST_DEVICE State gradient_state(Softmax const& softmax, int y) const
  {
    State state{(Sum{1} - smoothing) * weight(y), 0, smoothing / static_cast<Sum>(softmax.classes)};
    if (smoothing > 0) {
      for (int c = 0; c < softmax.classes; ++c) { state.of_all += state.per_class * weight(c); }
    }
    return state;
  }
  template <class Softmax>
  [[nodiscard]] TESSERA_HOST_DEVICE Sum gradient(State const& state, Softmax const& softmax, int y,
                                                 int c) const
  {
    auto const p = softmax.p(c);
    auto result = state.of_class * (c == y ? p - Sum{1} : p);
    if (smoothing > 0) { result += state.of_all * p - state.per_class * weight(c); }
    return result;
  }
};

}  // namespace detail

/// Options of cross_entropy(): `CrossEntropyOptions<float>().ignore(0).label_smoothing(0.1)`.
/// @tparam Sum  accumulator_t of the logits' scalar
template <class Sum>
class CrossEntropyOptions : public RowLossOptions<Sum, CrossEntropyOptions<Sum>> {
 public:
  static constexpr char const* name = "cross_entropy";
  static constexpr char const* backward_name = "cross_entropy_backward";

  /// The share of the target that all classes have alike, in [0, 1].
  CrossEntropyOptions& label_smoothing(double share) { return smoothing_ = share, *this; }
  [[nodiscard]] double label_smoothing() const noexcept { return smoothing_; }

  [[nodiscard]] detail::CrossEntropyRule<Sum> rule() const
  {
    return {this->class_weights(), static_cast<Sum>(smoothing_)};
  }
  /// @throws invalid_argument  a share outside [0, 1]
  void check() const
  {
    detail::expects(smoothing_ >= 0 && smoothing_ <= 1, name, ": label smoothing ", smoothing_,
                    " is not in [0, 1]");
  }

 private:
  double smoothing_ = 0;
};

/// The cross entropy of rows of logits and their classes: with p the softmax of row i, y its label, e the label
/// smoothing, w the weights of classes and C their number, the loss is
/// `sum over i of (1 - e) w[y] (-log p[y]) + e / C * sum over c of w[c] (-log p[c])`,
/// over the sum of `w[y]` where a mean is asked for.
///
/// | name    | shape           | memory | holds                                                            |
/// |---------|-----------------|--------|------------------------------------------------------------------|
/// | x       | [rows, classes] | Space  | a SparseTensor, PointTensor or Matrix of logits                  |
/// | labels  | [rows]          | Space  | classes 0 to C - 1, or the label that is ignored; stays as it is |
/// |         |                 |        | until the gradient was computed                                  |
/// | returns | [1, 1]          | Space  | the loss in float (double for double)                            |
///
/// Rows that are not in use or ignored have no part. Without any other row the loss is 0 and so is its
/// gradient. NaN logits make a NaN loss. Logarithms of sums of exponentials are taken about the largest
/// logit.
/// @throws invalid_argument  another number of labels than rows, no classes, a share outside [0, 1]; on the
///                           host a label that is no class, by its row. On the device such a row is left out,
///                           and noted where the host next waits: in the coordinates' set, or as
///                           ClassLossOptions::errors() says
/// Cost: one pass over the logits.
/// Stream: enqueues a few kernels, does not wait: the number of rows that count stays in the space.
/// Determinism: the same bits on every run and for any capacity; they depend on the order of the rows.
/// Source: PyTorch's cross_entropy, which gives NaN without rows.
template <class Value, class Space>
[[nodiscard]] Matrix<accumulator_t<detail::scalar_of_rows<Value>>, Space> cross_entropy(
    Value const& x, ops::LabelsView const& labels,
    CrossEntropyOptions<accumulator_t<detail::scalar_of_rows<Value>>> const& options,
    Execution<Space> const& exec)
{
  using Sum = accumulator_t<detail::scalar_of_rows<Value>>;
  return detail::compute_loss(detail::RowLoss<Sum, CrossEntropyOptions<Sum>>{labels, options}, x, exec);
}

/// The gradient of cross_entropy() for the logits: with `s = grad / (what the mean divided by)` and d 1 where
/// c is y, else 0, `g[i, c] = s * ((1 - e) w[y] (p[c] - d) + e / C * (p[c] * sum of w - w[c]))`; 0 in rows that
/// have no part.
/// @param grad  [1, 1] in `Space`: the gradient of the loss, 1 or the scale of the loss
/// Other arguments and errors: as cross_entropy().
/// Cost: one pass over the logits, and one over the labels. Stream, determinism: as cross_entropy().
template <class Value, class Space>
[[nodiscard]] Matrix<detail::scalar_of_rows<Value>, Space> cross_entropy_backward(
    MatrixView<accumulator_t<detail::scalar_of_rows<Value>> const> const& grad, Value const& x,
    ops::LabelsView const& labels,
    CrossEntropyOptions<accumulator_t<detail::scalar_of_rows<Value>>> const& options,
    Execution<Space> const& exec)
{
  return detail::row_loss_backward(grad, x, labels, options, exec);
}

/// What the mean of a loss with these options divides by, [1] in `Space`: the sum of the weights of the rows
/// that count, for cross_entropy() `w[y]`, for focal_loss() 1. Summed over all processes and given back as
/// RowLossOptions::normalizer(), it makes their losses and gradients add up to those of one process with all
/// rows.
/// @param options  CrossEntropyOptions or FocalLossOptions
/// Errors: as the loss.
/// Cost: one pass over the labels.
/// Stream: enqueues a few kernels, does not wait.
/// Determinism: as the loss.
template <class Value, class Options, class Space>
[[nodiscard]] Buffer<accumulator_t<detail::scalar_of_rows<Value>>, Space> loss_weight(
    Value const& x, ops::LabelsView const& labels, Options const& options, Execution<Space> const& exec)
{
  return detail::weight_of_rows(x, labels, options, exec);
}

}  // namespace v0
}  // namespace tessera
