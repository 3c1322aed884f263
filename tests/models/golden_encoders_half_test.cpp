// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "golden_encoders.hpp"

#ifdef __CUDACC__

using golden_encoders::in_half;

TEST_CASE("SparseEncoder: mmdetection3d's encoders in half on the device")
{
  for (auto const* name : {"second_kitti", "centerpoint_nuscenes", "bevfusion_nuscenes"}) {
    CAPTURE(name);
    golden_encoders::check_encoder<__half, tessera::Device>(name, in_half);
  }
}

TEST_CASE("SparseUNet: Part-A2 in half on the device")
{
  golden_encoders::check_unet<__half, tessera::Device>("parta2_kitti", in_half);
}

TEST_CASE("MinkUNetBackbone: mmdetection3d's MinkUNet in half on the device")
{
  golden_encoders::check_minkunet<__half, tessera::Device>("minkunet_mmdet3d", in_half);
  golden_encoders::check_torchsparse_minkunet<__half, tessera::Device>(in_half);
}

#endif
