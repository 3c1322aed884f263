// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/progress.hpp"
#include "options.hpp"

#include <tessera/coords/coordinate.hpp>
#include <tessera/coords/quantize.hpp>
#include <tessera/points/point_cloud.hpp>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace segment_scan {

/// What to run.
struct Task {
  tessera::PointCloud const* cloud = nullptr;
  std::vector<float> features;       // [num_points, in_channels], x, y, z first
  Weights const* weights = nullptr;  // none: random
  NetworkShape shape;
  tessera::QuantizeOptions<3> voxels{0.05F};
  Options const* options = nullptr;
  int repeat = 1;
  program::Progress* progress = nullptr;
  std::function<void(std::int64_t)> network_made;  // called with its number of parameters
};

/// The whole way from points in host memory to labels in host memory, as one CUDA graph.
struct PlannedTimes {
  double milliseconds = 0;  // median
  double making = 0;
  std::size_t bytes = 0;
  std::size_t num_nodes = 0;
  std::int64_t num_different = 0;  // labels that are not those of the same layers one by one; there are none
};

/// What came out.
struct Segmentation {
  struct Level {
    int stride = 1;
    std::int64_t voxels = 0;
  };
  std::vector<Level> levels;
  std::optional<PlannedTimes> planned;
  std::string no_plan;                              // why there is none
  std::vector<program::Stage> stages;               // layer by layer; none where there is only the plan
  std::vector<std::int32_t> labels;                 // [num_points], -1 for a point in no voxel
  std::vector<tessera::Coordinate<3>> coordinates;  // of the voxels, with logits
  std::vector<float> logits;                        // [num_voxels, num_classes], if asked for
};

[[nodiscard]] Segmentation segment_on_host(Task const& task);

// Only in builds with CUDA.
[[nodiscard]] Segmentation segment_on_device(Task const& task, Precision precision);

}  // namespace segment_scan
