// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/loss/detail/row_loss.hpp>
#include <tessera/ops/loss/loss_record.hpp>

#include <cmath>
#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The term of a row of class y with p = p(y): `-w[y] (1 - p)^gamma log p`.
template <class Sum>
struct FocalRule {
  Sum const* class_weights;  // [classes], or null: ones
  Sum gamma;

  [[nodiscard]] TESSERA_HOST_DEVICE static Sum weight(int) { return Sum{1}; }
  [[nodiscard]] TESSERA_HOST_DEVICE Sum factor(int c) const
  {
    return class_weights != nullptr ? class_weights[c] : Sum{1};
  }
  /// 1 - p without cancellation.
  [[nodiscard]] TESSERA_HOST_DEVICE static Sum rest(Sum log_p)
  {
    using std::expm1;
    return -expm1(log_p);
  }
  template <class Softmax>
  [[nodiscard]] TESSERA_HOST_DEVICE Sum loss(Softmax const& softmax, int y) const
  {
    using std::pow;
    auto const log_p = softmax.log_p(y);
    return -factor(y) * pow(rest(log_p), gamma) * log_p;
  }
  /// The derivative by log p, which the gradient by logit c multiplies with [c = y] - p(c).
  template <class Softmax>
  [[nodiscard]] TESSERA_HOST_DEVICE Sum gradient_state(Softmax const& softmax, int y) const
  {
    using std::exp;
    using std::pow;
    auto const log_p = softmax.log_p(y);
    auto const q = rest(log_p);
    if (q <= 0) { return gamma > 0 ? Sum{0} : -factor(y); }
    return factor(y) * (gamma * pow(q, gamma - Sum{1}) * exp(log_p) * log_p - pow(q, gamma));
  }
  template <class Softmax>
  [[nodiscard]] TESSERA_HOST_DEVICE Sum gradient(Sum state, Softmax const& softmax, int y, int c) const
  {
    auto const p = softmax.p(c);
    return state * (c == y ? Sum{1} - p : -p);
  }
};

}  // namespace detail

/// Options of focal_loss(): `FocalLossOptions<float>().gamma(2).ignore(0)`.
/// @tparam Sum  accumulator_t of the logits' scalar
template <class Sum>
class FocalLossOptions : public RowLossOptions<Sum, FocalLossOptions<Sum>> {
 public:
  static constexpr char const* name = "focal_loss";
  static constexpr char const* backward_name = "focal_loss_backward";

  /// How much less rows count that are predicted well already; 0 is cross entropy.
  FocalLossOptions& gamma(double value) { return gamma_ = value, *this; }
  [[nodiscard]] double gamma() const noexcept { return gamma_; }

  [[nodiscard]] detail::FocalRule<Sum> rule() const
  {
    return {this->class_weights(), static_cast<Sum>(gamma_)};
  }
  /// @throws invalid_argument  a gamma below 0
  void check() const
  {
    detail::expects(gamma_ >= 0 && gamma_ <= 1e6, name, ": gamma ", gamma_, " is not 0 or more");
  }

 private:
  double gamma_ = 2;
};

/// The focal loss of rows of logits and their classes: with y the label of row i, p the softmax of the row at y,
/// and w the weights of classes (the paper's alpha), `loss = sum over i of -w[y] (1 - p)^gamma log p`, over
/// the number of rows that count where a mean is asked for.
///
/// Arguments, rows that count, errors, cost, stream, determinism: as cross_entropy(); also refuses a gamma
/// below 0.
/// Source: Lin et al. 2017, of the softmax of several classes.
template <class Value, class Space>
[[nodiscard]] Matrix<accumulator_t<detail::scalar_of_rows<Value>>, Space> focal_loss(
    Value const& x, ops::LabelsView const& labels,
    FocalLossOptions<accumulator_t<detail::scalar_of_rows<Value>>> const& options,
    Execution<Space> const& exec)
{
  using Sum = accumulator_t<detail::scalar_of_rows<Value>>;
  return detail::compute_loss(detail::RowLoss<Sum, FocalLossOptions<Sum>>{labels, options}, x, exec);
}

/// The gradient of focal_loss() for the logits: with `q = 1 - p` and `s = grad / (what the mean divided by)`,
/// `g[i, c] = s w[y] (gamma q^(gamma - 1) p log p - q^gamma) ([c = y] - p[c])`, 0 in rows that have no part.
/// @param grad  [1, 1] in `Space`: the gradient of the loss
/// Other arguments and errors: as focal_loss().
/// Cost: one pass over the logits, and one over the labels. Stream, determinism: as focal_loss().
template <class Value, class Space>
[[nodiscard]] Matrix<detail::scalar_of_rows<Value>, Space> focal_loss_backward(
    MatrixView<accumulator_t<detail::scalar_of_rows<Value>> const> const& grad, Value const& x,
    ops::LabelsView const& labels,
    FocalLossOptions<accumulator_t<detail::scalar_of_rows<Value>>> const& options,
    Execution<Space> const& exec)
{
  return detail::row_loss_backward(grad, x, labels, options, exec);
}

}  // namespace v0
}  // namespace tessera
