// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/core/variable.hpp>

#include <type_traits>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// What a checkpoint does with the tape that it differentiates its block by.
struct TapeAccess {
  template <class Tape>
  [[nodiscard]] static auto& store(Tape& tape) noexcept
  {
    return tape.store_;
  }
};

// What a tape asks of models and parameters, whose stage comes later.

/// Whether T is a model: it has `writable_parameters()`.
template <class T, class = void>
struct has_writable_parameters : std::false_type {};
template <class T>
struct has_writable_parameters<T, std::void_t<decltype(std::declval<T&>().writable_parameters())>>
    : std::true_type {};

/// Whether T is a parameter: values with a gradient and a count of writes.
template <class T, class = void>
struct is_parameter : std::false_type {};
template <class T>
struct is_parameter<
    T, std::void_t<decltype(std::declval<T&>().version_counter(), std::declval<T const&>().grad())>>
    : std::true_type {};

/// Calls `use(parameter, identity)` with the parameter as its type. `identity` is TypeIdentity<Scalar> where
/// it is in Scalar, and TypeIdentity<void> where it is in the accumulator, so that no convolution has it as
/// its weight.
/// @throws invalid_argument  it is in neither
template <class Scalar, class Space, class Writable, class Use>
void with_typed(Writable& parameter, Use const& use)
{
  using Sum = accumulator_t<Scalar>;
  if (parameter.dtype == ScalarTraits<Scalar>::dtype) {
    return use(parameter.template as<Scalar, Space>(), TypeIdentity<Scalar>{});
  }
  expects(parameter.dtype == ScalarTraits<Sum>::dtype, "Tape: parameter \"", parameter.name, "\" holds ",
          name_of(parameter.dtype), ", which is neither ", name_of(ScalarTraits<Scalar>::dtype),
          " nor its accumulator");
  use(parameter.template as<Sum, Space>(), TypeIdentity<void>{});
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
