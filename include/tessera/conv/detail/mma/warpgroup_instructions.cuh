// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/mma/bulk_copy.cuh>
#include <tessera/conv/detail/mma/instructions.cuh>

#include <type_traits>

// Products of a warpgroup (four warps) and the instructions around them, of sm_90a, one function each.

namespace tessera {
inline namespace v0 {
namespace detail {

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

/// Registers and shared memory are what the products that follow are to read; `a` is named so that it is
/// written before: were it written after, the compiler would wait for each product.
__device__ inline void begin_products(std::uint32_t (&a)[2][4])
{
  asm volatile("wgmma.fence.sync.aligned;"
               : "+r"(a[0][0]), "+r"(a[0][1]), "+r"(a[0][2]), "+r"(a[0][3]), "+r"(a[1][0]), "+r"(a[1][1]),
                 "+r"(a[1][2]), "+r"(a[1][3])
               :
               : "memory");
}
/// Closes a group of products.
__device__ inline void close_products()
{
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// Waits until at most `Pending` groups of products are under way.
template <int Pending>
__device__ void wait_for_products()
{
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory");
}

/// Describes operand B in shared memory: matrices of 8 columns by 16 bytes of the depth, 128 bytes each; two
/// that follow one another in the depth are adjacent, then come the next 8 columns.
[[nodiscard]] __device__ inline std::uint64_t describe_operand(void const* shared)
{
  constexpr std::uint64_t depth_step = 128 / 16;
  constexpr std::uint64_t column_step = 256 / 16;
  return (shared_address(shared) & 0x3ffffU) / 16 | depth_step << 16 | column_step << 32;
}

// (An asm statement takes its text as one literal and its operands one by one, which no function can write.)

// Eight sums as operands, a lane's share of A and the description of B; and their places in the text.
#define TESSERA_SUMS(i)                                                                      \
  "+f"(sums[i]), "+f"(sums[i + 1]), "+f"(sums[i + 2]), "+f"(sums[i + 3]), "+f"(sums[i + 4]), \
      "+f"(sums[i + 5]), "+f"(sums[i + 6]), "+f"(sums[i + 7])
#define TESSERA_OPERANDS "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b)
#define TESSERA_PLACES_32 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define TESSERA_PLACES_64                    \
  TESSERA_PLACES_32                          \
  ", %16, %17, %18, %19, %20, %21, %22, %23" \
  ", %24, %25, %26, %27, %28, %29, %30, %31"
#define TESSERA_PLACES_96                    \
  TESSERA_PLACES_64                          \
  ", %32, %33, %34, %35, %36, %37, %38, %39" \
  ", %40, %41, %42, %43, %44, %45, %46, %47"
#define TESSERA_PLACES_128                   \
  TESSERA_PLACES_96                          \
  ", %48, %49, %50, %51, %52, %53, %54, %55" \
  ", %56, %57, %58, %59, %60, %61, %62, %63"

// One product: its shape and types, the places of the sums, those of A and B, and what follows `add`.
#define TESSERA_PRODUCT(shape, sum_places, a_and_b, signs, ...)                                  \
  asm volatile(                                                                                  \
      "{\n.reg .pred add;\nsetp.eq.u32 add, 0, 0;\n"                                             \
      "wgmma.mma_async.sync.aligned." shape " {" sum_places "}, " a_and_b ", add, " signs ";\n}" \
      : __VA_ARGS__                                                                              \
      : TESSERA_OPERANDS)
// The product of a number of columns, by the type of A and B.
#define TESSERA_PRODUCT_OF(columns, sum_places, a_and_b, ...)                                         \
  if constexpr (std::is_same_v<Scalar, __half>) {                                                     \
    TESSERA_PRODUCT("m64n" columns "k16.f32.f16.f16", sum_places, a_and_b, "1, 1, 0", __VA_ARGS__);   \
  } else if constexpr (std::is_same_v<Scalar, __nv_bfloat16>) {                                       \
    TESSERA_PRODUCT("m64n" columns "k16.f32.bf16.bf16", sum_places, a_and_b, "1, 1, 0", __VA_ARGS__); \
  } else {                                                                                            \
    TESSERA_PRODUCT("m64n" columns "k8.f32.tf32.tf32", sum_places, a_and_b, "1, 1", __VA_ARGS__);     \
  }

/// sums [64, Columns] += a [64, 32 bytes] * b [32 bytes, Columns], begun and not waited for. Of float, a and
/// b are rounded to TF32 already. Sums and `a` have the layout of mma.m16n8k16, 16 rows per warp.
template <class Scalar, int Columns>
__device__ void begin_product(float (&sums)[Columns / 2], std::uint32_t const (&a)[4], std::uint64_t b)
{
  static_assert(Columns == 32 || Columns == 64 || Columns == 96 || Columns == 128,
                "begin_product: 32, 64, 96 or 128 columns");
  if constexpr (Columns == 32) {
    TESSERA_PRODUCT_OF("32", TESSERA_PLACES_32, "{%16, %17, %18, %19}, %20", TESSERA_SUMS(0),
                       TESSERA_SUMS(8));
  } else if constexpr (Columns == 64) {
    TESSERA_PRODUCT_OF("64", TESSERA_PLACES_64, "{%32, %33, %34, %35}, %36", TESSERA_SUMS(0), TESSERA_SUMS(8),
                       TESSERA_SUMS(16), TESSERA_SUMS(24));
  } else if constexpr (Columns == 96) {
    TESSERA_PRODUCT_OF("96", TESSERA_PLACES_96, "{%48, %49, %50, %51}, %52", TESSERA_SUMS(0), TESSERA_SUMS(8),
                       TESSERA_SUMS(16), TESSERA_SUMS(24), TESSERA_SUMS(32), TESSERA_SUMS(40));
  } else if constexpr (Columns == 128) {
    TESSERA_PRODUCT_OF("128", TESSERA_PLACES_128, "{%64, %65, %66, %67}, %68", TESSERA_SUMS(0),
                       TESSERA_SUMS(8), TESSERA_SUMS(16), TESSERA_SUMS(24), TESSERA_SUMS(32),
                       TESSERA_SUMS(40), TESSERA_SUMS(48), TESSERA_SUMS(56));
  }
}

#undef TESSERA_PRODUCT_OF
#undef TESSERA_PRODUCT
#undef TESSERA_PLACES_128
#undef TESSERA_PLACES_96
#undef TESSERA_PLACES_64
#undef TESSERA_PLACES_32
#undef TESSERA_SUMS
#undef TESSERA_OPERANDS

// --- clusters of blocks ------------------------------------------------------------------------------------

/// Which block of its cluster this is.
[[nodiscard]] __device__ inline unsigned cluster_rank()
{
  unsigned rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}

/// Arrives at the cluster's barrier; orders no memory.
__device__ inline void arrive_in_cluster()
{
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
}

/// Waits until all threads of the cluster that have not ended have arrived.
__device__ inline void wait_for_cluster()
{
  asm volatile("barrier.cluster.wait.aligned;" ::: "memory");
}

/// Begins to write 16 bytes into the shared memory of block `rank` of the cluster, at the place that `to` is
/// in this block's; they are counted on the barrier at that block's place of `barrier`.
__device__ inline void store_in_block(void* to, SharedBarrier const& barrier, unsigned rank, float a, float b,
                                      float c, float d)
{
  asm volatile(
      "{\n"
      ".reg .u32 there;\n"
      ".reg .u32 counts;\n"
      "mapa.shared::cluster.u32 there, %0, %2;\n"
      "mapa.shared::cluster.u32 counts, %1, %2;\n"
      "st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [there], {%3, %4, %5, %6}, [counts];\n"
      "}\n" ::"r"(shared_address(to)),
      "r"(shared_address(&barrier)), "r"(rank), "f"(a), "f"(b), "f"(c), "f"(d)
      : "memory");
}

// --- registers between warpgroups --------------------------------------------------------------------------

/// The calling warpgroup has `Count` registers per thread from here on: fewer than before, or more.
template <int Count>
__device__ void give_registers()
{
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Count));
}
template <int Count>
__device__ void take_registers()
{
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Count));
}

#endif

}  // namespace detail
}  // namespace v0
}  // namespace tessera
