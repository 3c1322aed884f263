// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

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

}  // namespace v0
}  // namespace tessera
