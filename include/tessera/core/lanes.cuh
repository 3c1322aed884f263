// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

namespace tessera {
inline namespace v0 {
namespace detail {

/// The calling thread's place in its warp, in a block of one dimension.
[[nodiscard]] __device__ inline int lane_id()
{
  return static_cast<int>(threadIdx.x) % 32;
}

/// Its warp's place in the block.
[[nodiscard]] __device__ inline int warp_id()
{
  return static_cast<int>(threadIdx.x) / 32;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
