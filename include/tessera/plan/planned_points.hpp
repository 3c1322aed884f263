// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <cstdint>

namespace tessera {
inline namespace v0 {

/// What a run of a plan that takes points put out, in the plan's memory and on the device.
template <class Output>
struct PlannedPoints {
  Output const* output = nullptr;         ///< of the network: logits of the voxels or points, or a map
  std::int32_t const* labels = nullptr;   ///< [PlanLimits::points()] class, -1 for points in no voxel; null
                                          ///< where the output is not on the input's voxels or points
  std::int32_t const* inverse = nullptr;  ///< [PlanLimits::points()] row of the point's voxel, or -1; null
                                          ///< for hard voxels where labels are, and where the model voxelizes
};

}  // namespace v0
}  // namespace tessera
