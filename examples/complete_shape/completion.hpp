// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/progress.hpp"
#include "options.hpp"
#include "shapes.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace complete_shape {

/// Voxels of one level, summed over shapes: what the encoder has there, and what the decoder makes of it.
struct LevelCounts {
  int stride = 1;
  std::int64_t partial = 0;  // of the partial shape
  std::int64_t grown = 0;    // that the decoder looks at
  std::int64_t kept = 0;     // of those
  std::int64_t truth = 0;    // of the whole shape
};

/// What to run.
struct Task {
  Options const* options = nullptr;
  std::vector<Shape> const* shapes = nullptr;  // to complete; no training has seen them
  program::Progress* progress = nullptr;
};

/// How a training went.
struct Training {
  float first_loss = 0;
  float last_loss = 0;
  double milliseconds = 0;
};

/// What came out.
struct Completed {
  std::int64_t num_parameters = 0;
  std::optional<Training> training;
  std::vector<LevelCounts> levels;       // coarsest first
  std::vector<std::vector<Cell>> cells;  // [shapes] sorted
  double milliseconds = 0;               // of completing them all
};

[[nodiscard]] Completed complete_on_host(Task const& task);

// Only in builds with CUDA.
[[nodiscard]] Completed complete_on_device(Task const& task);

}  // namespace complete_shape
