// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/detail/scalar_conversion.hpp>
#include <tessera/core/scalar.hpp>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace tessera {
inline namespace v0 {

template <>
struct ScalarTraits<__half> {
  static constexpr bool is_feature = true;
  static constexpr DType dtype = DType::float16;
  static constexpr ScalarFamily family = family_of(dtype);
  using Accumulator = float;
};

template <>
struct ScalarTraits<__nv_bfloat16> {
  static constexpr bool is_feature = true;
  static constexpr DType dtype = DType::bfloat16;
  static constexpr ScalarFamily family = family_of(dtype);
  using Accumulator = float;
};

namespace detail {

// Intrinsics rather than casts, which __CUDA_NO_HALF_CONVERSIONS__ of other libraries takes away.
template <>
struct ScalarConversion<__half> {
  [[nodiscard]] TESSERA_HOST_DEVICE static float widen(__half value) { return __half2float(value); }
  [[nodiscard]] TESSERA_HOST_DEVICE static __half narrow(float value) { return __float2half_rn(value); }
};

template <>
struct ScalarConversion<__nv_bfloat16> {
  [[nodiscard]] TESSERA_HOST_DEVICE static float widen(__nv_bfloat16 value)
  {
    return __bfloat162float(value);
  }
  [[nodiscard]] TESSERA_HOST_DEVICE static __nv_bfloat16 narrow(float value)
  {
    return __float2bfloat16_rn(value);
  }
};

}  // namespace detail

}  // namespace v0
}  // namespace tessera
