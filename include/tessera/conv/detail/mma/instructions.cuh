// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/scalar.cuh>

#include <cuda_runtime_api.h>

#include <cstdint>

// The instructions of the convolution kernels, one function each, with what stands in for them before sm_80.

namespace tessera {
inline namespace v0 {
namespace detail {

[[nodiscard]] __device__ inline float multiply_add(float a, float b, float c)
{
  return __fmaf_rn(a, b, c);
}
[[nodiscard]] __device__ inline double multiply_add(double a, double b, double c)
{
  return __fma_rn(a, b, c);
}

/// `value` rounded to TF32 (10 bits of mantissa), to nearest, halves away from zero.
[[nodiscard]] __device__ inline float round_to_tf32(float value)
{
#if __CUDA_ARCH__ >= 800
  std::uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
  return __uint_as_float(bits);
#else
  auto const bits = __float_as_uint(value);
  bool const finite = (bits & 0x7f800000U) != 0x7f800000U;
  return finite ? __uint_as_float((bits + 0x1000U) & ~0x1fffU) : value;
#endif
}

/// Four consecutive elements, in loads of up to 16 bytes.
template <class Scalar>
struct alignas(sizeof(Scalar) * 4 < 16 ? sizeof(Scalar) * 4 : 16) FourElements {
  Scalar values[4];
};

/// Two consecutive elements, in one load.
template <class Scalar>
struct alignas(sizeof(Scalar) * 2) TwoElements {
  Scalar values[2];
};

// --- copies from global to shared memory -------------------------------------------------------------------

[[nodiscard]] __device__ inline std::uint32_t shared_address(void const* pointer)
{
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

/// Begins to copy 16 bytes, both ends aligned to 16; writes zeros and reads nothing unless `present`.
__device__ inline void begin_copy(void* to, void const* from, bool present)
{
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
               "r"(present ? 16 : 0)
               : "memory");
#else
  auto value = make_uint4(0, 0, 0, 0);
  if (present) { value = *static_cast<uint4 const*>(from); }
  *static_cast<uint4*>(to) = value;
#endif
}

/// Closes a group of copies.
__device__ inline void close_copies()
{
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

/// Waits until at most `Pending` of this thread's groups of copies are under way.
template <int Pending>
__device__ void wait_for_copies()
{
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
#endif
}

// --- tensor cores ------------------------------------------------------------------------------------------

#if __CUDA_ARCH__ >= 800

/// Four 8x8 matrices of 16-bit elements; lane i gives the address of row i % 8 of matrix i / 8.
__device__ inline void load_matrices(std::uint32_t (&fragment)[4], void const* row)
{
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(shared_address(row))
               : "memory");
}

/// The same, each matrix transposed.
__device__ inline void load_matrices_transposed(std::uint32_t (&fragment)[4], void const* row)
{
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(shared_address(row))
               : "memory");
}

/// sums [16, 8] += a [16, 16] * b [16, 8]; `upper` holds rows lane / 4 and `lower` rows lane / 4 + 8.
/// Volatile, so that it is not executed where its result is only selected.
template <class Scalar>
__device__ void multiply_matrices(float (&upper)[2], float (&lower)[2], std::uint32_t const (&a)[4],
                                  std::uint32_t b0, std::uint32_t b1)
{
  if constexpr (std::is_same_v<Scalar, __half>) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(upper[0]), "+f"(upper[1]), "+f"(lower[0]), "+f"(lower[1])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(upper[0]), "+f"(upper[1]), "+f"(lower[0]), "+f"(lower[1])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
}

/// sums [16, 8] += a [16, 8] * b [8, 8] of TF32 operands.
__device__ inline void multiply_matrices_tf32(float (&upper)[2], float (&lower)[2], float const (&a)[4],
                                              float b0, float b1)
{
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(upper[0]), "+f"(upper[1]), "+f"(lower[0]), "+f"(lower[1])
      : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])),
        "r"(__float_as_uint(a[3])), "r"(__float_as_uint(b0)), "r"(__float_as_uint(b1)));
}

#endif

}  // namespace detail
}  // namespace v0
}  // namespace tessera
