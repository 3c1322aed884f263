// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// --model spvcnn: the network takes the points themselves and labels each of them.

#include "segment.hpp"

#include <tessera/models/spvcnn.hpp>
#include <tessera/nn/costs.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

namespace segment_scan {

/// [num_points, 3 + channels]: of each point its place, in metres from the cloud's lowest, and its features.
[[nodiscard]] inline std::vector<float> points_from_lowest(ts::PointCloud const& cloud,
                                                           std::vector<float> const& features, int channels)
{
  std::array<float, 3> lowest;
  lowest.fill(std::numeric_limits<float>::infinity());
  for (std::size_t i = 0; i < cloud.positions.size(); ++i) {
    if (std::isfinite(cloud.positions[i])) { lowest[i % 3] = std::min(lowest[i % 3], cloud.positions[i]); }
  }
  std::vector<float> rows;
  for (std::size_t i = 0; 3 * i < cloud.positions.size(); ++i) {
    for (std::size_t axis = 0; axis < 3; ++axis) {
      rows.push_back(cloud.positions[3 * i + axis] - lowest[axis]);
    }
    auto const first = features.begin() + static_cast<std::ptrdiff_t>(i) * channels;
    rows.insert(rows.end(), first, first + channels);
  }
  return rows;
}

/// Splits [num_points, 3 + channels] into what a PointTensor has; item number n is one number of a point.
template <class Scalar>
struct SplitPoints {
  float const* from;
  int channels;
  float* positions;  // [num_points, 4] batch entry 0, and the place
  Scalar* features;  // [num_points, channels]

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    int const columns = 3 + channels;
    auto const row = n / columns;
    auto const column = n - row * columns;
    if (column == 0) { positions[4 * row] = 0; }
    if (column < 3) {
      positions[4 * row + 1 + column] = from[n];
    } else {
      features[row * channels + column - 3] = static_cast<Scalar>(from[n]);
    }
  }
};

/// The scan in host memory, and the way from there to labels in host memory, layer by layer.
template <class Space, class Scalar>
class PointSegmenter {
 public:
  using Points = ts::PointTensor<3, Scalar, Space>;
  static constexpr std::array<char const*, 3> stage_names{"upload", "network", "label"};

  PointSegmenter(Task const& task, ts::Execution<Space> const& exec)
      : task_{&task},
        exec_{&exec},
        points_{
            program::staged<Space>(points_from_lowest(*task.cloud, task.features, task.shape.in_channels))},
        labels_{static_cast<std::size_t>(task.cloud->size())}
  {}

  [[nodiscard]] program::Staging<float, Space> const& points() const { return points_; }
  [[nodiscard]] program::Staging<std::int32_t, Space>& labels() { return labels_; }

  [[nodiscard]] Points upload() const
  {
    auto const& exec = *exec_;
    auto const num_points = task_->cloud->size();
    int const channels = task_->shape.in_channels;
    ts::Matrix<float, Space> points{num_points, 3 + channels, exec};
    ts::Matrix<float, Space> positions{num_points, 4, exec};
    ts::Matrix<Scalar, Space> features{num_points, channels, exec};
    points_.upload(points.data(), exec);
    ts::for_each(points.size(),
                 SplitPoints<Scalar>{points.data(), channels, positions.data(), features.data()}, exec);
    return {std::make_shared<ts::PointSet<3, Space>>(std::move(positions), 1), std::move(features)};
  }

  struct Pass {
    std::array<double, 3> milliseconds{};
    Points logits;
  };

  /// One pass; waits. A point that is nowhere has no class.
  template <class Network>
  [[nodiscard]] Pass run(Network& net)
  {
    auto const& exec = *exec_;
    Pass pass;
    Stopwatch<Space> watch{exec};
    auto const z = upload();
    pass.milliseconds[0] = watch.lap();
    {
      program::LayerProgress<Scalar, Space> layers{*task_->progress, stage_names[1], net};
      pass.logits = net.forward(z, layers.execution(exec));
    }
    pass.milliseconds[1] = watch.lap();
    task_->progress->begin(stage_names[2]);
    auto const found = ts::argmax(pass.logits.features(), exec);
    labels_.download(found.data(), exec);
    exec.wait();
    for (std::size_t i = 0; i < task_->cloud->positions.size(); ++i) {
      if (!std::isfinite(task_->cloud->positions[i])) { labels_.data()[i / 3] = -1; }
    }
    pass.milliseconds[2] = watch.lap();
    task_->progress->end();
    return pass;
  }

 private:
  Task const* task_;
  ts::Execution<Space> const* exec_;
  program::Staging<float, Space> points_;
  program::Staging<std::int32_t, Space> labels_;
};

/// segment() by an SPVCNN.
template <class Space, class Scalar>
[[nodiscard]] Segmentation segment_points(Task const& task, ts::Execution<Space> const& exec)
{
  auto& progress = *task.progress;
  auto const& options = *task.options;
  progress.begin("load");
  auto const voxel_size = task.voxels.voxel_size[0];
  ts::models::SPVCNN<3, Scalar, Space> net{ts::SPVCNNOptions(task.shape.in_channels, task.shape.num_classes)
                                               .width(task.shape.width)
                                               .voxel_size(1, voxel_size)
                                               .config(options.config)
                                               .seed(options.seed),
                                           exec};
  if (task.weights != nullptr) { ts::io::load(net, task.weights->network.converted, exec); }
  progress.end();
  task.network_made(ts::nn::num_parameters(net));

  PointSegmenter<Space, Scalar> segmenter{task, exec};
  Segmentation result;
  auto const voxels = ts::initial_voxelize(segmenter.upload(), 1, voxel_size, exec).voxels.coordinates();
  prepare_maps<Space>(voxels, options.config, exec);
  bool enough = true;
  voxels->for_each_in_manager([&](auto const& level) {
    result.levels.push_back({ts::max_element(level.tensor_stride()), level.num_rows()});
    enough = enough && level.num_rows() > 1;
  });
  if (task.weights == nullptr && enough) {
    // Without training, batch normalisation has no statistics; those of this scan keep activations in scale.
    program::LayerProgress<Scalar, Space> layers{progress, "calibrate", net};
    ts::nn::calibrate(net, segmenter.upload(), layers.execution(exec));
  }
  auto fused = ts::nn::fuse(net, segmenter.upload(), exec);

  result.no_plan = absence_of_plan<Space>(task);
  if (result.no_plan.empty() && voxels->num_rows() == 0) { result.no_plan = "no point is in a voxel"; }
  bool const timed = !result.no_plan.empty() || options.stages;
  program::TimedPasses<3> passes{timed ? task.repeat : 1};
  auto const pass = passes.run([&] { return segmenter.run(fused); });
  if (!options.logits.empty()) {
    for (auto const value : pass.logits.features_on_host(exec)) {
      result.logits.push_back(static_cast<float>(value));
    }
  }
#ifdef __CUDACC__
  if constexpr (std::is_same_v<Space, ts::Device>) {
    if (result.no_plan.empty()) {
      try {
        result.planned =
            run_planned_on_points(task, fused, *voxels, segmenter.points(), segmenter.labels(), exec);
      } catch (ts::invalid_argument const& error) {
        result.no_plan = error.what();
        static_cast<void>(segmenter.run(fused));  // labels() as they were
      }
    }
  }
#endif
  if (timed || !result.planned) { result.stages = passes.medians(segmenter.stage_names); }
  result.labels.assign(segmenter.labels().data(), segmenter.labels().data() + segmenter.labels().size());
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
