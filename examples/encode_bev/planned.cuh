// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/passes.hpp"
#include "../support/stopwatch.hpp"
#include "../support/transfer.hpp"
#include "encoding.hpp"

#include <tessera/tessera.cuh>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace encode_bev {

/// Points in pinned host memory to the map in pinned host memory, voxels and network being one CUDA graph;
/// leaves the map in `map`.
///
/// The plan is made for scans like this one: as many points, a quarter more voxels at each level.
template <class Network, class BevEncoder>
[[nodiscard]] PlannedTimes run_planned(Task const& task, Network& net,
                                       tessera::CoordinateSet<3, tessera::Device> const& typical,
                                       BevEncoder const& encoder, std::vector<float>& map,
                                       tessera::Execution<> const& exec)
{
  namespace ts = tessera;
  auto const num_points = task.num_points();
  PlannedTimes times;
  program::Stopwatch<ts::Device> making{exec};
  task.progress->begin("plan");
  ts::PlanLimits limits;
  limits.max_voxels(std::min<std::int64_t>(num_points, task.voxels.voxels()));
  limits.like(typical, 1.25).max_points(num_points).fuse();
  ts::Plan plan{ts::forward_bev<float>(net, encoder.layout()), limits.voxelize(task.voxels), exec};
  times.making = making.lap();
  times.bytes = plan.bytes();
  times.num_nodes = plan.num_nodes();

  program::Staging<float, ts::Device> result{map.size()};
  ts::MatrixView<float const> const points{encoder.points().data(), num_points,
                                           task.network.encoder.in_channels};
  task.progress->begin("encode");
  std::vector<double> milliseconds;
  std::vector<double> downloads;
  program::repeat_runs(task.repeat, [&](bool counted) {
    program::Stopwatch<ts::Device> watch{exec};
    auto const output = plan.run(points, exec);
    double const encoded = watch.lap();
    result.download(output.output->data(), exec);
    double const copied = watch.lap();
    if (counted) {
      milliseconds.push_back(encoded + copied);
      downloads.push_back(copied);
    }
  });
  plan.check();
  task.progress->end();
  for (std::size_t i = 0; i < map.size(); ++i) { times.num_different += map[i] != result.data()[i] ? 1 : 0; }
  map.assign(result.data(), result.data() + result.size());
  times.milliseconds = program::median(milliseconds);
  times.download = program::median(downloads);
  return times;
}

}  // namespace encode_bev
