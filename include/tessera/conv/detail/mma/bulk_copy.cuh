// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/mma/instructions.cuh>

// Barriers in shared memory and copies that complete on them: instructions of sm_90, one function each.

namespace tessera {
inline namespace v0 {
namespace detail {

/// A barrier that threads arrive at and bulk copies count their bytes on; phases alternate between 0 and 1.
struct SharedBarrier {
  std::uint64_t state;
};

#if __CUDA_ARCH__ >= 900

/// One thread prepares a barrier for `arrivals` per phase; fence_barriers() and a
/// synchronisation with those who use it follow.
__device__ inline void prepare_barrier(SharedBarrier& barrier, int arrivals)
{
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&barrier)), "r"(arrivals)
               : "memory");
}

/// Makes prepared barriers visible to the copy engine.
__device__ inline void fence_barriers()
{
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

__device__ inline void arrive_at(SharedBarrier& barrier)
{
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(&barrier)) : "memory");
}

/// Arrives, and lets the phase end only when `bytes` more have been copied.
__device__ inline void arrive_expecting(SharedBarrier& barrier, std::uint32_t bytes)
{
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(&barrier)),
               "r"(bytes)
               : "memory");
}

/// Waits until the phase of parity `phase` has ended.
__device__ inline void wait_for_phase(SharedBarrier& barrier, std::uint32_t phase)
{
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra again;\n"
      "}\n" ::"r"(shared_address(&barrier)),
      "r"(phase)
      : "memory");
}

/// Begins to copy `bytes`, a multiple of 16, both ends aligned to 16; they are counted on `barrier`.
__device__ inline void begin_bulk_copy(void* to, void const* from, std::uint32_t bytes,
                                       SharedBarrier& barrier)
{
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
          shared_address(to)),
      "l"(from), "r"(bytes), "r"(shared_address(&barrier))
      : "memory");
}

#endif

}  // namespace detail
}  // namespace v0
}  // namespace tessera
