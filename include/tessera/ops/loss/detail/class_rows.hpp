// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/detail/reduce_rows.hpp>
#include <tessera/core/parallel.hpp>
#include <tessera/core/row_count.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/ops/detail/rows.hpp>
#include <tessera/ops/loss/options.hpp>

#include <climits>
#include <cmath>
#include <cstdint>
#include <type_traits>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The softmax of a row of logits, by its logarithm: `log p(c) = x[c] - largest - log(sum of exp(x -
/// largest))`.
template <class Scalar>
struct RowSoftmax {
  using Sum = accumulator_t<Scalar>;

  TESSERA_HOST_DEVICE RowSoftmax(Scalar const* row, int num_classes) : logits{row}, classes{num_classes}
  {
    using std::exp;
    using std::log;
    largest = static_cast<Sum>(logits[0]);
    for (int c = 1; c < classes; ++c) { largest = larger_or_nan(largest, static_cast<Sum>(logits[c])); }
    Sum sum{0};
    for (int c = 0; c < classes; ++c) { sum += exp(static_cast<Sum>(logits[c]) - largest); }
    log_sum = log(sum);
  }
  [[nodiscard]] TESSERA_HOST_DEVICE Sum log_p(int c) const
  {
    return static_cast<Sum>(logits[c]) - largest - log_sum;
  }
  [[nodiscard]] TESSERA_HOST_DEVICE Sum p(int c) const
  {
    using std::exp;
    return exp(log_p(c));
  }

  Scalar const* logits;  // [classes]
  int classes;
  Sum largest = 0;
  Sum log_sum = 0;  // of exp(x - largest)
};

/// Rows of logits and their labels, for kernels.
template <class Scalar>
struct ClassRows {
  Scalar const* logits;        // [capacity, classes]
  std::int32_t const* labels;  // [capacity]
  RowCount rows;
  int classes;
  std::int32_t ignored;

  /// The class of a row; -1 of one that has no part: it is not in use, is ignored, or its label is no class.
  [[nodiscard]] TESSERA_HOST_DEVICE int class_of(std::int64_t row) const
  {
    if (row >= rows.size()) { return -1; }
    auto const label = labels[row];
    return label != ignored && label >= 0 && label < classes ? label : -1;
  }
  [[nodiscard]] TESSERA_HOST_DEVICE bool is_bad(std::int64_t row) const
  {
    if (row >= rows.size()) { return false; }
    auto const label = labels[row];
    return label != ignored && (label < 0 || label >= classes);
  }
  [[nodiscard]] TESSERA_HOST_DEVICE RowSoftmax<Scalar> softmax(std::int64_t row) const
  {
    return {logits + row * classes, classes};
  }
};

/// Notes the first row whose label is no class.
template <class Scalar>
struct CheckLabels {
  ClassRows<Scalar> rows;
  std::uint32_t* errors;  // [2]

  TESSERA_HOST_DEVICE void operator()(std::int64_t row) const
  {
    if (!rows.is_bad(row)) { return; }
    atomic_or(errors, std::uint32_t{DataError::bad_label});
    atomic_maximum(errors + 1, code_of_row(row));
  }
};

/// The rows of `x` with their labels, which are checked: on the host at once, on the device by a kernel.
template <class Value, class Options, class Space>
[[nodiscard]] ClassRows<scalar_of_rows<Value>> class_rows(Value const& x, ops::LabelsView const& labels,
                                                          Options const& options, char const* who,
                                                          Execution<Space> const& exec)
{
  expect_rows(x, who);
  auto const logits = rows_of(x);
  expects(labels.rows == logits.rows, who, ": ", labels.rows, " labels for ", logits.rows, " rows");
  expects(logits.columns >= 1 && logits.columns <= INT_MAX, who, ": ", logits.columns,
          " classes; there must be at least 1");
  ClassRows<scalar_of_rows<Value>> const rows{logits.data, labels.data, used_rows(x),
                                              static_cast<int>(logits.columns), options.ignored()};
  auto* const errors = options.errors() != nullptr ? options.errors() : data_errors(x);
  CheckLabels<scalar_of_rows<Value>> const check{rows, errors};
  if constexpr (std::is_same_v<Space, Host>) {
    auto const used = rows.rows.size();
    for (std::int64_t row = 0; row < used; ++row) {
      if (errors != nullptr) { check(row); }
      expects(!rows.is_bad(row), who, ": the label of row ", row, " is ", labels.data[row],
              "; classes are 0 to ", rows.classes - 1, ", and ", options.ignored(), " is ignored");
    }
  } else {
    if (errors != nullptr) { for_each(logits.rows, check, exec); }
  }
  return rows;
}

/// Sums over rows of values that are there already, [rows, columns].
template <class T>
struct SumOfValues {
  using Value = T;
  static constexpr int pack = 1;
  [[nodiscard]] TESSERA_HOST_DEVICE static constexpr Value identity() { return {}; }

  Value const* values;
  int columns;

  [[nodiscard]] TESSERA_HOST_DEVICE Value at(std::int64_t row, int, int column) const
  {
    return values[row * columns + column];
  }
  [[nodiscard]] TESSERA_HOST_DEVICE static Value combine(Value const& a, Value const& b) { return a + b; }
};

/// The sums of each column over the rows in use, in slabs of used rows.
/// Stream: enqueues a few kernels, does not wait.
/// Determinism: as reduce_rows().
template <class Value, class Space>
[[nodiscard]] Buffer<Value, Space> sum_rows(Value const* values, RowCount const& rows, int columns,
                                            Execution<Space> const& exec)
{
  return reduce_rows(SumOfValues<Value>{values, columns}, rows, columns, exec);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
