// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/host_device.hpp>

#include <cstdint>
#include <type_traits>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Elements that move as one: 16 bytes of them, or a single one.
template <class Scalar, int Size>
struct alignas(Size == 1 ? alignof(Scalar) : 16) Pack {
  Scalar values[Size];
};

/// Elements of 16 bytes.
template <class Scalar>
inline constexpr int pack_size = static_cast<int>(16 / sizeof(Scalar));

template <int Size, class Scalar>
[[nodiscard]] TESSERA_HOST_DEVICE Pack<Scalar, Size> load_pack(Scalar const* from)
{
  return *reinterpret_cast<Pack<Scalar, Size> const*>(from);
}
template <int Size, class Scalar>
TESSERA_HOST_DEVICE void store_pack(Scalar* to, Pack<Scalar, Size> const& pack)
{
  *reinterpret_cast<Pack<Scalar, Size>*>(to) = pack;
}

/// Whether elements can move as packs from this one on. What the library allocates begins so; a view of a
/// caller's memory need not.
template <class Scalar>
[[nodiscard]] bool begins_in_packs(Scalar const* elements)
{
  return reinterpret_cast<std::uintptr_t>(elements) % 16 == 0;
}
/// Whether rows of `columns` elements can move as packs, from their first element on.
template <class Scalar>
[[nodiscard]] bool moves_in_packs(Scalar const* rows, std::int64_t columns)
{
  return columns % pack_size<Scalar> == 0 && begins_in_packs(rows);
}

/// Calls `body(size)` with the constant number of elements that can move as one in rows of `columns`.
template <class Scalar, class Body>
void with_pack_size(bool whole_packs, Body const& body)
{
  if (whole_packs) {
    body(std::integral_constant<int, pack_size<Scalar>>{});
  } else {
    body(std::integral_constant<int, 1>{});
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
