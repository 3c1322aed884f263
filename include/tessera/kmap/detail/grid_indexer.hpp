// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/key_packing.hpp>

#include <algorithm>
#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The number of cells of `box`, or `most` where there are more: their product may exceed 64 bits.
/// @pre  box is not empty
template <int Dim>
[[nodiscard]] std::int64_t num_cells(CoordinateBox<Dim> const& box, std::int64_t most)
{
  auto cells = std::min<std::int64_t>(box.batches, most);
  for (int i = 0; i < Dim; ++i) {
    if (cells > most / box.extent(i)) { return most; }
    cells *= box.extent(i);
  }
  return cells;
}

/// Divides numbers below 2^31 by a multiplication, for which a GPU needs a few instructions instead of some
/// twenty. Source: Granlund and Montgomery, Division by invariant integers using multiplication, 1994.
class FastDivisor {
 public:
  FastDivisor() = default;
  /// @pre  value is in [1, 2^31)
  explicit FastDivisor(std::uint32_t value) : shift_{31 + bits_for(value)}
  {
    factor_ = static_cast<std::uint32_t>(((std::uint64_t{1} << shift_) - 1) / value + 1);  // below 2^32
  }

  [[nodiscard]] TESSERA_HOST_DEVICE std::uint32_t divide(std::uint32_t number) const
  {
    return static_cast<std::uint32_t>(std::uint64_t{number} * factor_ >> shift_);
  }

 private:
  std::uint32_t factor_ = 0;  // 2^shift / value, rounded up
  int shift_ = 0;
};

/// Numbers the cells of a box from 0 without gaps: `number = ((batch * extent_0 + x - lower_0) * extent_1 + y
/// - lower_1) * extent_2 + ...`. So numbers compare as coordinates do, lexicographically; KeyPacking's keys
/// do too and are made without multiplying, but are up to 2^(Dim + 1) times as many.
template <int Dim>
struct GridIndexer {
  IntArray<Dim> lower;
  std::uint32_t extents[Dim];
  FastDivisor divisors[Dim];  // by the extents

  /// @pre  the box contains `c`
  [[nodiscard]] TESSERA_HOST_DEVICE std::uint32_t pack(Coordinate<Dim> const& c) const
  {
    auto number = static_cast<std::uint32_t>(c.batch);
    for (int i = 0; i < Dim; ++i) {
      number = number * extents[i] + static_cast<std::uint32_t>(c.position[i]) -
               static_cast<std::uint32_t>(lower[i]);
    }
    return number;
  }

  [[nodiscard]] TESSERA_HOST_DEVICE Coordinate<Dim> unpack(std::uint32_t number) const
  {
    Coordinate<Dim> c;
    for (int i = Dim - 1; i >= 0; --i) {
      auto const rest = divisors[i].divide(number);
      c.position[i] = static_cast<int>(number - rest * extents[i] + static_cast<std::uint32_t>(lower[i]));
      number = rest;
    }
    c.batch = static_cast<int>(number);
    return c;
  }
};

/// @pre  num_cells() of `box` is below 2^31
template <int Dim>
[[nodiscard]] GridIndexer<Dim> make_grid_indexer(CoordinateBox<Dim> const& box)
{
  GridIndexer<Dim> indexer{box.lower, {}, {}};
  for (int i = 0; i < Dim; ++i) {
    indexer.extents[i] = static_cast<std::uint32_t>(box.extent(i));
    indexer.divisors[i] = FastDivisor{indexer.extents[i]};
  }
  return indexer;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
