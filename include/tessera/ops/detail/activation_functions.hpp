// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/activation.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The activation of an element `x[0]`, for map_elements(); conv/activation.hpp has the formulas.
template <class Sum, Activation Which>
struct ActivationFunction {
  /// Begins the sentence of an error.
  static constexpr char const* name = name_of(Which);
  /// Its name in an Epilogue; `none` where a convolution cannot take it along.
  static constexpr Activation activation = is_fusable(Which) ? Which : Activation::none;

  Sum slope = 0;  ///< of leaky_relu

  TESSERA_HOST_DEVICE Sum operator()(Sum const* x, std::int64_t) const
  {
    return apply_activation(x[0], Which, slope);
  }
};

template <class Sum>
using ReluFunction = ActivationFunction<Sum, Activation::relu>;
template <class Sum>
using LeakyReluFunction = ActivationFunction<Sum, Activation::leaky_relu>;
template <class Sum>
using SiluFunction = ActivationFunction<Sum, Activation::silu>;
template <class Sum>
using SigmoidFunction = ActivationFunction<Sum, Activation::sigmoid>;
template <class Sum>
using TanhFunction = ActivationFunction<Sum, Activation::tanh>;
template <class Sum>
using GeluFunction = ActivationFunction<Sum, Activation::gelu>;

}  // namespace detail
}  // namespace v0
}  // namespace tessera
