// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#ifdef __CUDACC__

#include "plan_cases.hpp"

#include <tessera/conv/convolution.cuh>
#include <tessera/models/spvcnn.hpp>
#include <tessera/plan/forward_voxels.hpp>
#include <tessera/tensor/labels.hpp>

using namespace tessera;

TEST_CASE("Plan: a network of points and voxels on the device gives the bits of its layers one by one")
{
  if (test::skipped<Device>()) { return; }
  plan_cases::Stream const stream;
  Execution const exec{stream.handle};
  models::SPVCNN<3, float> network{SPVCNNOptions(4, 5).width(0.25).seed(3), exec};
  auto const limits = PlanLimits().max_voxels(3000).grid(SpatialRange<3>{1, {64, 64, 32}});
  Plan plan{forward_voxels(network), limits, exec};
  CoordinateSetOptions<3> options;
  options.spatial_range = SpatialRange<3>{1, {64, 64, 32}};
  for (unsigned seed = 1; seed <= 3; ++seed) {
    CAPTURE(seed);
    auto const x = plan_cases::tensor_of<float>(plan_cases::random_surface(seed, 40), 4, options, exec);
    auto const expected = network.forward(x, exec).features_on_host(exec);
    auto const found = plan.run(x, exec);
    plan.check();
    CHECK(plan_cases::same_bits(found.features_on_host(exec), expected));
  }
}

#endif
