// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/buffer.hpp>
#include <tessera/core/error.hpp>
#include <tessera/core/matrix.hpp>
#include <tessera/core/parallel.hpp>
#include <tessera/core/row_count.hpp>
#include <tessera/tensor/labels.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace train {

/// How good labels are, from a confusion matrix.
///
/// With `n[t][p]` the number of elements of true class t that were labelled p:
/// `iou[c] = n[c][c] / (sum of row c + sum of column c - n[c][c])`, `recall[c] = n[c][c] / sum of row c`,
/// `accuracy = sum of the diagonal / sum of all`.
struct SegmentationScores {
  std::vector<std::int64_t>
      counts;                     ///< [classes, classes + 1]: n row by row, then those without a prediction
  std::vector<double> iou;        ///< of each class; NaN of one that is neither in the labels nor predicted
  std::vector<double> recall;     ///< of each class; NaN of one that is not in the labels
  double mean_iou = 0;            ///< over the classes that have one; NaN if none has
  double mean_recall = 0;         ///< over the classes that have one; NaN if none has
  double accuracy = 0;            ///< NaN of no elements
  std::int64_t num_elements = 0;  ///< with a label that is not ignored
};

}  // namespace train

namespace detail {

/// Counts element i under its true and its predicted class.
struct CountConfusion {
  std::int32_t const* labels;
  std::int32_t const* predicted;
  RowCount rows;
  std::int32_t classes;
  std::int32_t ignored;
  unsigned long long* counts;   // [classes, classes + 1]
  unsigned long long* invalid;  // [1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    if (i >= rows.size()) { return; }
    auto const label = labels[i];
    if (label == ignored) { return; }
    if (label < 0 || label >= classes) {
      atomic_add(invalid, 1ULL);
      return;
    }
    auto const own = predicted[i];
    auto const column = own < 0 || own >= classes ? classes : own;
    atomic_add(counts + std::int64_t{label} * (classes + 1) + column, 1ULL);
  }
};

[[nodiscard]] inline double ratio_or_nan(std::int64_t part, std::int64_t whole)
{
  return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole)
                   : std::numeric_limits<double>::quiet_NaN();
}

/// The mean of the values that are numbers.
[[nodiscard]] inline double mean_of_numbers(std::vector<double> const& values)
{
  double sum = 0;
  std::int64_t count = 0;
  for (auto const value : values) {
    if (is_nan(value)) { continue; }
    sum += value;
    ++count;
  }
  return count > 0 ? sum / static_cast<double>(count) : std::numeric_limits<double>::quiet_NaN();
}

[[nodiscard]] inline train::SegmentationScores scores_of(std::vector<std::int64_t> counts,
                                                         std::size_t classes)
{
  train::SegmentationScores result;
  std::int64_t right = 0;
  for (std::size_t c = 0; c < classes; ++c) {
    std::int64_t labelled = 0;
    for (std::size_t p = 0; p <= classes; ++p) { labelled += counts[c * (classes + 1) + p]; }
    std::int64_t predicted = 0;
    for (std::size_t t = 0; t < classes; ++t) { predicted += counts[t * (classes + 1) + c]; }
    auto const both = counts[c * (classes + 1) + c];
    result.iou.push_back(ratio_or_nan(both, labelled + predicted - both));
    result.recall.push_back(ratio_or_nan(both, labelled));
    result.num_elements += labelled;
    right += both;
  }
  result.mean_iou = mean_of_numbers(result.iou);
  result.mean_recall = mean_of_numbers(result.recall);
  result.accuracy = ratio_or_nan(right, result.num_elements);
  result.counts = std::move(counts);
  return result;
}

}  // namespace detail

namespace train {

/// Counts true against predicted classes over any number of scans, where the labels are:
/// `matrix.add(labels, argmax(logits.view(), exec), exec)`, then `matrix.scores(exec).mean_iou`.
template <class Space = Device>
class ConfusionMatrix {
 public:
  /// @param ignored  the label of elements that do not count
  /// @throws invalid_argument  no class, or more than 4096
  /// Stream: enqueues a fill, does not wait.
  ConfusionMatrix(std::int32_t num_classes, std::int32_t ignored, Execution<Space> const& exec)
      : classes_{num_classes}, ignored_{ignored}
  {
    detail::expects(num_classes >= 1 && num_classes <= 4096, "ConfusionMatrix: ", num_classes,
                    " classes; 1 to 4096");
    counts_ = Buffer<unsigned long long, Space>{size() + 1, exec};
    reset(exec);
  }
  ConfusionMatrix(std::int32_t num_classes, Execution<Space> const& exec)
      : ConfusionMatrix{num_classes, -1, exec}
  {}

  /// Counts elements.
  ///
  /// | name      | shape           | memory | holds                                                             |
  /// |-----------|-----------------|--------|-------------------------------------------------------------------|
  /// | labels    | [rows.capacity] | Space  | 0 to classes - 1, or the ignored label                            |
  /// | predicted | [rows.capacity] | Space  | 0 to classes - 1; anything else is a wrong label of no class      |
  /// | rows      |                 | host   | how many; those past rows.size() are not looked at                |
  ///
  /// Other labels are not counted; scores() throws then.
  /// Cost: one pass.
  /// Stream: enqueues one kernel, neither waits nor allocates.
  /// Determinism: integers; no order shows.
  void add(std::int32_t const* labels, std::int32_t const* predicted, RowCount const& rows,
           Execution<Space> const& exec)
  {
    for_each(rows.capacity,
             detail::CountConfusion{labels, predicted, rows, classes_, ignored_, counts_.data(),
                                    counts_.data() + size()},
             exec);
  }
  /// The same of all elements.
  /// @throws invalid_argument  as many labels are not predicted
  void add(Buffer<std::int32_t, Space> const& labels, Buffer<std::int32_t, Space> const& predicted,
           Execution<Space> const& exec)
  {
    detail::expects(labels.size() == predicted.size(), "ConfusionMatrix: ", labels.size(), " labels and ",
                    predicted.size(), " predictions");
    add(labels.data(), predicted.data(), {labels.size(), nullptr}, exec);
  }

  /// What was counted so far.
  /// @throws invalid_argument  a label was neither a class nor the ignored one
  /// Cost: a small copy.
  /// Stream: waits for the work enqueued on `exec`.
  [[nodiscard]] SegmentationScores scores(Execution<Space> const& exec) const
  {
    auto const all = download(counts_, exec);
    detail::expects(all.back() == 0, "ConfusionMatrix: ", all.back(), " labels are neither in [0, ", classes_,
                    ") nor ", ignored_, ", the one that is ignored");
    std::vector<std::int64_t> counts;
    for (std::size_t i = 0; i + 1 < all.size(); ++i) { counts.push_back(static_cast<std::int64_t>(all[i])); }
    return detail::scores_of(std::move(counts), static_cast<std::size_t>(classes_));
  }

  /// Forgets what was counted.
  /// Stream: enqueues a fill, does not wait.
  void reset(Execution<Space> const& exec) { fill_bytes(counts_, 0, exec); }

  [[nodiscard]] std::int32_t num_classes() const noexcept { return classes_; }
  /// [classes, classes + 1] and the number of wrong labels, [classes * (classes + 1) + 1] in `Space`: several
  /// processes sum them.
  [[nodiscard]] Buffer<unsigned long long, Space>& counts() noexcept { return counts_; }

 private:
  [[nodiscard]] std::int64_t size() const noexcept { return std::int64_t{classes_} * (classes_ + 1); }

  std::int32_t classes_;
  std::int32_t ignored_;
  Buffer<unsigned long long, Space> counts_;
};

}  // namespace train
}  // namespace v0
}  // namespace tessera
