// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "golden_networks.hpp"

using golden_networks::check_network;
using golden_networks::check_small_clouds;

namespace {
constexpr golden_networks::Tolerance in_float{1e-4, 0.999999};
}  // namespace

#ifdef __CUDACC__
TEST_CASE("networks: float on the device agrees with the host on a small cloud")
{
  check_small_clouds<float, tessera::Device>(in_float);
}
#endif

TEST_CASE_TEMPLATE("MinkUNet: TorchSparse's logits are reproduced in float", Space, TESSERA_TEST_SPACES)
{
  check_network<float, Space>("golden/minkunet_semkitti.safetensors", in_float);
}

TEST_CASE_TEMPLATE("SparseResNet21D: TorchSparse's stages are reproduced in float", Space,
                   TESSERA_TEST_SPACES)
{
  check_network<float, Space>("golden/resnet21d_nuscenes.safetensors", in_float);
}

TEST_CASE_TEMPLATE("SparseResUNet42: TorchSparse's tensors are reproduced in float", Space,
                   TESSERA_TEST_SPACES)
{
  check_network<float, Space>("golden/resunet42_nuscenes.safetensors", in_float);
}
