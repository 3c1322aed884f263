// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/detail/locate_points.hpp>
#include <tessera/core/parallel.hpp>
#include <tessera/core/row_count.hpp>
#include <tessera/hash/coordinate_table.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Number of corners of a cell.
template <int Dim>
inline constexpr int num_corners = 1 << Dim;

/// The position of a point: its batch entry, and on every axis the lower corner of its cell and how far it is
/// above.
template <int Dim>
struct CellOfPoint {
  Coordinate<Dim> lower;
  float fraction[Dim];
  bool is_valid;

  /// @param row     [1 + Dim] batch entry and position
  /// @param stride  finest voxels in a step of the set, on every axis
  TESSERA_HOST_DEVICE CellOfPoint(float const* row, IntArray<Dim> const& stride)
  {
    constexpr float farthest = 1 << 30;  // no set reaches beyond
    is_valid = is_finite(row[0]) && row[0] >= 0 && row[0] < farthest;
    lower.batch = is_valid ? static_cast<int>(row[0]) : -1;
    for (int i = 0; i < Dim; ++i) {
      float const position = rounded_divide(row[1 + i], static_cast<float>(stride[i]));
      float const cell = is_finite(position) ? floorf(position) : farthest + farthest;
      is_valid = is_valid && cell >= -farthest && cell <= farthest;
      lower.position[i] = is_valid ? static_cast<int>(cell) : 0;
      fraction[i] = is_valid ? rounded_subtract(position, cell) : 0.0F;
    }
  }

  /// Corner k, counted up with the last axis fastest.
  [[nodiscard]] TESSERA_HOST_DEVICE Coordinate<Dim> corner(int k) const
  {
    auto result = lower;
    for (int i = 0; i < Dim; ++i) { result.position[i] += k >> (Dim - 1 - i) & 1; }
    return result;
  }
  /// The volume between the point and the corner opposite to k.
  [[nodiscard]] TESSERA_HOST_DEVICE float weight(int k) const
  {
    float result = 1;
    for (int i = 0; i < Dim; ++i) {
      bool const upper = (k >> (Dim - 1 - i) & 1) != 0;
      result *= upper ? fraction[i] : rounded_subtract(1.0F, fraction[i]);
    }
    return result;
  }
};

/// weights[k] = the share of corner k among those that exist: 0 for the others.
template <int Dim>
TESSERA_HOST_DEVICE void share_weights(CellOfPoint<Dim> const& cell, std::int32_t const* rows, float* weights)
{
  float sum = 0;
  for (int k = 0; k < num_corners<Dim>; ++k) {
    weights[k] = rows[k] >= 0 ? cell.weight(k) : 0.0F;
    sum += weights[k];
  }
  for (int k = 0; k < num_corners<Dim>; ++k) { weights[k] = rounded_divide(weights[k], sum + 1e-8F); }
}

/// rows[i] = the voxel that point i is in.
template <int Dim, class Key>
struct FindVoxels {
  float const* positions;  // [num_points, 1 + Dim]
  IntArray<Dim> stride;
  CoordinateTableRef<Dim, Key> table;
  bool joins_first;  // points whose voxel is missing are in voxel 0, where there is one
  RowCount points;   // of which those in use are points at all
  RowCount voxels;
  std::int32_t* rows;  // [num_points]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    CellOfPoint<Dim> const cell{positions + i * (1 + Dim), stride};
    bool const is_used = i < points.size();
    auto const row = is_used && cell.is_valid ? table.find(cell.lower) : -1;
    rows[i] = row < 0 && is_used && joins_first && voxels.size() > 0 ? 0 : row;
  }
};

/// rows[i, k] = the voxel at corner k of the cell that point i is in, weights[i, k] = its share.
template <int Dim, class Key>
struct FindCorners {
  float const* positions;  // [num_points, 1 + Dim]
  IntArray<Dim> stride;
  CoordinateTableRef<Dim, Key> table;
  std::int32_t* rows;  // [num_points, 2^Dim]
  float* weights;      // [num_points, 2^Dim]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    constexpr int corners = num_corners<Dim>;
    CellOfPoint<Dim> const cell{positions + i * (1 + Dim), stride};
    std::int32_t found[corners];
    float shares[corners];
    for (int k = 0; k < corners; ++k) { found[k] = cell.is_valid ? table.find(cell.corner(k)) : -1; }
    share_weights(cell, found, shares);
    for (int k = 0; k < corners; ++k) {
      rows[i * corners + k] = found[k];
      weights[i * corners + k] = shares[k];
    }
  }
};

/// The weights of FindCorners for rows that are known.
template <int Dim>
struct WeighCorners {
  float const* positions;  // [num_points, 1 + Dim]
  IntArray<Dim> stride;
  std::int32_t const* rows;  // [num_points, 2^Dim]
  float* weights;            // [num_points, 2^Dim]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    constexpr int corners = num_corners<Dim>;
    share_weights(CellOfPoint<Dim>{positions + i * (1 + Dim), stride}, rows + i * corners,
                  weights + i * corners);
  }
};

/// first[i] = column 0 of row i.
template <class T>
struct TakeFirstColumn {
  T const* from;  // [rows, columns]
  int columns;
  T* first;  // [rows]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const { first[i] = from[i * columns]; }
};

/// keys[t] = the voxel of term t, or `none` where there is none of that number; terms[t] = t.
struct PackTerms {
  std::int32_t const* rows;  // [num_terms]
  std::uint32_t none;        // one above the last voxel
  std::uint32_t* keys;
  std::int32_t* terms;

  TESSERA_HOST_DEVICE void operator()(std::int64_t t) const
  {
    auto const row = static_cast<std::uint32_t>(rows[t]);
    keys[t] = row < none ? row : none;  // negative ones are above, too
    terms[t] = static_cast<std::int32_t>(t);
  }
};

/// begin[voxel] = number of keys below `voxel`.
struct FindSegment {
  std::uint32_t const* keys;  // [num_terms], ascending
  std::int64_t num_terms;
  std::int32_t* begin;  // [num_voxels + 1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t voxel) const
  {
    std::int64_t low = 0;
    std::int64_t high = num_terms;
    while (low < high) {
      auto const middle = low + (high - low) / 2;
      if (keys[middle] < static_cast<std::uint64_t>(voxel)) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    begin[voxel] = static_cast<std::int32_t>(low);
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
