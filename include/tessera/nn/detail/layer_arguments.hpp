// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/execution.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/core/space.hpp>

#include <type_traits>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Refuses to make a layer of a space whose headers are not included, which is the device.
template <class Space, class = void>
struct HeadersOf {
  static constexpr bool are_included = false;
  static_assert(
      !std::is_same_v<Space, Device>,
      "layer of the device: include <tessera/conv/convolution.cuh> or <tessera/tessera.cuh> and compile "
      "with nvcc, or make the layer of Host");
};
template <class Space>
struct HeadersOf<Space, std::void_t<decltype(sizeof(Execution<Space>))>> {
  static constexpr bool are_included = true;
};

// A namespace of its own: as a base class it makes the functions of its namespace candidates for calls with a
// layer.
namespace layer {

/// An empty base class that refuses wrong template arguments of a layer or network in one sentence, before
/// anything else is made of them.
template <int Dim, class Scalar, class Space>
struct LayerArguments {
  static_assert(Dim >= 1 && Dim <= 6, "layer<Dim, Scalar, Space>: Dim must be 1 to 6");
  static_assert(ScalarTraits<Scalar>::is_feature,
                "layer<Dim, Scalar, Space>: Scalar must be float, double, __half or __nv_bfloat16 (include "
                "tessera/core/scalar.cuh for the last two)");
  static_assert(
      is_space<Space>::value,
      "layer<Dim, Scalar, Space>: Space must be Host or Device; the policy of a Conv comes after it");

  static constexpr bool are_valid = true;

  template <bool = HeadersOf<Space>::are_included>
  LayerArguments() noexcept
  {}
};

}  // namespace layer

}  // namespace detail
}  // namespace v0
}  // namespace tessera
