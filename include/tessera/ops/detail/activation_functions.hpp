// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/arguments.hpp>
#include <tessera/core/host_device.hpp>

#include <cmath>
#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

// What an activation computes of an element `x[0]`, for map_elements(). `name` begins the sentence of an
// error; `activation` is its name in an Epilogue, `none` where a convolution cannot take it along.

/// `slope * x` below 0, x from there on; NaN stays NaN.
template <class Sum>
struct LeakyReluFunction {
  static constexpr char const* name = "leaky_relu";
  static constexpr Activation activation = Activation::leaky_relu;

  Sum slope;

  TESSERA_HOST_DEVICE Sum operator()(Sum const* x, std::int64_t) const
  {
    return x[0] <= Sum{0} ? slope * x[0] : x[0];
  }
};

template <class Sum>
struct ReluFunction {
  static constexpr char const* name = "relu";
  static constexpr Activation activation = Activation::relu;

  TESSERA_HOST_DEVICE Sum operator()(Sum const* x, std::int64_t) const { return positive_or_nan(x[0]); }
};

template <class Sum>
struct SiluFunction {
  static constexpr char const* name = "silu";
  static constexpr Activation activation = Activation::silu;

  TESSERA_HOST_DEVICE Sum operator()(Sum const* x, std::int64_t) const
  {
    using std::exp;
    return x[0] / (Sum{1} + exp(-x[0]));
  }
};

template <class Sum>
struct SigmoidFunction {
  static constexpr char const* name = "sigmoid";
  static constexpr Activation activation = Activation::none;

  TESSERA_HOST_DEVICE Sum operator()(Sum const* x, std::int64_t) const
  {
    using std::exp;
    return Sum{1} / (Sum{1} + exp(-x[0]));
  }
};

template <class Sum>
struct TanhFunction {
  static constexpr char const* name = "tanh";
  static constexpr Activation activation = Activation::none;

  TESSERA_HOST_DEVICE Sum operator()(Sum const* x, std::int64_t) const
  {
    using std::tanh;
    return tanh(x[0]);
  }
};

/// `x * P(X <= x)` of a standard normal X. By erfc(), since 1 + erf() cancels where x is negative.
template <class Sum>
struct GeluFunction {
  static constexpr char const* name = "gelu";
  static constexpr Activation activation = Activation::none;

  TESSERA_HOST_DEVICE Sum operator()(Sum const* x, std::int64_t) const
  {
    using std::erfc;
    constexpr double half_root = 0.70710678118654752440;  // sqrt(1 / 2)
    return Sum{0.5} * x[0] * erfc(-x[0] * static_cast<Sum>(half_root));
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
