// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Adds a layer to the registry before main(); registry_test.cpp builds it.

#include "../support/spaces.hpp"
#include "registered_scaling.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution_kernels.cuh>
#endif
#include <tessera/conv/detail/convolution_host.hpp>

namespace {

[[maybe_unused]] bool const on_host = test::register_scaling<tessera::Host>("ScalingOfAnotherUnit");
#ifdef __CUDACC__
[[maybe_unused]] bool const on_device = test::register_scaling<tessera::Device>("ScalingOfAnotherUnit");
#endif

}  // namespace

TEST_CASE("registry: a layer registered before main is there, beside Tessera's")
{
  auto const& registry = tessera::nn::layer_registry<3, float, tessera::Host>();
  CHECK(registry.contains("ScalingOfAnotherUnit"));
  CHECK(registry.contains("SubMConv3d"));
}
