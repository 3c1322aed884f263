// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../nn/adversarial_norms.hpp"
#include "golden_networks.hpp"

#ifdef __CUDACC__

using golden_networks::check_network;
using golden_networks::check_small_clouds;

namespace {
constexpr golden_networks::Tolerance in_half{1e-2, 0.9999};
}  // namespace

TEST_CASE("networks: half on the device agrees with float on the host on a small cloud")
{
  check_small_clouds<__half, tessera::Device>({2e-2, 0.9998});
}

TEST_CASE("networks: a norm whose shift or weights a half does not hold stays a layer on the device")
{
  if (test::skipped<tessera::Device>()) { return; }
  adversarial_norms::gives_the_bias_of_a_constant_channel<__half, tessera::Device>(512);
  adversarial_norms::gives_the_bias_of_a_constant_channel<__half, tessera::Device>(-20000);
  adversarial_norms::stays_within_its_rounding<__half, tessera::Device>();
}

TEST_CASE("MinkUNet: TorchSparse's logits are reproduced in half on the device")
{
  check_network<__half, tessera::Device>("golden/minkunet_semkitti.safetensors", in_half);
}

TEST_CASE("SparseResNet21D: TorchSparse's stages are reproduced in half on the device")
{
  check_network<__half, tessera::Device>("golden/resnet21d_nuscenes.safetensors", in_half);
}

TEST_CASE("SparseResUNet42: TorchSparse's tensors are reproduced in half on the device")
{
  check_network<__half, tessera::Device>("golden/resunet42_nuscenes.safetensors", in_half);
}

#endif
