// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/activation.hpp>

#include <cmath>
#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The activation of an element `x[0]`, for map_elements(); conv/activation.hpp has the formulas.
template <class Sum, Activation Which>
struct ActivationFunction {
  /// Begins the sentence of an error.
  static constexpr char const* name = name_of(Which);
  static constexpr Activation which = Which;
  /// Its name in an Epilogue; `none` where a convolution cannot take it along.
  static constexpr Activation activation = is_fusable(Which) ? Which : Activation::none;

  Sum slope = 0;  ///< of leaky_relu

  TESSERA_HOST_DEVICE Sum operator()(Sum const* x, std::int64_t) const
  {
    return apply_activation(x[0], Which, slope);
  }
};

/// Whether the derivative of an activation follows from its output as well as from its input, so that the input
/// need not be kept.
[[nodiscard]] constexpr bool gradient_reads_output(Activation activation, float slope) noexcept
{
  switch (activation) {
    case Activation::leaky_relu: return slope >= 0;
    case Activation::silu:
    case Activation::gelu: return false;
    default: return true;
  }
}

/// The derivative of an activation.
/// @param value  its output where gradient_reads_output(), else its input
template <class Sum>
[[nodiscard]] TESSERA_HOST_DEVICE Sum activation_derivative(Sum value, Activation activation, Sum slope)
{
  using std::erfc;
  using std::exp;
  constexpr double half_root = 0.70710678118654752440;     // sqrt(1 / 2)
  constexpr double peak_density = 0.39894228040143267794;  // 1 / sqrt(2 pi)
  switch (activation) {
    case Activation::relu: return is_at_most_zero(value) ? Sum{0} : Sum{1};
    case Activation::leaky_relu: return is_at_most_zero(value) ? slope : Sum{1};
    case Activation::silu: {
      auto const sigmoid = apply_fusable_activation(value, Activation::sigmoid, slope);
      return sigmoid * (Sum{1} + value * (Sum{1} - sigmoid));
    }
    case Activation::sigmoid: return value * (Sum{1} - value);
    case Activation::tanh: return Sum{1} - value * value;
    case Activation::gelu:
      return Sum{0.5} * erfc(-value * static_cast<Sum>(half_root)) +
             value * static_cast<Sum>(peak_density) * exp(Sum{-0.5} * value * value);
    default: return Sum{1};
  }
}

/// dx = dy * derivative, of {dy, input or output}, for map_elements().
template <class Sum>
struct ActivationGradientFunction {
  Activation activation;
  float slope;

  TESSERA_HOST_DEVICE Sum operator()(Sum const* x, std::int64_t) const
  {
    return x[0] * activation_derivative(x[1], activation, static_cast<Sum>(slope));
  }
};

/// The same of {dy, a, b}, where the activation was of a + b.
template <class Sum>
struct SumActivationGradientFunction {
  Activation activation;
  float slope;

  TESSERA_HOST_DEVICE Sum operator()(Sum const* x, std::int64_t) const
  {
    return x[0] * activation_derivative(x[1] + x[2], activation, static_cast<Sum>(slope));
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
