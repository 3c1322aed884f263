// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/scalar.hpp>

namespace tessera {
inline namespace v0 {
namespace detail {

/// How a scalar becomes what sums are kept in, exactly, and a sum the scalar, rounded to nearest even. Those
/// of `__half` and `__nv_bfloat16` are in core/scalar.cuh.
template <class Scalar>
struct ScalarConversion {
  using Sum = accumulator_t<Scalar>;

  [[nodiscard]] TESSERA_HOST_DEVICE static Sum widen(Scalar value) { return static_cast<Sum>(value); }
  [[nodiscard]] TESSERA_HOST_DEVICE static Scalar narrow(Sum value) { return static_cast<Scalar>(value); }
};

template <class Scalar>
[[nodiscard]] TESSERA_HOST_DEVICE accumulator_t<Scalar> widen(Scalar value)
{
  return ScalarConversion<Scalar>::widen(value);
}

template <class Scalar>
[[nodiscard]] TESSERA_HOST_DEVICE Scalar narrow(accumulator_t<Scalar> value)
{
  return ScalarConversion<Scalar>::narrow(value);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
