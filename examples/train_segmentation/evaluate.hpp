// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/progress.hpp"
#include "../support/segmentation_layers.hpp"
#include "task.hpp"
#include "validation.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <string>
#include <vector>

namespace train_segmentation {

/// `car   12.3 %   45.6 %`, a line a class.
inline void print_scores(ts::train::SegmentationScores const& scores, std::vector<std::string> const& classes)
{
  auto const percent = [](double part) {
    char text[32] = "-";
    if (!std::isnan(part)) { std::snprintf(text, sizeof(text), "%.1f %%", 100 * part); }
    return std::string{text};
  };
  std::printf("\n%-16s %10s %10s %14s\n", "class", "IoU", "recall", "points");
  for (std::size_t c = 0; c < classes.size(); ++c) {
    std::int64_t points = 0;
    auto const row = classes.size() + 1;
    for (std::size_t p = 0; p < row; ++p) { points += scores.counts[c * row + p]; }
    std::printf("  %-14s %10s %10s %14s\n", classes[c].c_str(), percent(scores.iou[c]).c_str(),
                percent(scores.recall[c]).c_str(), program::with_commas(points).c_str());
  }
  auto const measured =
      std::count_if(scores.iou.begin(), scores.iou.end(), [](double v) { return !std::isnan(v); });
  std::printf("\nmIoU      %s of %lld classes, accuracy %s\n", percent(scores.mean_iou).c_str(),
              static_cast<long long>(measured), percent(scores.accuracy).c_str());
}

/// Reads a network that was exported, and prints how it labels held-out scans.
template <class Scalar, class Space>
void evaluate(Task const& task, ts::train::Communicator<Space> const& ranks, ts::Execution<Space> const& exec)
{
  namespace segmentation = program::segmentation;
  auto const& options = *task.options;
  segmentation::NetworkOptions network_options;
  network_options.checkpoint = options.evaluate;
  network_options.config = ts::with_conv_mode({}, 1);
  if (task.machine.precision == program::Precision::tf32) {
    network_options.config.math = ts::MathMode::tf32;
  }
  auto const weights = segmentation::read_weights(network_options);
  if (!weights.description) {
    throw program::Failure{options.evaluate + " does not say what it was trained on; files of --export do"};
  }
  if (weights.description->is_simulated() != options.scans.kitti.empty()) {
    throw program::Failure{options.evaluate + " was trained on " +
                           (weights.description->is_simulated()
                                ? "simulated scenes, not on SemanticKITTI"
                                : "SemanticKITTI; name its folder by --kitti")};
  }
  auto scan_options = options.scans;
  scan_options.held_out = options.validation_scans;
  ScanSet const scans{scan_options, false};
  auto const network =
      segmentation::make_network<Scalar, Space>(weights.shape, network_options, &weights, exec);

  bool const speaks = ranks.rank() == 0;
  program::Progress progress;
  auto const own = static_cast<int>((scans.size() + ranks.size() - 1 - ranks.rank()) / ranks.size());
  if (speaks) {
    std::printf(
        "network   %s, width %s, voxels of %s m\ntrained   %s\nscans     %lld %s\n",
        program::printable(options.evaluate).c_str(), segmentation::short_number(weights.shape.width).c_str(),
        segmentation::short_number(weights.shape.voxel_size).c_str(),
        program::printable(weights.description->command).c_str(), static_cast<long long>(scans.size()),
        options.scans.kitti.empty() ? "held-out simulated scenes"
                                    : "scans of SemanticKITTI's validation split");
    std::fflush(stdout);
    progress.begin("evaluate", own, "scans");
  }
  auto const scores = validate<Scalar, Space>(*network, scans, scan_options,
                                              segmentation::voxels_of(network_options, weights.shape), ranks,
                                              std::max(1, options.loader_threads), exec, [&] {
                                                if (speaks) { progress.step(); }
                                              });
  if (!speaks) { return; }
  progress.end();
  print_scores(scores, scans.classes());
}

}  // namespace train_segmentation
