// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "golden_networks.hpp"

using golden_networks::check_network;

namespace {
constexpr golden_networks::Tolerance in_float{1e-4, 0.999999};
}  // namespace

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
