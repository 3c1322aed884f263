// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Plans of traced models.

#include "../support/device.hpp"

// Plans are CUDA graphs; a build without CUDA has none.
#ifdef __CUDACC__
#include "plan_cases.hpp"

#include <tessera/conv/convolution.cuh>
#include <tessera/core/scalar.cuh>
#include <tessera/models/minkunet.hpp>
#include <tessera/nn/fuse.hpp>
#include <tessera/plan/plan.cuh>

#include <doctest/doctest.h>

using namespace tessera;
using namespace plan_cases;

TEST_CASE_TEMPLATE("Plan: of a traced model gives its bits, fused or not, and raises the output's version",
                   Space, Device)
{
  if (test::skipped<Space>()) { return; }
  Stream const stream;
  Execution<Device> const exec{stream.handle};
  models::MinkUNet<3, __half> net{models::MinkUNetOptions(4, 5).width(0.5), exec};
  auto const sample = tensor_of<__half>(random_surface(1, 12), 4, {}, exec);
  auto traced = nn::trace(net, sample, exec);
  for (bool const fused : {false, true}) {
    CAPTURE(fused);
    if (fused) { nn::fuse(traced, exec); }
    Plan plan{traced, PlanLimits().max_voxels(3000), exec};
    for (unsigned seed : {2U, 3U}) {
      auto const x = tensor_of<__half>(random_surface(seed, 40), 4, {}, exec);
      auto const expected = traced.forward(x, exec).features_on_host(exec);
      auto const before = plan.output().version();
      CHECK(same_bits(plan.run(x, exec).features_on_host(exec), expected));
      CHECK(plan.output().version() == before + 1);
      if (!fused) { CHECK(same_bits(net.forward(x, exec).features_on_host(exec), expected)); }
    }
    plan.check();
  }
}

#endif
