// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {

/// Packs the coordinates of one box into integers: `key = batch | x - lower_x | y - lower_y | ...`, each
/// field as wide as the box needs, batch in the highest bits. So keys compare as coordinates do,
/// lexicographically.
///
/// `Key` is std::uint32_t for boxes of up to 31 bits and std::uint64_t for up to 63; the largest key is never
/// used and marks an empty slot.
template <int Dim, class Key>
struct KeyPacking {
  using KeyType = Key;

  CoordinateBox<Dim> box;
  int bits[Dim] = {};

  [[nodiscard]] TESSERA_HOST_DEVICE bool contains(Coordinate<Dim> const& c) const { return box.contains(c); }

  /// @pre contains(c)
  [[nodiscard]] TESSERA_HOST_DEVICE Key pack(Coordinate<Dim> const& c) const
  {
    auto key = static_cast<Key>(c.batch);
    for (int i = 0; i < Dim; ++i) {
      key = static_cast<Key>(key << bits[i]) | static_cast<Key>(static_cast<std::uint32_t>(c.position[i]) -
                                                                static_cast<std::uint32_t>(box.lower[i]));
    }
    return key;
  }

  [[nodiscard]] TESSERA_HOST_DEVICE Coordinate<Dim> unpack(Key key) const
  {
    Coordinate<Dim> c;
    for (int i = Dim - 1; i >= 0; --i) {
      auto const field = static_cast<std::uint32_t>(key & ((Key{1} << bits[i]) - 1));
      c.position[i] = static_cast<int>(field + static_cast<std::uint32_t>(box.lower[i]));
      key = static_cast<Key>(key >> bits[i]);
    }
    c.batch = static_cast<int>(key);
    return c;
  }
};

namespace detail {

/// Bits that hold the values [0, count).
[[nodiscard]] inline int bits_for(std::int64_t count)
{
  int bits = 0;
  while (bits < 63 && (std::int64_t{1} << bits) < count) { ++bits; }
  return bits;
}

/// Bits of a key for the coordinates of `box`.
template <int Dim>
[[nodiscard]] int key_bits(CoordinateBox<Dim> const& box)
{
  int bits = bits_for(box.batches);
  for (int i = 0; i < Dim; ++i) { bits += bits_for(box.extent(i)); }
  return bits;
}

template <class Key, int Dim>
[[nodiscard]] KeyPacking<Dim, Key> make_packing(CoordinateBox<Dim> const& box)
{
  KeyPacking<Dim, Key> packing;
  packing.box = box;
  for (int i = 0; i < Dim; ++i) { packing.bits[i] = bits_for(box.extent(i)); }
  return packing;
}

/// Calls `body(packing)` with the narrowest key that holds `box`.
/// @throws invalid_argument  64 bits do not suffice; the sentence lists the bits of every axis
template <int Dim, class Body>
decltype(auto) with_packing(CoordinateBox<Dim> const& box, Body&& body)
{
  int const bits = key_bits(box);
  if (bits > 63) {
    std::string axes = concat(bits_for(box.batches), " for the batch");
    for (int i = 0; i < Dim; ++i) {
      axes += concat(", ", bits_for(box.extent(i)), " for axis ", i, " (", box.lower[i], " to ", box.upper[i],
                     ")");
    }
    fail("coordinates: a key of ", bits, " bits is needed but 63 is the most: ", axes);
  }
  if (bits <= 31) { return body(make_packing<std::uint32_t>(box)); }
  return body(make_packing<std::uint64_t>(box));
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
