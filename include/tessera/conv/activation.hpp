// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/scalar.hpp>

#include <cmath>
#include <cstdint>
#include <type_traits>

namespace tessera {
inline namespace v0 {

/// What an epilogue or an activation layer computes of an element x. NaN stays NaN.
///
/// | activation | value                                                                               |
/// |------------|-------------------------------------------------------------------------------------|
/// | none       | x                                                                                   |
/// | relu       | max(x, 0)                                                                           |
/// | leaky_relu | x above 0, else slope * x                                                           |
/// | silu       | x / (1 + exp(-x))                                                                   |
/// | sigmoid    | 1 / (1 + exp(-x))                                                                   |
/// | tanh       | the hyperbolic tangent                                                              |
/// | gelu       | x * P(X <= x) of a standard normal X: x / 2 * (1 + erf(x / sqrt(2))), as in PyTorch |
enum class Activation : std::uint8_t { none, relu, leaky_relu, silu, sigmoid, tanh, gelu };

/// The name of the function of an activation, e.g. "leaky_relu".
[[nodiscard]] constexpr char const* name_of(Activation activation) noexcept
{
  switch (activation) {
    case Activation::relu: return "relu";
    case Activation::leaky_relu: return "leaky_relu";
    case Activation::silu: return "silu";
    case Activation::sigmoid: return "sigmoid";
    case Activation::tanh: return "tanh";
    case Activation::gelu: return "gelu";
    default: return "none";
  }
}

namespace detail {

/// `x <= 0`, false of NaN. On the host it is asked of the bits: with -ffast-math, g++ makes a maximum of a
/// comparison and a choice, whatever else the choice depends on; nvcc compares as written.
template <class Sum>
[[nodiscard]] TESSERA_HOST_DEVICE bool is_at_most_zero(Sum x)
{
#if defined(__CUDA_ARCH__)
  return x <= Sum{0};
#else
  using Bits = std::conditional_t<sizeof(Sum) == 4, std::uint32_t, std::uint64_t>;
  auto const bits = bit_cast<Bits>(x);
  auto const negative_zero = Bits{1} << (8 * sizeof(Bits) - 1);
  return bits == 0 || bits - negative_zero <= infinity_bits<Sum>;  // 0, or from -0 to minus infinity
#endif
}

/// Whether an epilogue takes the activation: a kernel's code for the others would cost all of its users.
[[nodiscard]] constexpr bool is_fusable(Activation activation) noexcept
{
  return activation <= Activation::sigmoid;
}

/// The activation of `x` where is_fusable(), as the table of Activation has it. Each formula is written once,
/// here and in apply_activation(), for the host and the device, layers and epilogues.
/// @tparam Sum  float or double
template <class Sum>
[[nodiscard]] TESSERA_HOST_DEVICE Sum apply_fusable_activation(Sum x, Activation activation, Sum slope)
{
  using std::exp;
  switch (activation) {
    case Activation::relu:
    case Activation::leaky_relu:
      return is_at_most_zero(x) ? (activation == Activation::relu ? Sum{0} : slope * x) : x;
    case Activation::silu:
    case Activation::sigmoid: return (activation == Activation::silu ? x : Sum{1}) / (Sum{1} + exp(-x));
    default: return x;
  }
}

/// Any activation of `x`.
template <class Sum>
[[nodiscard]] TESSERA_HOST_DEVICE Sum apply_activation(Sum x, Activation activation, Sum slope)
{
  using std::erfc;
  using std::tanh;
  constexpr double half_root = 0.70710678118654752440;  // sqrt(1 / 2)
  switch (activation) {
    case Activation::tanh: return tanh(x);
    // By erfc(), since 1 + erf() cancels where x is negative.
    case Activation::gelu: return Sum{0.5} * x * erfc(-x * static_cast<Sum>(half_root));
    default: return apply_fusable_activation(x, activation, slope);
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
