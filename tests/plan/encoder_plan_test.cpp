// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"

// Plans are CUDA graphs; a build without CUDA has none.
#ifdef __CUDACC__
#include "plan_cases.hpp"

#include <tessera/conv/convolution_kernels.cuh>
#include <tessera/coords/detail/hard_voxels_device.cuh>
#include <tessera/coords/voxelize.hpp>
#include <tessera/models/sparse_encoder.hpp>
#include <tessera/ops/cast.hpp>
#include <tessera/plan/plan.cuh>

#include <cmath>
#include <random>
#include <vector>

using namespace tessera;
using namespace plan_cases;

namespace {

using Encoder = models::SparseEncoder<__half, Device>;

/// Points on a wavy ground: x, y, z, and two features.
std::vector<float> random_points(unsigned seed, int count)
{
  std::mt19937 random{seed};
  std::uniform_real_distribution<float> uniform{0, 1};
  std::vector<float> points;
  for (int i = 0; i < count; ++i) {
    float const x = 6.4F * uniform(random);
    float const y = 6.4F * uniform(random);
    points.insert(points.end(), {x, y, 2 + std::sin(x) + 0.1F * uniform(random), uniform(random), 0});
  }
  return points;
}

}  // namespace

TEST_CASE_TEMPLATE("Plan: CenterPoint's encoder and its map, from points whose voxels the host never counts",
                   Space, Device)
{
  if (test::skipped<Space>()) { return; }
  Stream const stream;
  Execution<Device> const exec{stream.handle};
  IntArray<3> const shape{41, 64, 64};
  constexpr int most = 6000;
  Encoder encoder{models::centerpoint(shape).width(0.25), exec};
  auto const limits =
      PlanLimits().max_voxels(most).max_derived_voxels(2 * most).grid(SpatialRange<3>{1, shape});
  Plan plan{forward_bev(encoder), limits, exec};
  auto const grid = VoxelizeOptions({0.1F, 0.1F, 0.1F}, {0, 0, 0}, {6.4F, 6.4F, 4}).voxels(most).shape(shape);
  auto counted_in_space = grid;
  counted_in_space.capacity(FixedCapacity{});
  Plan from_points{forward_bev(encoder),
                   PlanLimits().max_points(9000).max_derived_voxels(2 * most).voxelize(grid), exec};
  for (unsigned const seed : {1U, 2U, 3U}) {
    CAPTURE(seed);
    auto const points = upload_matrix(random_points(seed, seed == 2 ? 9000 : 4000), 5, exec);
    auto const voxels = hard_voxelize(points, grid, exec);
    SparseTensor<3, __half> const x{voxels.coordinates, cast<__half>(voxels.mean.view(), exec)};
    auto const expected = encoder.forward_bev(x, exec);
    auto const uncounted = hard_voxelize(points, counted_in_space, exec);
    auto const features = cast<__half>(uncounted.mean.view(), exec);
    auto const& map = plan.run(reinterpret_cast<std::int32_t const*>(uncounted.coordinates->data()),
                               features.data(), uncounted.coordinates->row_count(), exec);
    CHECK(
        same_bits(download(map.data(), map.size(), exec), download(expected.data(), expected.size(), exec)));
    plan.check();
    auto const& own = *from_points.run(points, exec).output;
    CHECK(
        same_bits(download(own.data(), own.size(), exec), download(expected.data(), expected.size(), exec)));
    from_points.check();
  }
}
#endif
