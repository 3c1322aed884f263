// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "golden_encoders.hpp"

using golden_encoders::in_single;

TEST_CASE_TEMPLATE("SparseEncoder: mmdetection3d's SECOND from its checkpoint", Space, TESSERA_TEST_SPACES)
{
  golden_encoders::check_encoder<float, Space>("second_kitti", in_single);
}

TEST_CASE_TEMPLATE("SparseEncoder: mmdetection3d's CenterPoint from its checkpoint", Space,
                   TESSERA_TEST_SPACES)
{
  golden_encoders::check_encoder<float, Space>("centerpoint_nuscenes", in_single);
}

TEST_CASE_TEMPLATE("SparseEncoder: BEVFusion from its checkpoint, and its dense map", Space,
                   TESSERA_TEST_SPACES)
{
  golden_encoders::check_encoder<float, Space>("bevfusion_nuscenes", in_single);
}

TEST_CASE_TEMPLATE("SparseUNet: mmdetection3d's Part-A2 from its checkpoint, features in the input's order",
                   Space, TESSERA_TEST_SPACES)
{
  golden_encoders::check_unet<float, Space>("parta2_kitti", in_single);
}

TEST_CASE_TEMPLATE("MinkUNetBackbone: mmdetection3d's MinkUNet from its checkpoint, in the input's order",
                   Space, TESSERA_TEST_SPACES)
{
  golden_encoders::check_minkunet<float, Space>("minkunet_mmdet3d", in_single);
}

TEST_CASE_TEMPLATE(
    "MinkUNetBackbone: the torchsparse backend gives what TorchSparse gave, from renamed weights", Space,
    TESSERA_TEST_SPACES)
{
  golden_encoders::check_torchsparse_minkunet<float, Space>(in_single);
}
