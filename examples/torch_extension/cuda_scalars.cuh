// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "arguments.hpp"
#include "torch_memory.cuh"

namespace tessera_torch {

template <>
struct Scalars<ts::Device> {
  template <class F>
  static decltype(auto) visit(Tensor const& features, char const* who, F const& f)
  {
    using torch::headeronly::ScalarType;
    switch (features.scalar_type()) {
      case ScalarType::Float: return f(Type<float>{});
      case ScalarType::Half: return f(Type<__half>{});
      case ScalarType::BFloat16: return f(Type<__nv_bfloat16>{});
      default:
        fail(who, ": features of type ", name_of_dtype(features),
             "; on a GPU there are float32, float16 and bfloat16");
    }
  }
};

}  // namespace tessera_torch
