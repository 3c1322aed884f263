// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Layers as dense grids with a mask define them: every cell of every batch entry is visited, and which voxels
// a result has is a second grid of truth values. No coordinate is ever looked up.

#include "oracle.hpp"

#include <cstddef>
#include <limits>
#include <vector>

namespace test {

/// A dense grid of features in double, and which of its cells are voxels.
template <int Dim>
struct DenseGrid {
  tessera::SpatialRange<Dim> range;
  int channels = 0;
  std::vector<double> values;  // [batches, extents..., channels]
  std::vector<bool> mask;      // [batches, extents...]

  DenseGrid(tessera::SpatialRange<Dim> const& grid, int num_channels)
      : range{grid}, channels{num_channels}, values(num_cells() * width()), mask(num_cells())
  {}

  [[nodiscard]] std::size_t width() const { return static_cast<std::size_t>(channels); }
  [[nodiscard]] std::size_t num_cells() const
  {
    auto cells = static_cast<std::size_t>(range.batches);
    for (int i = 0; i < Dim; ++i) { cells *= static_cast<std::size_t>(range.extent[i]); }
    return cells;
  }
  [[nodiscard]] bool contains(tessera::IntArray<Dim> const& position) const
  {
    for (int i = 0; i < Dim; ++i) {
      if (position[i] < 0 || position[i] >= range.extent[i]) { return false; }
    }
    return true;
  }
  /// Number of a cell that the grid contains.
  [[nodiscard]] std::size_t cell(int batch, tessera::IntArray<Dim> const& position) const
  {
    auto number = static_cast<std::size_t>(batch);
    for (int i = 0; i < Dim; ++i) {
      number = number * static_cast<std::size_t>(range.extent[i]) + static_cast<std::size_t>(position[i]);
    }
    return number;
  }
  /// Every position of one batch entry, the last axis fastest.
  [[nodiscard]] std::vector<tessera::IntArray<Dim>> positions() const { return kernel_digits(range.extent); }

  /// The voxels in lexicographic order, and their features.
  [[nodiscard]] Coordinates<Dim> rows() const
  {
    Coordinates<Dim> result;
    for (int b = 0; b < range.batches; ++b) {
      for (auto const& position : positions()) {
        if (mask[cell(b, position)]) { result.push_back({b, position}); }
      }
    }
    return result;
  }
  /// Features of the cells named, row by row.
  [[nodiscard]] std::vector<double> features_of(Coordinates<Dim> const& rows) const
  {
    std::vector<double> result;
    for (auto const& row : rows) {
      auto const at = cell(row.batch, row.position) * width();
      for (std::size_t c = 0; c < width(); ++c) { result.push_back(values[at + c]); }
    }
    return result;
  }
};

template <int Dim>
DenseGrid<Dim> dense_grid(Coordinates<Dim> const& rows, std::vector<double> const& features, int channels,
                          tessera::SpatialRange<Dim> const& range)
{
  DenseGrid<Dim> grid{range, channels};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    auto const cell = grid.cell(rows[i].batch, rows[i].position);
    grid.mask[cell] = true;
    for (std::size_t c = 0; c < grid.width(); ++c) {
      grid.values[cell * grid.width() + c] = features[i * grid.width() + c];
    }
  }
  return grid;
}

/// Extent of a dense convolution's output: how many windows fit into the padded grid.
template <int Dim>
tessera::IntArray<Dim> windows_that_fit(tessera::ConvolutionGeometry<Dim> const& g,
                                        tessera::IntArray<Dim> const& extent)
{
  tessera::IntArray<Dim> result{0};
  for (int i = 0; i < Dim; ++i) {
    int const window = g.dilation[i] * (g.kernel_size[i] - 1) + 1;
    while (g.stride[i] * result[i] + window <= extent[i] + 2 * g.padding[i]) { ++result[i]; }
  }
  return result;
}

/// Calls `body(offset number, coarse cell, fine cell)` for every pair of a convolution from `fine` to
/// `coarse` whose cells exist: `fine = stride * coarse - padding + digit * dilation`.
template <int Dim, class Body>
void for_each_pair(tessera::ConvolutionGeometry<Dim> const& g, DenseGrid<Dim> const& fine,
                   DenseGrid<Dim> const& coarse, Body const& body)
{
  auto const offsets = kernel_digits(g.kernel_size);
  for (int b = 0; b < coarse.range.batches; ++b) {
    for (auto const& to : coarse.positions()) {
      for (std::size_t k = 0; k < offsets.size(); ++k) {
        tessera::IntArray<Dim> from;
        for (int i = 0; i < Dim; ++i) {
          from[i] = g.stride[i] * to[i] - g.padding[i] + offsets[k][i] * g.dilation[i];
        }
        if (fine.contains(from)) { body(k, coarse.cell(b, to), fine.cell(b, from)); }
      }
    }
  }
}

/// y[to] += x[from] * weight[k]
template <int Dim>
void accumulate(DenseGrid<Dim> const& x, std::size_t from, DenseGrid<Dim>& y, std::size_t to,
                std::vector<double> const& weight, std::size_t k)
{
  for (std::size_t c = 0; c < x.width(); ++c) {
    for (std::size_t j = 0; j < y.width(); ++j) {
      y.values[to * y.width() + j] +=
          x.values[from * x.width() + c] * weight[(k * x.width() + c) * y.width() + j];
    }
  }
}

template <int Dim>
void add_bias(DenseGrid<Dim>& y, std::vector<double> const& bias)
{
  for (std::size_t i = 0; i < y.values.size(); ++i) { y.values[i] += bias[i % y.width()]; }
}

/// A convolution whose outputs are the cells that see a voxel. `weight` [volume, in, out], `bias` [out].
template <int Dim>
DenseGrid<Dim> dense_convolution(DenseGrid<Dim> const& x, tessera::ConvolutionGeometry<Dim> const& g,
                                 std::vector<double> const& weight, std::vector<double> const& bias)
{
  DenseGrid<Dim> y{{x.range.batches, windows_that_fit(g, x.range.extent)}, static_cast<int>(bias.size())};
  for_each_pair(g, x, y, [&](std::size_t k, std::size_t to, std::size_t from) {
    if (x.mask[from]) { y.mask[to] = true; }
    accumulate(x, from, y, to, weight, k);
  });
  add_bias(y, bias);
  return y;
}

/// The same on the grid and voxels of `x`: stride 1, padding `(size - 1) / 2 * dilation`, odd sizes.
template <int Dim>
DenseGrid<Dim> dense_submanifold(DenseGrid<Dim> const& x, tessera::ConvolutionGeometry<Dim> g,
                                 std::vector<double> const& weight, std::vector<double> const& bias)
{
  g.stride = tessera::IntArray<Dim>(1);
  for (int i = 0; i < Dim; ++i) { g.padding[i] = (g.kernel_size[i] - 1) / 2 * g.dilation[i]; }
  auto y = dense_convolution(x, g, weight, bias);
  y.mask = x.mask;
  return y;
}

/// The transposed convolution of a dense grid (PyTorch's ConvTranspose); outputs are the cells that a voxel
/// reaches.
template <int Dim>
DenseGrid<Dim> dense_transposed(DenseGrid<Dim> const& x, tessera::ConvolutionGeometry<Dim> const& g,
                                std::vector<double> const& weight, std::vector<double> const& bias)
{
  auto range = x.range;
  for (int i = 0; i < Dim; ++i) {
    range.extent[i] = (x.range.extent[i] - 1) * g.stride[i] - 2 * g.padding[i] +
                      g.dilation[i] * (g.kernel_size[i] - 1) + g.output_padding[i] + 1;
  }
  DenseGrid<Dim> y{range, static_cast<int>(bias.size())};
  for_each_pair(g, y, x, [&](std::size_t k, std::size_t from, std::size_t to) {
    if (x.mask[from]) { y.mask[to] = true; }
    accumulate(x, from, y, to, weight, k);
  });
  add_bias(y, bias);
  return y;
}

/// The pairs of a convolution that led from `fine` to `x`, in the other direction, onto the voxels of `fine`.
template <int Dim>
DenseGrid<Dim> dense_inverse(DenseGrid<Dim> const& x, DenseGrid<Dim> const& fine,
                             tessera::ConvolutionGeometry<Dim> const& g, std::vector<double> const& weight,
                             std::vector<double> const& bias)
{
  DenseGrid<Dim> y{fine.range, static_cast<int>(bias.size())};
  y.mask = fine.mask;
  for_each_pair(g, y, x, [&](std::size_t k, std::size_t from, std::size_t to) {
    if (x.mask[from]) { accumulate(x, from, y, to, weight, k); }
  });
  add_bias(y, bias);
  return y;
}

/// Largest, or mean, of the voxels in each window.
template <int Dim>
DenseGrid<Dim> dense_pool(DenseGrid<Dim> const& x, tessera::ConvolutionGeometry<Dim> const& g, bool average)
{
  DenseGrid<Dim> y{{x.range.batches, windows_that_fit(g, x.range.extent)}, x.channels};
  std::vector<double> count(y.num_cells());
  if (!average) { std::fill(y.values.begin(), y.values.end(), -std::numeric_limits<double>::infinity()); }
  for_each_pair(g, x, y, [&](std::size_t, std::size_t to, std::size_t from) {
    if (!x.mask[from]) { return; }
    y.mask[to] = true;
    count[to] += 1;
    for (std::size_t c = 0; c < x.width(); ++c) {
      auto& value = y.values[to * y.width() + c];
      auto const read = x.values[from * x.width() + c];
      value = average ? value + read : std::max(value, read);
    }
  });
  for (std::size_t i = 0; average && i < y.values.size(); ++i) {
    if (count[i / y.width()] > 0) { y.values[i] /= count[i / y.width()]; }
  }
  return y;
}

}  // namespace test
