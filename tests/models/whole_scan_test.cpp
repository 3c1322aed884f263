// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// A whole scan through a whole network, voxelised and run in each space.

#include "../support/data.hpp"
#include "../support/device.hpp"
#include "../support/small.hpp"
#include "random_networks.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution_kernels.cuh>
#endif
#include <tessera/conv/detail/convolution_host.hpp>
#include <tessera/coords/quantize.hpp>
#include <tessera/io/point_cloud_file.hpp>
#include <tessera/models/minkunet.hpp>
#include <tessera/nn/calibrate.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

using namespace tessera;

namespace {

constexpr int num_classes = 19;

/// Voxels of the scan with x, y, z and intensity, as segment_scan makes them.
template <class Scalar, class Space>
SparseTensor<3, Scalar, Space> voxels_of(PointCloud const& cloud, Execution<Space> const& exec)
{
  std::vector<Scalar> measured;
  for (std::size_t i = 0; i < static_cast<std::size_t>(cloud.size()); ++i) {
    for (std::size_t k = 0; k < 3; ++k) {
      measured.push_back(static_cast<Scalar>(cloud.positions[3 * i + k]));
    }
    measured.push_back(static_cast<Scalar>(cloud.features[i]));
  }
  auto const positions = upload_matrix(cloud.positions, 3, exec);
  auto const features = upload_matrix(measured, 4, exec);
  auto const rule = QuantizeOptions<3>(test::small_sets() ? 3.2F : 0.05F).origin(GridOrigin::lowest_voxel);
  auto voxels = sparse_quantize(PointsView<Scalar>{positions, features}, rule, exec);
  return {voxels.coordinates, std::move(voxels.features)};
}

/// MinkUNet 1.0 with weights from a seed.
template <class Scalar, class Space>
std::unique_ptr<models::MinkUNet<3, Scalar, Space>> seeded_network(Execution<Space> const& exec)
{
  return std::make_unique<models::MinkUNet<3, Scalar, Space>>(MinkUNetOptions(4, num_classes).seed(1), exec);
}

/// What the host computed, in float, once for all cases.
struct HostRun {
  std::unique_ptr<models::MinkUNet<3, float, Host>> network;  // its statistics are those of the scan
  std::vector<Coordinate<3>> coordinates;
  std::vector<float> logits;
  double seconds = 0;  // of one forward pass on new coordinates
};

HostRun const& host_run(PointCloud const& cloud)
{
  static HostRun const run = [&] {
    Execution<Host> const exec;
    HostRun result;
    result.network = seeded_network<float>(exec);
    nn::calibrate(*result.network, voxels_of<float>(cloud, exec), exec);
    auto const x = voxels_of<float>(cloud, exec);
    auto const begin = std::chrono::steady_clock::now();
    auto const logits = result.network->forward(x, exec);
    result.seconds = std::chrono::duration<double>{std::chrono::steady_clock::now() - begin}.count();
    result.coordinates = logits.coordinates_on_host(exec);
    result.logits = logits.features_on_host(exec);
    return result;
  }();
  return run;
}

#ifdef __CUDACC__

/// The mean of the cosines between rows of [rows, num_classes]; a row of zeros is at right angles to all.
double mean_cosine(std::vector<float> const& a, std::vector<float> const& b)
{
  double sum = 0;
  for (std::size_t first = 0; first < a.size(); first += num_classes) {
    double product = 0;
    double a_square = 0;
    double b_square = 0;
    for (auto i = first; i < first + num_classes; ++i) {
      product += double{a[i]} * b[i];
      a_square += double{a[i]} * a[i];
      b_square += double{b[i]} * b[i];
    }
    sum += a_square > 0 && b_square > 0 ? product / std::sqrt(a_square * b_square) : 0;
  }
  return sum / (static_cast<double>(a.size()) / num_classes);
}

#endif

}  // namespace

TEST_CASE("whole scan: MinkUNet 1.0 gives finite logits on the host, and soon")
{
  auto const path = test::data_file("data/semkitti_000000.bin");
  if (!path) { return; }
  auto const cloud = read_point_cloud(*path);
  auto const& run = host_run(cloud);
  CHECK(run.logits.size() == run.coordinates.size() * num_classes);
  CHECK(static_cast<std::int64_t>(run.coordinates.size()) > cloud.size() / (test::small_sets() ? 400 : 3));
  CHECK(std::all_of(run.logits.begin(), run.logits.end(), [](float value) { return std::isfinite(value); }));
  MESSAGE(run.coordinates.size() << " voxels in " << run.seconds << " s");  // two cores take less than 5 s
  CHECK(run.seconds < 100);  // of one that others use too, under a sanitizer
}

#ifdef __CUDACC__

TEST_CASE("whole scan: MinkUNet 1.0 in half on the device agrees with float on the host")
{
  auto const path = test::data_file("data/semkitti_000000.bin");
  if (!path || test::skipped<Device>()) { return; }
  auto const cloud = read_point_cloud(*path);
  auto const& expected = host_run(cloud);
  Execution<Device> const exec{};
  auto const x = voxels_of<__half>(cloud, exec);
  auto const network = seeded_network<__half>(exec);
  random_networks::copy_statistics(*expected.network, *network, exec);
  auto const logits = network->forward(x, exec);
  CHECK(logits.coordinates_on_host(exec) == expected.coordinates);
  std::vector<float> found;
  for (auto const value : logits.features_on_host(exec)) { found.push_back(static_cast<float>(value)); }
  REQUIRE(found.size() == expected.logits.size());
  auto const cosine = mean_cosine(found, expected.logits);
  MESSAGE("mean cosine " << cosine);
  CHECK(cosine >= 0.999);
}

#endif
