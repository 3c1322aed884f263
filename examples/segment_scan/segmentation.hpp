// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "options.hpp"

#include <tessera/coords/coordinate.hpp>
#include <tessera/io/safetensors.hpp>
#include <tessera/points/point_cloud.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace segment_scan {

/// The network to build; from a checkpoint or from the options.
struct NetworkShape {
  int in_channels = 4;  // x, y, z, then features of the points
  int num_classes = 19;
  double width = 1;
};

/// What to run.
struct Task {
  tessera::PointCloud const* cloud = nullptr;
  std::vector<float> features;                       // [num_points, in_channels]
  tessera::Safetensors const* checkpoint = nullptr;  // none: random weights
  NetworkShape shape;
  Options const* options = nullptr;
  int repeat = 1;
};

/// What came out.
struct Segmentation {
  struct Level {
    int stride = 1;
    std::int64_t voxels = 0;
  };
  std::string device;
  std::vector<Level> levels;
  std::vector<program::Stage> stages;
  std::int64_t num_parameters = 0;
  std::vector<std::int32_t> labels;                 // [num_points], -1 for a point in no voxel
  std::vector<tessera::Coordinate<3>> coordinates;  // of the voxels, with logits
  std::vector<float> logits;                        // [num_voxels, num_classes], if asked for
};

[[nodiscard]] Segmentation segment_on_host(Task const& task);

// Only in builds with CUDA.
[[nodiscard]] std::string absence_of_device();  // why there is no GPU; empty if there is one
[[nodiscard]] Segmentation segment_on_device(Task const& task, Precision precision);

}  // namespace segment_scan
