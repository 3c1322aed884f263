// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// What every benchmark shares: timing by events, the scans it runs on, and one line of CSV a case.

#include <tessera/tessera.cuh>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace bench {

namespace ts = tessera;

/// Median, smallest and 99th percentile of a set of milliseconds.
struct Times {
  double median;
  double smallest;
  double p99;
};

inline Times summary(std::vector<double> milliseconds)
{
  std::sort(milliseconds.begin(), milliseconds.end());
  auto const last = milliseconds.size() - 1;
  return {milliseconds[last / 2], milliseconds.front(), milliseconds[last * 99 / 100]};
}

/// Times whole calls of `run()`, each between two events on the stream, as a user waits for them; ten calls
/// before are not counted.
template <class Run>
Times time_calls(ts::Execution<ts::Device> const& exec, int calls, Run const& run)
{
  cudaEvent_t begin = nullptr;
  cudaEvent_t end = nullptr;
  ts::detail::cuda_check(cudaEventCreate(&begin));
  ts::detail::cuda_check(cudaEventCreate(&end));
  std::vector<double> milliseconds;
  for (int call = -10; call < calls; ++call) {
    ts::detail::cuda_check(cudaEventRecord(begin, exec.stream()));
    run();
    ts::detail::cuda_check(cudaEventRecord(end, exec.stream()));
    ts::detail::cuda_check(cudaEventSynchronize(end));
    float elapsed = 0;
    ts::detail::cuda_check(cudaEventElapsedTime(&elapsed, begin, end));
    if (call >= 0) { milliseconds.push_back(elapsed); }
  }
  ts::detail::cuda_check(cudaEventDestroy(begin));
  ts::detail::cuda_check(cudaEventDestroy(end));
  return summary(std::move(milliseconds));
}

/// The scan named on the command line, else one of the simulator; at 0.05 m.
struct Scan {
  std::string name;
  std::vector<ts::Coordinate<3>> voxels;
  std::vector<float> features;  // [voxels, 4]
};

inline Scan load_scan(int argc, char** argv)
{
  auto const cloud = argc > 1 ? ts::read_point_cloud(argv[1]) : ts::simulate_lidar();
  ts::Execution<ts::Host> const host;
  auto const positions = ts::upload_matrix(cloud.positions, 3, host);
  auto const none = ts::Matrix<float, ts::Host>{cloud.size(), 0, host};
  auto const found =
      ts::sparse_quantize(ts::PointsView<float>{positions.view(), none.view()},
                          ts::QuantizeOptions<3>(0.05F).origin(ts::GridOrigin::lowest_voxel), host);
  Scan scan;
  scan.name = argc > 1 ? argv[1] : "simulator";
  scan.voxels = ts::download(found.coordinates->data(), found.coordinates->num_rows(), host);
  for (auto const& row : scan.voxels) {
    for (int i = 0; i < 3; ++i) { scan.features.push_back(static_cast<float>(row.position[i]) * 0.01F); }
    scan.features.push_back(1.0F);
  }
  return scan;
}

inline void print_header()
{
  std::printf("case,scan,rows,median_ms,min_ms,p99_ms\n");
}

inline void print(std::string const& name, Scan const& scan, std::int64_t rows, Times const& times)
{
  std::printf("%s,%s,%lld,%.4f,%.4f,%.4f\n", name.c_str(), scan.name.c_str(), static_cast<long long>(rows),
              times.median, times.smallest, times.p99);
}

/// Runs `body` and turns what it throws into one line and exit status 1.
template <class Body>
int guarded(Body const& body)
{
  try {
    body();
    return 0;
  } catch (std::exception const& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

}  // namespace bench
