// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "options.hpp"

#include <tessera/coords/voxelize.hpp>
#include <tessera/io/safetensors.hpp>
#include <tessera/models/sparse_encoder_options.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace encode_bev {

/// What to run.
struct Task {
  std::vector<float> points;  // [num_points, in_channels]
  tessera::VoxelizeOptions voxels;
  tessera::models::SparseEncoderOptions network;
  tessera::Safetensors const* checkpoint = nullptr;  // in Tessera's layout; none: random weights
  Options const* options = nullptr;
  int repeat = 1;
};

/// What came out.
struct Encoding {
  std::string device;
  std::vector<program::Stage> stages;
  std::int64_t num_parameters = 0;
  std::int64_t num_voxels = 0;
  std::int64_t num_encoded = 0;
  std::vector<std::int64_t> shape;  // of the map
  std::vector<float> map;
};

[[nodiscard]] Encoding encode_on_host(Task const& task);

// Only in builds with CUDA.
[[nodiscard]] std::string absence_of_device();  // why there is no GPU; empty if there is one
[[nodiscard]] Encoding encode_on_device(Task const& task, Precision precision);

}  // namespace encode_bev
