// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/int_array.hpp>
#include <tessera/core/row_count.hpp>

#include <cstdint>
#include <optional>

namespace tessera {
inline namespace v0 {

/// The cell of one voxel: batch entry first, then one integer per axis, in units of the tensor's own stride.
/// A row of a coordinate matrix [num_rows, 1 + Dim] of int32 has just this layout.
template <int Dim>
struct Coordinate {
  static_assert(Dim >= 1 && Dim <= 6, "Coordinate: Dim must be 1 to 6");

  int batch = 0;
  IntArray<Dim> position;

  [[nodiscard]] TESSERA_HOST_DEVICE friend constexpr bool operator==(Coordinate const& a, Coordinate const& b)
  {
    return a.batch == b.batch && a.position == b.position;
  }
};

/// The grid a tensor lives in: batch entries [0, batches), positions [0, extent) on every axis. What
/// TorchSparse calls `spatial_range` (B, X, Y, Z) and spconv `batch_size` and `spatial_shape`.
template <int Dim>
struct SpatialRange {
  int batches = 1;
  IntArray<Dim> extent;

  [[nodiscard]] friend bool operator==(SpatialRange const& a, SpatialRange const& b)
  {
    return a.batches == b.batches && a.extent == b.extent;
  }
};

/// Inclusive bounds of a set of coordinates. Without rows `lower` is above `upper` and `batches` is 0.
template <int Dim>
struct CoordinateBox {
  int batches = 0;  ///< batch entries are [0, batches)
  IntArray<Dim> lower = IntArray<Dim>(0);
  IntArray<Dim> upper = IntArray<Dim>(-1);

  [[nodiscard]] TESSERA_HOST_DEVICE constexpr bool empty() const
  {
    for (int i = 0; i < Dim; ++i) {
      if (lower[i] > upper[i]) { return true; }
    }
    return batches <= 0;
  }
  [[nodiscard]] TESSERA_HOST_DEVICE constexpr bool contains(IntArray<Dim> const& position) const
  {
    for (int i = 0; i < Dim; ++i) {
      if (position[i] < lower[i] || position[i] > upper[i]) { return false; }
    }
    return true;
  }
  [[nodiscard]] TESSERA_HOST_DEVICE constexpr bool contains(Coordinate<Dim> const& c) const
  {
    return c.batch >= 0 && c.batch < batches && contains(c.position);
  }
  [[nodiscard]] std::int64_t extent(int axis) const { return std::int64_t{upper[axis]} - lower[axis] + 1; }
};

/// The box of a declared range.
template <int Dim>
[[nodiscard]] CoordinateBox<Dim> box_of(SpatialRange<Dim> const& range)
{
  CoordinateBox<Dim> box;
  box.batches = range.batches;
  for (int i = 0; i < Dim; ++i) {
    box.lower[i] = 0;
    box.upper[i] = range.extent[i] - 1;
  }
  return box;
}

/// Read access to coordinate rows in kernels and on the host.
template <int Dim>
struct CoordinateView {
  Coordinate<Dim> const* rows = nullptr;  // [num_rows.capacity]
  RowCount num_rows;

  [[nodiscard]] TESSERA_HOST_DEVICE std::int64_t size() const { return num_rows.size(); }
  [[nodiscard]] TESSERA_HOST_DEVICE Coordinate<Dim> const& operator[](std::int64_t row) const
  {
    return rows[row];
  }

  /// The same by one load of the device where rows are 16 bytes. @pre  rows begins at a multiple of that
  [[nodiscard]] TESSERA_HOST_DEVICE Coordinate<Dim> load(std::int64_t row) const
  {
#if defined(__CUDA_ARCH__)
    if constexpr (Dim == 3) {
      auto const words = reinterpret_cast<int4 const*>(rows)[row];
      Coordinate<Dim> c;
      c.batch = words.x;
      c.position[0] = words.y;
      c.position[1] = words.z;
      c.position[2] = words.w;
      return c;
    }
#endif
    return rows[row];
  }
};

}  // namespace v0
}  // namespace tessera
