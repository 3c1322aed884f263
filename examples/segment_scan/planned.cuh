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
/// graph; leaves the labels in `segmenter`.
///
/// The plan is made for scans like this one: as many points, a quarter more voxels at each level, voxels in
/// the same box.
template <class Network, class Segmenter>
[[nodiscard]] PlannedTimes run_planned(Task const& task, Network& net,
                                       tessera::CoordinateSet<3, tessera::Device> const& typical,
                                       Segmenter& segmenter, tessera::Execution<> const& exec)
{
  namespace ts = tessera;
  using Scalar = typename Network::Tensor::scalar;
  auto const num_points = task.cloud->size();
  PlannedTimes times;
  program::Stopwatch<ts::Device> making{exec};
  task.progress->begin("plan");
  ts::Plan plan{net,
                ts::PlanLimits()
                    .channels(task.shape.in_channels)
                    .like(typical, 1.25)
                    .box(typical.box())
                    .max_points(num_points)
                    .voxelize(task.voxels),
                exec};
  times.making = making.lap();
  times.bytes = plan.bytes();
  times.num_nodes = plan.num_nodes();

  std::vector<std::int32_t> const expected(segmenter.labels().data(),
                                           segmenter.labels().data() + segmenter.labels().size());
  ts::MatrixView<float const> const points{segmenter.features().data(), num_points, task.shape.in_channels};
  ts::PlanDestination<Scalar> to;
  to.labels = {segmenter.labels().data(), num_points, 1};
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
    times.num_different += segmenter.labels().data()[i] != expected[i] ? 1 : 0;
  }
  return times;
}

}  // namespace segment_scan
