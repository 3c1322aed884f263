// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/loss/detail/lovasz.hpp>
#include <tessera/ops/loss/loss_record.hpp>

#include <climits>

namespace tessera {
inline namespace v0 {

/// Options of lovasz_softmax(): `LovaszSoftmaxOptions<float>().ignore(0)`.
/// @tparam Sum  accumulator_t of the logits' scalar
template <class Sum>
class LovaszSoftmaxOptions : public ClassLossOptions<Sum, LovaszSoftmaxOptions<Sum>> {
 public:
  static constexpr char const* name = "lovasz_softmax";
  static constexpr char const* backward_name = "lovasz_softmax_backward";

  /// Which classes the loss is a mean over.
  LovaszSoftmaxOptions& classes(ops::LossClasses value) { return classes_ = value, *this; }
  [[nodiscard]] ops::LossClasses classes() const noexcept { return classes_; }

 private:
  ops::LossClasses classes_ = ops::LossClasses::present;
};

namespace detail {

/// lovasz_softmax() of rows and their labels.
template <class Sum>
struct LovaszSoftmax {
  static constexpr char const* name = LovaszSoftmaxOptions<Sum>::name;
  static constexpr char const* obstacle = "its labels are those of one input";

  /// What the gradient reads besides the logits.
  template <class Space>
  struct Kept {
    Buffer<Sum, Space> gradient;  // [capacity, classes] for the probabilities, of a sum over classes
    Buffer<Sum, Space> counted;   // [1] classes
  };

  template <class Value, class Space>
  [[nodiscard]] Matrix<Sum, Space> compute(Value const& x, Kept<Space>& kept,
                                           Execution<Space> const& exec) const
  {
    using Scalar = scalar_of_rows<Value>;
    using Task = SortErrors<Scalar>;
    auto const rows = class_rows(x, labels, options, name, exec);
    auto const capacity = rows.rows.capacity;
    auto const items = capacity * rows.classes;
    int class_bits = 0;
    while ((std::int64_t{1} << class_bits) < rows.classes) { ++class_bits; }
    expects(items < INT_MAX && Task::width + class_bits <= 64, name, ": ", capacity, " rows of ",
            rows.classes, " classes are too many to sort");
    bool const present_alone = options.classes() == ops::LossClasses::present;
    Buffer<Sum, Space> p{items, exec};
    for_each(capacity, Probabilities<Scalar>{rows, p.data()}, exec);
    Buffer<std::int32_t, Space> order{items, exec};
    Sort<Space>::run(Task{rows, p.data(), order.data()}, items, Task::width + class_bits, exec);
    Buffer<std::int32_t, Space> before{items + 1, exec};
    for_each(items + 1, MarkOwn<Scalar>{rows, order.data(), before.data()}, exec);
    Scan<Space>::exclusive(before.data(), before.data(), items + 1, exec);
    Buffer<Sum, Space> terms{items, exec};
    kept.gradient = {items, exec};
    kept.counted = {1, exec};
    for_each(items,
             LovaszExtension<Scalar>{rows, p.data(), order.data(), before.data(), terms.data(),
                                     kept.gradient.data(), present_alone},
             exec);
    auto const of_class = sum_rows(terms.data(), rows.rows, rows.classes, exec);
    Matrix<Sum, Space> loss{1, 1, exec};
    for_each(1,
             FinishLovasz<Sum>{of_class.data(), before.data(), loss.data(), kept.counted.data(), capacity,
                               rows.classes, present_alone},
             exec);
    return loss;
  }
  template <class Value, class Space>
  [[nodiscard]] Matrix<scalar_of_rows<Value>, Space> gradient(MatrixView<Sum const> const& grad,
                                                              Value const& x, Kept<Space> const& kept,
                                                              Execution<Space> const& exec) const
  {
    LovaszGradient<Sum> const by{kept.gradient.data(), kept.counted.data(),
                                 static_cast<int>(rows_of(x).columns)};
    return gradient_through_softmax(grad, x, labels, options.ignored(), by,
                                    LovaszSoftmaxOptions<Sum>::backward_name, exec);
  }

  ops::LabelsView labels;
  LovaszSoftmaxOptions<Sum> options;
};

}  // namespace detail

/// The Lovász softmax loss of rows of logits and their classes: the mean over classes of the Lovász extension
/// of the Jaccard loss, which the intersection over union is measured by.
///
/// With `p = softmax(x[i, .])`, the error of row i for class c is `e = 1 - p[c]` where c is its class, else
/// `p[c]`. For each class rows are taken by descending error, of equal ones the first row first; the loss of
/// the class is the sum of `e[k] * (J[k] - J[k - 1])`, where J[k] is 1 - intersection over union if the rows
/// up to k were predicted wrongly.
///
/// Arguments, rows that count: as dice_loss(). Errors are told apart to 2^-30 (2^-52 of double) where rows
/// are sorted.
/// @throws invalid_argument  2^31 logits or more, or (of double) more than 1,024 classes, and what
///                           cross_entropy() throws of rows and labels
/// Cost: one sort of all logits, and some passes; 28 bytes a logit of memory, a part of which stays for the
/// gradient.
/// Stream: enqueues on `exec`, does not wait.
/// Determinism: the same bits on every run and for any capacity; they depend on the order of the rows.
/// Source: Berman et al. 2018.
template <class Value, class Space>
[[nodiscard]] Matrix<accumulator_t<detail::scalar_of_rows<Value>>, Space> lovasz_softmax(
    Value const& x, ops::LabelsView const& labels,
    LovaszSoftmaxOptions<accumulator_t<detail::scalar_of_rows<Value>>> const& options,
    Execution<Space> const& exec)
{
  using Sum = accumulator_t<detail::scalar_of_rows<Value>>;
  return detail::compute_loss(detail::LovaszSoftmax<Sum>{labels, options}, x, exec);
}

/// The gradient of lovasz_softmax() for the logits: `g[i, c] = grad * p[c] (d[c] - sum over k of p[k] d[k])`,
/// where d, the gradient for the probabilities, is `J[k] - J[k - 1]` at the row's place in the order of the
/// class over the number of classes, negative for the row's own class; 0 in rows that have no part.
/// @param grad  [1, 1] in `Space`: the gradient of the loss
/// Other arguments and errors: as lovasz_softmax().
/// Cost: the loss once more, and a pass over the logits. Stream, determinism: as lovasz_softmax().
template <class Value, class Space>
[[nodiscard]] Matrix<detail::scalar_of_rows<Value>, Space> lovasz_softmax_backward(
    MatrixView<accumulator_t<detail::scalar_of_rows<Value>> const> const& grad, Value const& x,
    ops::LabelsView const& labels,
    LovaszSoftmaxOptions<accumulator_t<detail::scalar_of_rows<Value>>> const& options,
    Execution<Space> const& exec)
{
  using Sum = accumulator_t<detail::scalar_of_rows<Value>>;
  return detail::compute_loss_backward(grad, detail::LovaszSoftmax<Sum>{labels, options}, x, exec);
}

}  // namespace v0
}  // namespace tessera
