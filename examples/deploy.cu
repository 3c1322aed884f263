// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// A network made ready for the vehicle: fused, planned as one CUDA graph, run scan after scan with no
// allocation and no wait; and the same bits layer by layer, maps beside.

#include <tessera/tessera.cuh>

#include <cstdio>
#include <cstring>
#include <vector>

namespace ts = tessera;

namespace {

ts::SparseTensor<3, __half> voxelize(std::uint64_t seed, ts::Execution<ts::Device> const& exec)
{
  ts::LidarOptions options;
  options.seed = seed;
  ts::PointCloud const scan = ts::simulate_lidar(options);
  std::vector<__half> measured;
  for (float const value : scan.features) { measured.push_back(__float2half(value)); }
  auto const positions = ts::upload_matrix(scan.positions, 3, exec);
  auto const intensity = ts::upload_matrix(measured, scan.channels, exec);
  auto voxels =
      ts::sparse_quantize(ts::PointsView<__half>{positions, intensity}, ts::QuantizeOptions<3>(0.4F), exec);
  return {voxels.coordinates, std::move(voxels.features)};
}

int run(cudaStream_t stream)
{
  ts::Execution const exec{stream};
  // [beside]
  ts::SideStreams sides{stream};
  auto const beside = exec.with_sides(sides);  // for the scan's tensor and for the network
  // [beside]
  auto const typical = voxelize(1, exec);

  // [plan]
  ts::models::MinkUNet<3, __half> net(ts::models::MinkUNetOptions(typical.channels(), 19).width(0.5), exec);
  // ts::io::load(net, "minkunet.safetensors", ts::io::TorchSparse{}, exec);
  ts::nn::fuse(net, exec);  // after loading: batch norms go into the convolutions

  static_cast<void>(net(typical, exec));  // derives the coarser levels, whose sizes `like` takes
  ts::Plan plan(net, ts::PlanLimits().like(*typical.coordinates(), 1.5), exec);
  std::printf("%zu kernels and fills, %.1f MB\n", plan.num_nodes(), static_cast<double>(plan.bytes()) / 1e6);
  // [plan]

  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    auto const scan = voxelize(seed, exec);
    // [run]
    auto const& logits = plan.run(scan, exec);  // enqueues a copy and a graph; in the plan's memory
    // [run]
    auto const planned = logits.features_on_host(exec);
    plan.check();  // waits, and throws if a scan did not fit
    auto const eager = net(scan, exec).features_on_host(exec);
    auto const again = net(voxelize(seed, beside), beside).features_on_host(beside);
    bool const same = planned.size() == eager.size() && again.size() == eager.size() &&
                      std::memcmp(planned.data(), eager.data(), planned.size() * sizeof(__half)) == 0 &&
                      std::memcmp(again.data(), eager.data(), again.size() * sizeof(__half)) == 0;
    std::printf("scan %llu: %lld voxels, %s\n", static_cast<unsigned long long>(seed),
                static_cast<long long>(scan.num_rows()), same ? "the bits of forward()" : "DIFFERENT");
    if (!same) { return 1; }
  }
  return 0;
}

}  // namespace

int main()
{
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::puts("skipped: no CUDA device");
    return 77;
  }
  cudaStream_t stream = nullptr;
  if (cudaStreamCreate(&stream) != cudaSuccess) { return 1; }
  int const status = run(stream);
  if (cudaStreamDestroy(stream) != cudaSuccess) { return 1; }
  std::puts(status == 0 ? "ok" : "FAILED");
  return status;
}
