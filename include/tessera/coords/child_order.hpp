// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/int_array.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {

/// How the 2^Dim children `2 parent + bits` of a voxel are numbered.
enum class ChildOrder : std::uint8_t {
  last_axis_fastest,   ///< `number = bits[0] 2^(Dim - 1) + ... + bits[Dim - 1]`, as kernel offsets are
  first_axis_fastest,  ///< `number = bits[0] + 2 bits[1] + 4 bits[2] + ...`, that of TRELLIS.2 and FlexGEMM
};

namespace detail {

template <int Dim>
inline constexpr int num_children = 1 << Dim;

/// The place of child `number` relative to twice its parent: 0 or 1 on each axis.
template <int Dim>
[[nodiscard]] TESSERA_HOST_DEVICE constexpr IntArray<Dim> child_bits(int number, ChildOrder order)
{
  IntArray<Dim> bits;
  for (int i = 0; i < Dim; ++i) {
    int const place = order == ChildOrder::first_axis_fastest ? i : Dim - 1 - i;
    bits[i] = number >> place & 1;
  }
  return bits;
}

/// The number under `order` of the child that has number `k` with the last axis fastest, and the reverse.
template <int Dim>
[[nodiscard]] TESSERA_HOST_DEVICE constexpr int reordered_child(int k, ChildOrder order)
{
  if (order == ChildOrder::last_axis_fastest) { return k; }
  int result = 0;
  for (int i = 0; i < Dim; ++i) { result |= (k >> i & 1) << (Dim - 1 - i); }
  return result;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
