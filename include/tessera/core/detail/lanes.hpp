// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/host_device.hpp>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The calling thread's place in its warp, in a block of one dimension; on the host, where a thread is a warp
/// of its own, 0.
[[nodiscard]] TESSERA_HOST_DEVICE inline int lane_id()
{
#if defined(__CUDA_ARCH__)
  return static_cast<int>(threadIdx.x) % 32;
#else
  return 0;
#endif
}

/// Its warp's place in the block.
[[nodiscard]] TESSERA_HOST_DEVICE inline int warp_id()
{
#if defined(__CUDA_ARCH__)
  return static_cast<int>(threadIdx.x) / 32;
#else
  return 0;
#endif
}

/// The threads of a warp that run together where this is called, as the bits of a mask.
[[nodiscard]] TESSERA_HOST_DEVICE inline unsigned active_mask()
{
#if defined(__CUDA_ARCH__)
  return __activemask();
#else
  return 1;
#endif
}

/// The lowest lane of a mask, which is not 0.
[[nodiscard]] TESSERA_HOST_DEVICE inline int first_lane([[maybe_unused]] unsigned lanes)
{
#if defined(__CUDA_ARCH__)
  return __ffs(static_cast<int>(lanes)) - 1;
#else
  return 0;
#endif
}

/// The sum of the values of a warp's threads, the same bits in each of them; on the host the value itself. All of
/// a warp must call it.
template <class T>
[[nodiscard]] TESSERA_HOST_DEVICE T sum_over_lanes(T value)
{
#if defined(__CUDA_ARCH__)
  for (int step = 16; step > 0; step /= 2) { value += __shfl_xor_sync(0xffffffffU, value, step); }
#endif
  return value;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
