// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/core/host_device.hpp>

#include <array>
#include <initializer_list>
#include <type_traits>

namespace tessera {
inline namespace v0 {

/// `N` integers, one for each axis: sizes, strides, offsets. Usable in kernels, where std::array is not.
///
/// Converts from one integer (the same for every axis) and from a braced list of `N` or one.
template <int N>
struct IntArray {
  static_assert(N >= 1, "IntArray: N must be at least 1");

  IntArray() = default;

  TESSERA_HOST_DEVICE constexpr IntArray(int all)  // NOLINT(google-explicit-constructor): `.stride(2)`
  {
    for (int i = 0; i < N; ++i) { values[i] = all; }
  }

  /// @throws invalid_argument  the list has neither one nor N entries
  IntArray(std::initializer_list<int> list)
  {
    detail::expects(list.size() == 1 || list.size() == N, "expected 1 or ", N,
                    " numbers, one for each axis, but got ", list.size(), ": ", detail::list(list));
    for (int i = 0; i < N; ++i) { values[i] = list.begin()[list.size() == 1 ? 0 : i]; }
  }

  IntArray(std::array<int, N> const& from)  // NOLINT(google-explicit-constructor)
  {
    for (int i = 0; i < N; ++i) { values[i] = from[static_cast<std::size_t>(i)]; }
  }

  [[nodiscard]] TESSERA_HOST_DEVICE constexpr int& operator[](int axis) { return values[axis]; }
  [[nodiscard]] TESSERA_HOST_DEVICE constexpr int operator[](int axis) const { return values[axis]; }

  [[nodiscard]] TESSERA_HOST_DEVICE constexpr int const* begin() const { return values; }
  [[nodiscard]] TESSERA_HOST_DEVICE constexpr int const* end() const { return values + N; }

  [[nodiscard]] TESSERA_HOST_DEVICE friend constexpr bool operator==(IntArray const& a, IntArray const& b)
  {
    for (int i = 0; i < N; ++i) {
      if (a.values[i] != b.values[i]) { return false; }
    }
    return true;
  }
  [[nodiscard]] TESSERA_HOST_DEVICE friend constexpr bool operator!=(IntArray const& a, IntArray const& b)
  {
    return !(a == b);
  }

  int values[N] = {};
};

/// Whether every axis holds `value`.
template <int N>
[[nodiscard]] TESSERA_HOST_DEVICE constexpr bool all_equal(IntArray<N> const& array, int value)
{
  return array == IntArray<N>(value);
}

/// The smallest entry.
template <int N>
[[nodiscard]] TESSERA_HOST_DEVICE constexpr int min_element(IntArray<N> const& array)
{
  int least = array[0];
  for (int i = 1; i < N; ++i) { least = array[i] < least ? array[i] : least; }
  return least;
}

/// The largest entry.
template <int N>
[[nodiscard]] TESSERA_HOST_DEVICE constexpr int max_element(IntArray<N> const& array)
{
  int most = array[0];
  for (int i = 1; i < N; ++i) { most = array[i] > most ? array[i] : most; }
  return most;
}

/// The entries multiplied; where that does not fit, the largest or the smallest int.
template <int N>
[[nodiscard]] TESSERA_HOST_DEVICE constexpr int product(IntArray<N> const& array)
{
  constexpr long long most = 0x7fffffff;
  long long result = 1;
  for (int i = 0; i < N; ++i) {
    result *= array[i];
    result = result > most ? most : result < -most ? -most : result;
  }
  return static_cast<int>(result);
}

namespace detail {

/// a / b for b > 0. Strides and sizes are mostly 1, 2 or 3, and dividing by a constant costs a GPU a tenth.
[[nodiscard]] TESSERA_HOST_DEVICE constexpr int divide(int a, int b)
{
  switch (b) {
    case 1: return a;
    case 2: return a / 2;
    case 3: return a / 3;
    default: return a / b;
  }
}

/// The same for numbers of items a >= 0: in 32 bits where they fit, which costs a GPU a fifth.
[[nodiscard]] TESSERA_HOST_DEVICE constexpr long long divide(long long a, int b)
{
  return a <= 0x7fffffff ? static_cast<long long>(static_cast<unsigned>(a) / static_cast<unsigned>(b))
                         : a / b;
}

/// floor(a / b) for b > 0, also for negative a.
[[nodiscard]] TESSERA_HOST_DEVICE constexpr int floor_div(int a, int b)
{
  int const quotient = divide(a, b);
  return quotient * b > a ? quotient - 1 : quotient;
}

/// ceil(a / b) for b > 0, also for negative a.
[[nodiscard]] TESSERA_HOST_DEVICE constexpr int ceil_div(int a, int b)
{
  int const quotient = divide(a, b);
  return quotient * b < a ? quotient + 1 : quotient;
}

/// ceil(a / b) for counts of any integer types: a >= 0, b > 0.
template <class A, class B>
[[nodiscard]] TESSERA_HOST_DEVICE constexpr std::common_type_t<A, B> ceil_div(A a, B b)
{
  using Count = std::common_type_t<A, B>;
  return (static_cast<Count>(a) + static_cast<Count>(b) - 1) / static_cast<Count>(b);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
