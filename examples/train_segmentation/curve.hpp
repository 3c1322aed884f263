// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/picture.hpp"
#include "history.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace train_segmentation {

using program::Color;
using program::Picture;

inline constexpr Color loss_color{255, 170, 60};
inline constexpr Color iou_color{80, 190, 255};

/// The mean of `window` values about each.
[[nodiscard]] inline std::vector<double> smoothed(std::vector<History::Entry> const& entries,
                                                  std::size_t window)
{
  std::vector<double> sums{0};
  for (auto const& entry : entries) { sums.push_back(sums.back() + static_cast<double>(entry.loss)); }
  std::vector<double> result;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    auto const first = i < window / 2 ? 0 : i - window / 2;
    auto const end = std::min(entries.size(), i + window / 2 + 1);
    result.push_back((sums[end] - sums[first]) / static_cast<double>(end - first));
  }
  return result;
}

/// The loss of each step faint, its mean bright, and the mIoU of validation, over the steps: the loss on the left
/// axis, the mIoU from 0 to 100 % on the right one.
[[nodiscard]] inline Picture draw_curve(std::vector<History::Entry> const& entries, std::int64_t steps,
                                        std::string const& title)
{
  constexpr int letters = 2;
  constexpr int left = 90;
  constexpr int top = 90;
  constexpr int plot_width = 1000;
  constexpr int plot_height = 500;
  Picture picture{left + plot_width + 110, top + plot_height + 80};
  auto const mean = smoothed(entries, std::max<std::size_t>(1, entries.size() / 50));
  double highest = 1e-6;  // of the means: single steps may leave the plot
  for (auto const value : mean) { highest = std::max(highest, value); }
  auto const column = [&](std::int64_t step) {
    return left +
           plot_width * static_cast<double>(step) / static_cast<double>(std::max<std::int64_t>(1, steps));
  };
  auto const row = [&](double part) { return top + plot_height * (1 - std::clamp(part, 0.0, 1.0)); };

  picture.text(left, 20, title, letters, program::ink);
  picture.rectangle(left, 56, 20, 8, loss_color);
  picture.text(left + 30, 52, "loss", letters, program::ink);
  picture.rectangle(left + 130, 56, 20, 8, iou_color);
  picture.text(left + 160, 52, "mIoU of held-out scans", letters, program::ink);
  char label[32];
  for (int i = 0; i <= 5; ++i) {
    double const part = i / 5.0;
    picture.line(left, row(part), left + plot_width, row(part), 1, Color{50, 54, 62});
    std::snprintf(label, sizeof(label), "%.2f", part * highest);
    picture.text(left - Picture::text_width(label, letters) - 6, static_cast<int>(row(part)) - 7, label,
                 letters, loss_color);
    std::snprintf(label, sizeof(label), "%d %%", 20 * i);
    picture.text(left + plot_width + 12, static_cast<int>(row(part)) - 7, label, letters, iou_color);
    std::snprintf(label, sizeof(label), "%lld", static_cast<long long>(part * static_cast<double>(steps)));
    picture.text(left + static_cast<int>(part * plot_width) - Picture::text_width(label, letters) / 2,
                 top + plot_height + 14, label, letters, program::faint);
  }
  picture.text(left + plot_width / 2 - Picture::text_width("step", letters) / 2, top + plot_height + 44,
               "step", letters, program::faint);

  Color const single{110, 80, 40};
  for (std::size_t i = 1; i < entries.size(); ++i) {
    picture.line(column(entries[i - 1].step), row(static_cast<double>(entries[i - 1].loss) / highest),
                 column(entries[i].step), row(static_cast<double>(entries[i].loss) / highest), 1, single);
  }
  for (std::size_t i = 1; i < entries.size(); ++i) {
    picture.line(column(entries[i - 1].step), row(mean[i - 1] / highest), column(entries[i].step),
                 row(mean[i] / highest), 3, loss_color);
  }
  History::Entry const* before = nullptr;
  for (auto const& entry : entries) {
    if (!entry.mean_iou) { continue; }
    auto const x = column(entry.step);
    auto const y = row(*entry.mean_iou);
    if (before != nullptr) { picture.line(column(before->step), row(*before->mean_iou), x, y, 3, iou_color); }
    picture.rectangle(static_cast<int>(x) - 4, static_cast<int>(y) - 4, 9, 9, iou_color);
    before = &entry;
  }
  return picture;
}

}  // namespace train_segmentation
