// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/bev_network.hpp"
#include "../support/machine.hpp"
#include "../support/segmentation_network.hpp"

#include <tessera/coords/quantize.hpp>
#include <tessera/coords/voxelize.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace label_scans {

/// The network that labels the points of scans.
struct SegmentationTask {
  program::segmentation::NetworkShape shape;
  program::segmentation::NetworkOptions options;
  std::optional<program::segmentation::Weights> weights;  // none: random
  tessera::QuantizeOptions<3> voxels{0.05F};
};

/// The encoder that makes a map of a scan.
struct EncoderTask {
  program::bev::NetworkShape shape;
  program::bev::NetworkOptions options;
  std::optional<program::bev::Weights> weights;  // none: random
  tessera::VoxelizeOptions voxels;
};

/// What a process does with each scan: one of the two.
struct Task {
  std::optional<SegmentationTask> segmentation;
  std::optional<EncoderTask> encoder;
  std::int64_t max_points = 0;
  int threads = 0;  // of the CPU; 0: all

  [[nodiscard]] int in_channels() const
  {
    return segmentation ? segmentation->shape.in_channels : encoder->shape.encoder.in_channels;
  }
};

/// What is known of a scan that was computed.
struct Outcome {
  double milliseconds = 0;  // from points in host memory to results there
  bool planned = false;     // as one CUDA graph
  std::int64_t num_points = 0;
  std::int64_t num_dropped = 0;  // of them: those whose position is not finite
};

/// The CUDA graph that most scans are one run of.
struct PlanState {
  int times_made = 0;
  std::size_t bytes = 0;
  std::string no_plan;  // why there is none
};

/// A network that is ready, and all that it needs; one thread calls it.
///
/// The results of a scan of n points are n int32, the class of each or -1, or the map: float [map_shape()].
class Engine {
 public:
  Engine() = default;
  Engine(Engine const&) = delete;
  Engine& operator=(Engine const&) = delete;
  virtual ~Engine() = default;

  /// Memory from which and to which the network's device copies without a detour.
  [[nodiscard]] virtual std::shared_ptr<void> allocate(std::size_t bytes) const = 0;
  /// The results of points [num_points, in_channels], in `results`; waits. Of the outcome it tells `planned`.
  /// @throws tessera::invalid_argument, std::bad_alloc  this scan cannot be computed; after anything else none can
  [[nodiscard]] virtual Outcome run(float const* points, std::int64_t num_points, void* results) = 0;

  /// Of each scan's map; empty where points are labelled.
  [[nodiscard]] std::vector<std::int64_t> const& map_shape() const { return map_shape_; }
  [[nodiscard]] std::int64_t num_parameters() const { return num_parameters_; }
  [[nodiscard]] PlanState const& plan_state() const { return plan_state_; }

 protected:
  std::vector<std::int64_t> map_shape_;
  std::int64_t num_parameters_ = 0;
  PlanState plan_state_;
};

[[nodiscard]] std::unique_ptr<Engine> make_host_engine(Task const& task);

// Only in builds with CUDA.
/// Picks the GPU that the calling thread uses: `wanted`, else by `local_rank`, counted round. Returns it.
int pick_gpu(std::optional<int> wanted, std::optional<std::int64_t> local_rank);
[[nodiscard]] std::unique_ptr<Engine> make_device_engine(Task const& task, program::Precision precision);

}  // namespace label_scans
