// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Voxels of a cloud that lies on the device, as detectors make them: with the host learning their number, and
// without.

#include "support/session.cuh"

#include <tessera/tessera.cuh>

namespace ts = tessera;

namespace {

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
      session.measure(result, [&](ts::Execution<ts::Device> const& where) {
        static_cast<void>(ts::hard_voxelize<ts::Device>(points.view(), options, where));
      });
      result.variant = "does not wait";
      session.measure(result, [&](ts::Execution<ts::Device> const& where) {
        static_cast<void>(ts::hard_voxelize<ts::Device>(points.view(), fixed, where));
      });
      result.name = "dynamic voxelize " + std::string{name};
      result.variant = "waits for the number of voxels";
      session.measure(result, [&](ts::Execution<ts::Device> const& where) {
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
