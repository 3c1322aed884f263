// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/loss/detail/row_loss.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
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
}  // namespace v0
}  // namespace tessera
