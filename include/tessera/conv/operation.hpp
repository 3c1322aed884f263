// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <cstdint>

namespace tessera {
inline namespace v0 {

/// What is computed of a convolution `y[o] = sum over k of x[map(o, k)] * weight[k]`.
///
/// | operation       | result                                                                         |
/// |-----------------|--------------------------------------------------------------------------------|
/// | forward         | y                                                                              |
/// | backward_data   | dx[i] = sum over k of dy[o] * transposed(weight[k]) where map(o, k) = i        |
/// | backward_weight | dweight[k] = sum over o of transposed(x[map(o, k)]) * dy[o], where map(o, k) is a row |
enum class Operation : std::uint8_t { forward, backward_data, backward_weight };

[[nodiscard]] constexpr char const* name_of(Operation operation) noexcept
{
  switch (operation) {
    case Operation::backward_data: return "backward_data";
    case Operation::backward_weight: return "backward_weight";
    default: return "forward";
  }
}

}  // namespace v0
}  // namespace tessera
