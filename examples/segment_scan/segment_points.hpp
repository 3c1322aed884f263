// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// --model spvcnn: the network takes the points themselves and labels each of them.

#include "segment.hpp"

#include <tessera/models/spvcnn.hpp>

#include <cmath>
#include <limits>

namespace segment_scan {

/// (0, x, y, z) of every point: metres from the cloud's lowest point.
[[nodiscard]] inline std::vector<float> positions_from_lowest(ts::PointCloud const& cloud)
{
  std::array<float, 3> lowest;
  lowest.fill(std::numeric_limits<float>::infinity());
  for (std::size_t i = 0; i < cloud.positions.size(); ++i) {
    if (std::isfinite(cloud.positions[i])) { lowest[i % 3] = std::min(lowest[i % 3], cloud.positions[i]); }
  }
  std::vector<float> rows;
  rows.reserve(cloud.positions.size() / 3 * 4);
  for (std::size_t i = 0; i < cloud.positions.size(); ++i) {
    if (i % 3 == 0) { rows.push_back(0); }
    rows.push_back(cloud.positions[i] - lowest[i % 3]);
  }
  return rows;
}

/// segment() by an SPVCNN.
template <class Space, class Scalar>
[[nodiscard]] Segmentation segment_points(Task const& task, ts::Execution<Space> const& exec)
{
  auto& progress = *task.progress;
  auto const& options = *task.options;
  progress.begin("load");
  auto const voxel_size = task.voxels.voxel_size[0];
  ts::models::SPVCNN<3, Scalar, Space> net{
      ts::models::SPVCNNOptions(task.shape.in_channels, task.shape.num_classes)
          .width(task.shape.width)
          .voxel_size(1, voxel_size)
          .config(options.config)
          .seed(options.seed),
      exec};
  if (task.weights != nullptr) { ts::io::load(net, task.weights->network.converted, exec); }
  std::int64_t num_parameters = 0;
  for (auto const& parameter : net.parameters()) {
    if (parameter.role != ts::nn::ParameterRole::buffer) { num_parameters += parameter.size; }
  }
  progress.end();
  task.network_made(num_parameters);

  auto const positions = program::staged<Space>(positions_from_lowest(*task.cloud));
  auto const features = program::staged<Space>(task.features);
  program::Staging<std::int32_t, Space> labels{static_cast<std::size_t>(task.cloud->size())};
  auto const upload = [&] {
    ts::Matrix<float, Space> own_positions{task.cloud->size(), 4, exec};
    ts::Matrix<float, Space> own_features{task.cloud->size(), task.shape.in_channels, exec};
    positions.upload(own_positions.data(), exec);
    features.upload(own_features.data(), exec);
    auto const set = std::make_shared<ts::PointSet<3, Space>>(std::move(own_positions), 1);
    if constexpr (std::is_same_v<Scalar, float>) {
      return ts::PointTensor<3, float, Space>{set, std::move(own_features)};
    } else {
      return ts::PointTensor<3, Scalar, Space>{set, ts::cast<Scalar>(own_features.view(), exec)};
    }
  };

  Segmentation result;
  result.no_plan = std::is_same_v<Space, ts::Host> ? "the CPU has no CUDA graphs"
                                                   : "SPVCNN waits for the numbers of its voxels";
  {
    auto const made = ts::initial_voxelize(upload(), 1, voxel_size, exec);
    auto const& set = made.voxels.coordinates();
    prepare_maps<Space>(set, options.config, exec);
    bool enough = true;
    set->for_each_in_manager([&](auto const& level) {
      result.levels.push_back({ts::max_element(level.tensor_stride()), level.num_rows()});
      enough = enough && level.num_rows() > 1;
    });
    // Without training, batch normalisation has no statistics; those of this scan keep activations in scale.
    program::LayerProgress<Scalar, Space> layers{progress, "calibrate", net};
    if (task.weights == nullptr && enough) { ts::nn::calibrate(net, upload(), layers.execution(exec)); }
  }
  auto fused = ts::nn::fuse(net, upload(), exec);

  int const warm_up = task.repeat > 1 ? 1 : 0;
  constexpr char const* stage_names[] = {"upload", "network", "label"};
  std::array<std::vector<double>, 3> milliseconds;
  for (int run = -warm_up; run < task.repeat; ++run) {
    Stopwatch<Space> watch{exec};
    auto const z = upload();
    std::array<double, 3> laps{watch.lap()};
    ts::PointTensor<3, Scalar, Space> logits;
    {
      program::LayerProgress<Scalar, Space> layers{progress, stage_names[1], fused};
      logits = fused.forward(z, layers.execution(exec));
    }
    laps[1] = watch.lap();
    progress.begin(stage_names[2]);
    auto const found = ts::argmax(logits.features(), exec);
    labels.download(found.data(), exec);
    exec.wait();
    laps[2] = watch.lap();
    progress.end();
    for (std::size_t stage = 0; run >= 0 && stage < laps.size(); ++stage) {
      milliseconds[stage].push_back(laps[stage]);
    }
    if (run + 1 < task.repeat || options.logits.empty()) { continue; }
    for (auto const value : logits.features_on_host(exec)) {
      result.logits.push_back(static_cast<float>(value));
    }
  }
  for (std::size_t stage = 0; stage < milliseconds.size(); ++stage) {
    result.stages.push_back({stage_names[stage], program::median(milliseconds[stage])});
  }
  result.labels.assign(labels.data(), labels.data() + labels.size());
  for (std::size_t i = 0; i < result.labels.size(); ++i) {  // a point that is nowhere has no class
    for (std::size_t axis = 0; axis < 3; ++axis) {
      if (!std::isfinite(task.cloud->positions[3 * i + axis])) { result.labels[i] = -1; }
    }
  }
  return result;
}

/// What labels the scan: MinkUNet its voxels, SPVCNN its points.
template <class Space, class Scalar>
[[nodiscard]] Segmentation segment_any(Task const& task, ts::Execution<Space> const& exec)
{
  return task.shape.on_points ? segment_points<Space, Scalar>(task, exec)
                              : segment<Space, Scalar>(task, exec);
}

}  // namespace segment_scan
