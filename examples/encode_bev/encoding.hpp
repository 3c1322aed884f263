// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/progress.hpp"
#include "options.hpp"

#include <tessera/coords/coordinate.hpp>
#include <tessera/coords/voxelize.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace encode_bev {

/// What to run.
struct Task {
  std::vector<float> points;  // [num_points, in_channels]
  tessera::VoxelizeOptions voxels;
  NetworkShape network;
  Weights const* weights = nullptr;  // none: random
  Options const* options = nullptr;
  int repeat = 1;
  program::Progress* progress = nullptr;
  std::function<void(std::int64_t)> network_made;  // called with its number of parameters

  [[nodiscard]] std::int64_t num_points() const
  {
    return static_cast<std::int64_t>(points.size()) / network.encoder.in_channels;
  }
};

/// The whole way from points in host memory to the map in host memory, voxels and network being one CUDA
/// graph.
struct PlannedTimes {
  double milliseconds = 0;  // median
  double download = 0;      // the same: what of it the copy of the map takes
  double making = 0;
  std::size_t bytes = 0;
  std::size_t num_nodes = 0;
  std::int64_t num_different = 0;  // numbers of the map that are not those of the same layers one by one
};

/// What came out.
struct Encoding {
  std::optional<PlannedTimes> planned;
  std::string no_plan;                 // why there is none
  std::vector<program::Stage> stages;  // layer by layer; none where there is only the plan
  std::int64_t num_voxels = 0;
  std::int64_t num_sites = 0;       // of the sparse output
  std::vector<std::int64_t> shape;  // of the map
  std::vector<float> map;
  std::vector<tessera::Coordinate<3>> coordinates;  // of the voxels that Part-A2's decoder goes back to
  std::vector<float> voxel_features;                // what it makes of them, if asked for
  int voxel_channels = 0;
};

[[nodiscard]] Encoding encode_on_host(Task const& task);

// Only in builds with CUDA.
[[nodiscard]] Encoding encode_on_device(Task const& task, Precision precision);

}  // namespace encode_bev
