// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/loss/detail/row_loss.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace ops {

/// The classes that a loss is a mean over.
enum class LossClasses : std::uint8_t {
  present,  ///< those that a row has
  all,
};

}  // namespace ops
namespace detail {

// Losses of the probabilities of all rows at once, by class.

/// p[row, c] of the softmax of the rows that count; 0 in the others.
template <class Scalar>
struct Probabilities {
  using Sum = accumulator_t<Scalar>;

  ClassRows<Scalar> rows;
  Sum* p;  // [capacity, classes]

  TESSERA_HOST_DEVICE void operator()(std::int64_t row) const
  {
    auto* const own = p + row * rows.classes;
    if (rows.class_of(row) < 0) {
      for (int c = 0; c < rows.classes; ++c) { own[c] = Sum{0}; }
      return;
    }
    auto const softmax = rows.softmax(row);
    for (int c = 0; c < rows.classes; ++c) { own[c] = softmax.p(c); }
  }
};

/// dx[row, c] = grad * p(c) * (by(row, y, c, p(c)) - sum over d of p(d) by(row, y, d, p(d))), 0 in rows that
/// have no part: the gradient for the logits from `by`, that for the probabilities.
template <class Scalar, class By>
struct GradientThroughSoftmax {
  using Sum = accumulator_t<Scalar>;

  ClassRows<Scalar> rows;
  By by;
  Sum const* grad;  // [1]
  Scalar* dx;       // [capacity, classes]

  TESSERA_HOST_DEVICE void operator()(std::int64_t row) const
  {
    auto* const own = dx + row * rows.classes;
    int const y = rows.class_of(row);
    if (y < 0) {
      for (int c = 0; c < rows.classes; ++c) { own[c] = static_cast<Scalar>(0.0F); }
      return;
    }
    auto const softmax = rows.softmax(row);
    Sum mean{0};
    for (int c = 0; c < rows.classes; ++c) {
      auto const p = softmax.p(c);
      mean += p * by(row, y, c, p);
    }
    auto const scale = *grad;
    for (int c = 0; c < rows.classes; ++c) {
      auto const p = softmax.p(c);
      own[c] = static_cast<Scalar>(scale * p * (by(row, y, c, p) - mean));
    }
  }
};

/// @param by  the gradient for the probabilities, see GradientThroughSoftmax
template <class Value, class By, class Space>
[[nodiscard]] Matrix<scalar_of_rows<Value>, Space> gradient_through_softmax(
    MatrixView<accumulator_t<scalar_of_rows<Value>> const> const& grad, Value const& x,
    ops::LabelsView const& labels, std::int32_t ignored, By const& by, char const* who,
    Execution<Space> const& exec)
{
  using Scalar = scalar_of_rows<Value>;
  expect_one(grad, who);
  auto const logits = rows_of(x);
  ClassRows<Scalar> const rows{logits.data, labels.data, used_rows(x), static_cast<int>(logits.columns),
                               ignored};
  Matrix<Scalar, Space> dx{logits.rows, logits.columns, exec};
  for_each(dx.rows(), GradientThroughSoftmax<Scalar, By>{rows, by, grad.data, dx.data()}, exec);
  return dx;
}

}  // namespace detail

namespace ops {

/// A loss of all rows of logits at once. `Options` says how it is computed, and what of that its gradient
/// reads.
template <class Options, class Value, class Space>
struct ClassLossRecord final
    : FunctionRecord<ClassLossRecord<Options, Value, Space>, Space,
                     Matrix<accumulator_t<detail::scalar_of_rows<Value>>, Space>, Value> {
  using Sum = accumulator_t<detail::scalar_of_rows<Value>>;
  using Kept = typename Options::template Kept<Space>;

  ClassLossRecord(Matrix<Sum, Space> const& loss, Value const& x, LabelsView const& of, Options const& with)
      : ClassLossRecord::FunctionRecord{Recorded<Matrix<Sum, Space>>{loss}, Recorded<Value>{x}},
        labels{of},
        options{with}
  {}

  [[nodiscard]] char const* name() const noexcept override { return Options::name; }
  [[nodiscard]] char const* obstacle() const noexcept override { return "its labels are those of one input"; }
  [[nodiscard]] Matrix<Sum, Space> compute(Value const& x, Execution<Space> const& exec) const
  {
    Kept unused;
    return options.compute(x, labels, unused, exec);
  }
  [[nodiscard]] Matrix<Sum, Space> compute_again(Value const& x, Execution<Space> const& exec)
  {
    auto anew = std::make_shared<Kept>();
    auto loss = options.compute(x, labels, *anew, exec);
    kept = std::move(anew);
    return loss;
  }
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    auto const& x = this->input();
    if (!gradients.wants(x.id())) { return; }
    auto const grad = gradients.template of<Sum>(this->output().id());
    gradients.add(x.id(), options.gradient(grad, *x.value(), labels, *kept, exec), exec);
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/) { this->output().give_back(); }
  void drop_kept() { kept = nullptr; }

  LabelsView labels;
  Options options;
  std::shared_ptr<Kept const> kept;  // of the recorded rows
};

}  // namespace ops

namespace detail {

template <class Value, class Options, class Space>
[[nodiscard]] Matrix<accumulator_t<scalar_of_rows<Value>>, Space> class_loss(Value const& x,
                                                                             ops::LabelsView const& labels,
                                                                             Options const& options,
                                                                             Execution<Space> const& exec)
{
  auto const kept = std::make_shared<typename Options::template Kept<Space>>();
  return run_recorded(
      exec, [&](auto const& inside) { return options.compute(x, labels, *kept, inside); },
      [&](auto const& loss) {
        auto record = std::make_shared<ops::ClassLossRecord<Options, Value, Space>>(loss, x, labels, options);
        record->kept = kept;
        return record;
      });
}

/// The gradient of a loss of which nothing was kept.
template <class Value, class Options, class Space>
[[nodiscard]] Matrix<scalar_of_rows<Value>, Space> class_loss_backward(
    MatrixView<accumulator_t<scalar_of_rows<Value>> const> const& grad, Value const& x,
    ops::LabelsView const& labels, Options const& options, Execution<Space> const& exec)
{
  typename Options::template Kept<Space> kept;
  static_cast<void>(options.compute(x, labels, kept, exec));
  return options.gradient(grad, x, labels, kept, exec);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
