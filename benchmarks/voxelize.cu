// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Voxels of a cloud that lies on the device, as detectors make them: with the host learning their number, and
// without.

#include "support/session.cuh"

#include <tessera/tessera.cuh>

namespace ts = tessera;

namespace {

template <class Run>
void measure(bench::Session& session, bench::Result result, Run const& run)
{
  if (!session.wants(result)) { return; }
  auto const& exec = session.exec();
  auto const call = [&] { run(exec); };
  call();
  auto const asked = session.timer().count(call);
  result.kernels = static_cast<int>(asked.kernels + asked.copies_and_fills);
  result.host_syncs = static_cast<int>(asked.waits);
  auto const calls = session.options().calls;
  session.add(result, "calls", session.timer().calls(calls, call));
  session.add(result, "cold", session.timer().cold(calls, call));
  if (auto const graph = session.timer().graph(calls, run)) {
    result.kernels = graph->nodes;
    session.add(result, "graph", graph->times);
  }
}

void measure_all(bench::Session& session)
{
  auto const& exec = session.exec();
  for (auto const& cloud : {bench::semkitti_points(session.folder()), bench::simulated_points(250000)}) {
    auto const points = ts::upload_matrix(cloud.rows, cloud.columns, exec);
    for (auto const name : ts::voxel_option_names()) {
      auto const options = ts::voxel_options(name);
      auto const fixed = ts::VoxelizeOptions{options}.capacity(ts::FixedCapacity{});
      bench::Result result;
      result.workload = cloud.name;
      result.rows = cloud.size();
      result.name = "hard voxelize " + std::string{name};
      result.variant = "waits for the number of voxels";
      measure(session, result, [&](ts::Execution<ts::Device> const& where) {
        static_cast<void>(ts::hard_voxelize<ts::Device>(points.view(), options, where));
      });
      result.variant = "does not wait";
      measure(session, result, [&](ts::Execution<ts::Device> const& where) {
        static_cast<void>(ts::hard_voxelize<ts::Device>(points.view(), fixed, where));
      });
      result.name = "dynamic voxelize " + std::string{name};
      result.variant = "waits for the number of voxels";
      measure(session, result, [&](ts::Execution<ts::Device> const& where) {
        static_cast<void>(
            ts::dynamic_voxelize<ts::Device>(points.view(), options, ts::VoxelFeatures::mean, where));
      });
    }
  }
}

}  // namespace

int main(int argc, char** argv)
{
  return bench::run_benchmark(
      "bench_voxelize",
      "Times the voxelization of detectors, on a scan and on a simulated cloud of 250,000 points.", {}, argc,
      argv, measure_all);
}
