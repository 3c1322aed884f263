// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Voxels of a cloud that lies on the device, as detectors make them: with the host learning their number, and
// without.

#include "../support/harness.hpp"

namespace ts = tessera;

namespace {

/// x, y, z and the first feature of each point: what KITTI's scans hold.
std::vector<float> rows_of(ts::PointCloud const& cloud)
{
  std::vector<float> rows;
  for (std::size_t i = 0; i < static_cast<std::size_t>(cloud.size()); ++i) {
    for (std::size_t k = 0; k < 3; ++k) { rows.push_back(cloud.positions[3 * i + k]); }
    rows.push_back(cloud.channels > 0 ? cloud.features[i * static_cast<std::size_t>(cloud.channels)] : 0.0F);
  }
  return rows;
}

/// Enough beams for `points` points or a little more.
ts::PointCloud simulated(std::int64_t points)
{
  ts::LidarOptions options;
  auto cloud = ts::simulate_lidar(options);
  while (cloud.size() < points) {
    options.beams += options.beams / 4;
    cloud = ts::simulate_lidar(options);
  }
  return cloud;
}

void measure(std::string const& source, ts::PointCloud const& cloud, ts::Execution<ts::Device> const& exec)
{
  auto const points = ts::upload_matrix(rows_of(cloud), 4, exec);
  bench::Scan scan;
  scan.name = source + " " + std::to_string(cloud.size()) + " points";
  for (auto const name : ts::voxel_option_names()) {
    auto const options = ts::voxel_options(name);
    std::int64_t num_voxels = 0;
    auto const waiting = bench::time_calls(exec, 200, [&] {
      num_voxels = ts::hard_voxelize<ts::Device>(points.view(), options, exec).num_voxels();
    });
    bench::print("hard_voxelize " + std::string{name}, scan, num_voxels, waiting);
    auto const fixed = ts::VoxelizeOptions{options}.capacity(ts::FixedCapacity{});
    auto const enqueued = bench::time_calls(
        exec, 200, [&] { static_cast<void>(ts::hard_voxelize<ts::Device>(points.view(), fixed, exec)); });
    bench::print("hard_voxelize without waiting " + std::string{name}, scan, num_voxels, enqueued);
    auto const dynamic = bench::time_calls(exec, 200, [&] {
      auto const found =
          ts::dynamic_voxelize<ts::Device>(points.view(), options, ts::VoxelFeatures::mean, exec);
      num_voxels = found.num_voxels();
    });
    bench::print("dynamic_voxelize " + std::string{name}, scan, num_voxels, dynamic);
  }
}

}  // namespace

int main(int argc, char** argv)
{
  return bench::guarded([&] {
    cudaStream_t stream = nullptr;
    ts::detail::cuda_check(cudaStreamCreate(&stream));
    ts::Execution const exec{stream};
    bench::print_header();
    if (argc > 1) { measure(argv[1], ts::read_point_cloud(argv[1]), exec); }
    measure("simulator", ts::simulate_lidar(), exec);
    measure("simulator", simulated(250000), exec);
  });
}
