// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate_set.hpp>
#include <tessera/coords/key_packing.hpp>
#include <tessera/core/detail/sort.hpp>
#include <tessera/core/matrix.hpp>

#include <algorithm>
#include <cstdint>

namespace tessera {
inline namespace v0 {

/// A curve through all cells of a grid, along which neighbours mostly lie close.
enum class SpaceFillingCurve : std::uint8_t {
  z_order,  ///< bits of the axes by turns, those of the first axis first (Morton's order)
  hilbert,  ///< every step goes to an adjacent cell. Source: Skilling, Programming the Hilbert curve, 2004
};

namespace detail {

/// The place of cells of a box on a curve: the batch entry in the highest bits, then `bits` turns of one bit an axis.
template <int Dim>
struct CurveCode {
  SpaceFillingCurve curve;
  CoordinateBox<Dim> box;
  int bits;

  /// @pre  the box contains `c`
  [[nodiscard]] TESSERA_HOST_DEVICE std::uint64_t operator()(Coordinate<Dim> const& c) const
  {
    std::uint32_t x[Dim];
    for (int i = 0; i < Dim; ++i) {
      x[i] = static_cast<std::uint32_t>(c.position[i]) - static_cast<std::uint32_t>(box.lower[i]);
    }
    if (curve == SpaceFillingCurve::hilbert) { unfold(x); }
    auto code = static_cast<std::uint64_t>(c.batch);
    for (int bit = bits - 1; bit >= 0; --bit) {
      for (int i = 0; i < Dim; ++i) { code = code << 1 | (x[i] >> bit & 1U); }
    }
    return code;
  }

 private:
  /// Turns positions into the bits of the Hilbert curve's index: from the largest cubes to the smallest undoes how each
  /// is mirrored and turned against the one around it, then takes Gray's code back.
  TESSERA_HOST_DEVICE void unfold(std::uint32_t* x) const
  {
    for (int level = bits - 1; level > 0; --level) {
      std::uint32_t const half = std::uint32_t{1} << level;
      std::uint32_t const below = half - 1;
      for (int i = 0; i < Dim; ++i) {
        bool const upper = (x[i] & half) != 0;
        std::uint32_t const changed = upper ? below : (x[0] ^ x[i]) & below;
        x[0] ^= changed;
        if (!upper) { x[i] ^= changed; }
      }
    }
    for (int i = 1; i < Dim; ++i) { x[i] ^= x[i - 1]; }
    std::uint32_t flips = 0;
    for (int level = bits - 1; level > 0; --level) {
      std::uint32_t const half = std::uint32_t{1} << level;
      if ((x[Dim - 1] & half) != 0) { flips ^= half - 1; }
    }
    for (int i = 0; i < Dim; ++i) { x[i] ^= flips; }
  }
};

/// codes[i] of row i, all ones of rows that are not in use or lie outside the box.
template <int Dim>
struct WriteCurveCodes {
  CoordinateView<Dim> rows;
  CurveCode<Dim> code;
  std::uint64_t* codes;  // [capacity]
  std::int32_t* order;   // [capacity] the row's number, or null

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    bool const has_code = i < rows.size() && code.box.contains(rows[i]);
    codes[i] = has_code ? code(rows[i]) : ~std::uint64_t{0};
    if (order != nullptr) { order[i] = static_cast<std::int32_t>(i); }
  }
};

template <int Dim, class Space>
[[nodiscard]] CurveCode<Dim> curve_code(CoordinateSet<Dim, Space> const& set, SpaceFillingCurve curve)
{
  int bits = 0;
  for (int i = 0; i < Dim && !set.box().empty(); ++i) {
    bits = std::max(bits, bits_for(set.box().extent(i)));
  }
  int const all = bits_for(std::max(1, set.num_batches())) + Dim * bits;
  expects(all <= 63, "curve_codes: ", Dim, " axes of ", bits, " bits and ", set.num_batches(),
          " batch entries need codes of ", all, " bits; 63 is the most");
  return {curve, set.box(), bits};
}

}  // namespace detail

/// The place of each voxel on a space-filling curve through the smallest cube of 2^bits cells an axis that holds the
/// set's box, from its lower corner, batch entries one after the other.
///
/// @returns [capacity] in `Space`, of the order in memory of the rows; all ones of rows that are not in use
/// @throws invalid_argument  codes of more than 63 bits
/// Cost: one pass.
/// Stream: enqueues one kernel, does not wait.
/// Determinism: same box and voxel, same code.
template <int Dim, class Space>
[[nodiscard]] Buffer<std::uint64_t, Space> curve_codes(CoordinateSet<Dim, Space> const& set,
                                                       SpaceFillingCurve curve, Execution<Space> const& exec)
{
  auto const code = detail::curve_code(set, curve);
  Buffer<std::uint64_t, Space> codes{set.capacity(), exec};
  for_each(set.capacity(), detail::WriteCurveCodes<Dim>{set.view(), code, codes.data(), nullptr}, exec);
  return codes;
}

/// The rows of a set in the order of their curve_codes(); those that are not in use come last.
///
/// @returns [capacity, 1] row numbers in `Space`: entry i is the row that comes i-th
/// @throws invalid_argument  as curve_codes()
/// Cost: one pass and a sort.
/// Stream: enqueues on `exec`, does not wait.
/// Determinism: same input, same bits.
template <int Dim, class Space>
[[nodiscard]] Matrix<std::int32_t, Space> curve_order(CoordinateSet<Dim, Space> const& set,
                                                      SpaceFillingCurve curve, Execution<Space> const& exec)
{
  auto const code = detail::curve_code(set, curve);
  auto const capacity = set.capacity();
  Matrix<std::int32_t, Space> order{capacity, 1, exec};
  if (capacity == 0) { return order; }
  Buffer<std::uint64_t, Space> codes{capacity, exec};
  Buffer<std::uint64_t, Space> sorted{capacity, exec};
  Buffer<std::int32_t, Space> rows{capacity, exec};
  for_each(capacity, detail::WriteCurveCodes<Dim>{set.view(), code, codes.data(), rows.data()}, exec);
  detail::Sort<Space>::pairs(codes.data(), rows.data(), sorted.data(), order.data(), capacity, 64, exec);
  return order;
}

}  // namespace v0
}  // namespace tessera
