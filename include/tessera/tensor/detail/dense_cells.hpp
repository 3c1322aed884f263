// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate.hpp>
#include <tessera/coords/detail/bounds_and_count.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/tensor/dense_layout.hpp>

#include <cstdint>
#include <type_traits>

namespace tessera {
inline namespace v0 {

namespace detail {

/// Where things are in a dense tensor, for kernels.
template <int Dim>
struct DenseShape {
  SpatialRange<Dim> range;
  std::int64_t channels;
  DenseLayout layout;

  /// Cells of one batch entry.
  [[nodiscard]] TESSERA_HOST_DEVICE std::int64_t volume() const
  {
    std::int64_t cells = 1;
    for (int i = 0; i < Dim; ++i) { cells *= range.extent[i]; }
    return cells;
  }
  [[nodiscard]] TESSERA_HOST_DEVICE bool contains(Coordinate<Dim> const& c) const
  {
    bool inside = c.batch >= 0 && c.batch < range.batches;
    for (int i = 0; i < Dim; ++i) {
      inside = inside && c.position[i] >= 0 && c.position[i] < range.extent[i];
    }
    return inside;
  }
  /// Number of a cell in lexicographic order (batch, x, y, ...).
  [[nodiscard]] TESSERA_HOST_DEVICE std::int64_t cell(Coordinate<Dim> const& c) const
  {
    std::int64_t cell = c.batch;
    for (int i = 0; i < Dim; ++i) { cell = cell * range.extent[i] + c.position[i]; }
    return cell;
  }
  [[nodiscard]] TESSERA_HOST_DEVICE Coordinate<Dim> coordinate(std::int64_t cell) const
  {
    Coordinate<Dim> c;
    for (int i = Dim - 1; i >= 0; --i) {
      c.position[i] = static_cast<int>(cell % range.extent[i]);
      cell /= range.extent[i];
    }
    c.batch = static_cast<int>(cell);
    return c;
  }
  /// Element of a cell's channel.
  [[nodiscard]] TESSERA_HOST_DEVICE std::int64_t element(std::int64_t cell, std::int64_t channel) const
  {
    if (layout == DenseLayout::channels_last) { return cell * channels + channel; }
    auto const cells = volume();
    return (cell / cells * channels + channel) * cells + cell % cells;
  }
};

/// The number of cells of a range. @throws invalid_argument  extents below 1, or more than 63 bits hold
template <int Dim>
[[nodiscard]] std::int64_t count_cells(SpatialRange<Dim> const& range, std::int64_t channels, char const* who)
{
  expects(range.batches >= 1 && min_element(range.extent) >= 1 && channels >= 0, who, ": a range of ",
          range.batches, " x ", list(range.extent), " with ", channels, " channels");
  std::int64_t cells = range.batches;
  bool fits = true;
  for (int i = 0; i < Dim; ++i) {
    fits = fits && cells <= INT64_MAX / 16 / range.extent[i];
    cells = fits ? cells * range.extent[i] : 0;
  }
  expects(fits && (channels == 0 || cells <= INT64_MAX / 16 / channels), who, ": a dense tensor of ",
          range.batches, " x ", list(range.extent), " x ", channels, " elements cannot be allocated");
  return cells;
}

/// Element i of the features to its place, or from it; rows that are not in use have none, and get zeros.
template <int Dim, class Scalar, bool ToDense>
struct CopyCells {
  CoordinateView<Dim> coordinates;
  DenseShape<Dim> shape;
  std::conditional_t<ToDense, Scalar const, Scalar>* features;  // [num_rows, channels]
  std::conditional_t<ToDense, Scalar, Scalar const>* dense;
  std::uint32_t* errors;  // [1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto const row = i / shape.channels;
    bool const used = row < coordinates.size();
    auto const c = used ? coordinates[row] : Coordinate<Dim>{};
    if (!used || !shape.contains(c)) {
      if (used) { atomic_or(errors, std::uint32_t{DataError::out_of_range}); }
      if constexpr (!ToDense) { features[i] = static_cast<Scalar>(0.0F); }
      return;
    }
    auto const element = shape.element(shape.cell(c), i - row * shape.channels);
    if constexpr (ToDense) {
      dense[element] = features[i];
    } else {
      features[i] = dense[element];
    }
  }
};

/// used[cell] = 1 where a channel is not zero; one further 0 closes the array.
template <int Dim, class Scalar>
struct MarkCells {
  DenseShape<Dim> shape;
  Scalar const* dense;
  std::int64_t cells;
  std::int64_t* used;  // [cells + 1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t cell) const
  {
    bool any = false;
    for (std::int64_t c = 0; cell < cells && c < shape.channels && !any; ++c) {
      // NaN counts as a value
      any = !(static_cast<accumulator_t<Scalar>>(dense[shape.element(cell, c)]) == 0);
    }
    used[cell] = any ? 1 : 0;
  }
};

/// The rows of the cells in use.
template <int Dim, class Scalar>
struct CollectCells {
  DenseShape<Dim> shape;
  Scalar const* dense;
  std::int64_t const* place;  // [cells + 1]
  Coordinate<Dim>* rows;
  Scalar* features;

  TESSERA_HOST_DEVICE void operator()(std::int64_t cell) const
  {
    auto const row = place[cell];
    if (place[cell + 1] == row) { return; }
    rows[row] = shape.coordinate(cell);
    for (std::int64_t c = 0; c < shape.channels; ++c) {
      features[row * shape.channels + c] = dense[shape.element(cell, c)];
    }
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
