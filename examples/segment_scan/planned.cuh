// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/passes.hpp"
#include "../support/stopwatch.hpp"
#include "segmentation.hpp"

#include <tessera/tessera.cuh>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace segment_scan {

/// Points in pinned host memory to labels in pinned host memory, voxels, network and labels being one CUDA
/// graph.
/// @param limits  those of a scan like this one: as many points, a quarter more voxels at each level, voxels in
///                the same box
/// @param labels  those of the same layers one by one; the graph's are left in it
template <class Network, class Limits, class Labels>
[[nodiscard]] PlannedTimes run_planned(Task const& task, Network& net, Limits const& limits,
                                       tessera::MatrixView<float const> const& points, Labels& labels,
                                       tessera::Execution<> const& exec)
{
  namespace ts = tessera;
  using Scalar = typename Network::Tensor::scalar;
  PlannedTimes times;
  program::Stopwatch<ts::Device> making{exec};
  task.progress->begin("plan");
  ts::Plan plan{net, limits, exec};
  times.making = making.lap();
  times.bytes = plan.bytes();
  times.num_nodes = plan.num_nodes();

  std::vector<std::int32_t> const expected(labels.data(), labels.data() + labels.size());
  ts::PlanDestination<Scalar> to;
  to.labels = {labels.data(), points.rows, 1};
  task.progress->begin("segment");
  std::vector<double> milliseconds;
  program::repeat_runs(task.repeat, [&](bool counted) {
    program::Stopwatch<ts::Device> watch{exec};
    plan.run(points, to, exec);
    auto const passed = watch.lap();
    if (counted) { milliseconds.push_back(passed); }
  });
  plan.check();
  task.progress->end();
  times.milliseconds = program::median(milliseconds);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    times.num_different += labels.data()[i] != expected[i] ? 1 : 0;
  }
  return times;
}

/// The same of a network that labels voxels; leaves the labels in `segmenter`.
template <class Network, class Segmenter>
[[nodiscard]] PlannedTimes run_planned_on_voxels(Task const& task, Network& net,
                                                 tessera::CoordinateSet<3, tessera::Device> const& typical,
                                                 Segmenter& segmenter, tessera::Execution<> const& exec)
{
  auto const num_points = task.cloud->size();
  auto const limits = tessera::PlanLimits()
                          .channels(task.shape.in_channels)
                          .like(typical, 1.25)
                          .box(typical.box())
                          .max_points(num_points)
                          .voxelize(task.voxels);
  return run_planned(task, net, limits, {segmenter.features().data(), num_points, task.shape.in_channels},
                     segmenter.labels(), exec);
}

/// The same of a network that labels points.
/// @param points  [num_points, 3 + channels] positions and features, in pinned memory
template <class Network, class Points, class Labels>
[[nodiscard]] PlannedTimes run_planned_on_points(Task const& task, Network& net,
                                                 tessera::CoordinateSet<3, tessera::Device> const& typical,
                                                 Points const& points, Labels& labels,
                                                 tessera::Execution<> const& exec)
{
  auto const num_points = task.cloud->size();
  int const columns = 3 + task.shape.in_channels;
  // [points]
  auto const limits = tessera::PlanLimits()
                          .channels(task.shape.in_channels)
                          .like(typical, 1.25)
                          .box(typical.box())
                          .max_points(num_points)
                          .point_columns(columns)
                          .model_voxelizes();
  // [points]
  return run_planned(task, net, limits, {points.data(), num_points, columns}, labels, exec);
}

}  // namespace segment_scan
