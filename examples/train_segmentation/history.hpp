// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/program.hpp"

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace train_segmentation {

/// The loss of each step, and the mIoU where it was measured, in memory and as lines `step,loss,miou` of a file. The
/// file is what the curve is drawn from; no weights depend on it.
class History {
 public:
  struct Entry {
    std::int64_t step = 0;  // counted from 1
    float loss = 0;
    std::optional<double> mean_iou;
  };

  /// @param path  empty: nothing is written
  explicit History(std::string path) : path_{std::move(path)} {}

  /// Reads what a run before wrote, up to a step: what came after its checkpoint is done again.
  void read_until(std::int64_t step)
  {
    std::ifstream file{path_};
    std::string line;
    while (std::getline(file, line)) {
      long long at = 0;
      Entry entry;
      double iou = -1;
      auto const count = std::sscanf(line.c_str(), "%lld,%f,%lf", &at, &entry.loss, &iou);
      entry.step = at;
      if (count < 2 || entry.step > step || entry.step < 1) { continue; }
      if (count == 3) { entry.mean_iou = iou; }
      entries_.push_back(entry);
    }
  }
  void add(std::int64_t step, float loss) { entries_.push_back({step, loss, {}}); }
  /// Of the latest step.
  void add_mean_iou(double value)
  {
    if (!entries_.empty()) { entries_.back().mean_iou = value; }
  }
  [[nodiscard]] std::vector<Entry> const& entries() const noexcept { return entries_; }
  /// The latest mIoU.
  [[nodiscard]] std::optional<double> mean_iou() const
  {
    for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry) {
      if (entry->mean_iou) { return entry->mean_iou; }
    }
    return std::nullopt;
  }

  /// Writes all of it to a temporary file, which then takes the name.
  /// @throws Failure  it cannot be written
  void write() const
  {
    if (path_.empty()) { return; }
    auto const temporary = path_ + ".tmp";
    std::ofstream file{temporary, std::ios::trunc};
    file << "step,loss,miou\n";
    char line[96];
    for (auto const& entry : entries_) {
      std::snprintf(line, sizeof(line), "%lld,%.6g,", static_cast<long long>(entry.step),
                    static_cast<double>(entry.loss));
      file << line;
      if (entry.mean_iou) {
        std::snprintf(line, sizeof(line), "%.6f", *entry.mean_iou);
        file << line;
      }
      file << '\n';
    }
    file.close();
    std::error_code error;
    if (file) { std::filesystem::rename(temporary, path_, error); }
    if (!file || error) { throw program::Failure{path_ + " cannot be written"}; }
  }

 private:
  std::string path_;
  std::vector<Entry> entries_;
};

}  // namespace train_segmentation
