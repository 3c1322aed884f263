// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// The definitions that results are held against: nested loops on the host, written for reading, without any
// of the library's algorithms.

#include <tessera/coords/coordinate.hpp>
#include <tessera/kmap/geometry.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <type_traits>
#include <vector>

namespace test {

template <int Dim>
using Coordinates = std::vector<tessera::Coordinate<Dim>>;

// --- order and offsets -------------------------------------------------------------------------------------

/// Batch entry first, then the axes in turn.
template <int Dim>
bool lexicographically_less(tessera::Coordinate<Dim> const& a, tessera::Coordinate<Dim> const& b)
{
  if (a.batch != b.batch) { return a.batch < b.batch; }
  for (int i = 0; i < Dim; ++i) {
    if (a.position[i] != b.position[i]) { return a.position[i] < b.position[i]; }
  }
  return false;
}

/// In lexicographic order, each row once.
template <int Dim>
Coordinates<Dim> sorted_unique(Coordinates<Dim> rows)
{
  std::sort(rows.begin(), rows.end(), lexicographically_less<Dim>);
  rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
  return rows;
}

/// The digits of every offset of a kernel, in the order of the weights: counted up with the last axis
/// fastest.
template <int Dim>
std::vector<tessera::IntArray<Dim>> kernel_digits(tessera::IntArray<Dim> const& size)
{
  std::vector<tessera::IntArray<Dim>> all;
  tessera::IntArray<Dim> digits{0};
  for (;;) {
    all.push_back(digits);
    int axis = Dim - 1;
    while (axis >= 0 && digits[axis] == size[axis] - 1) { digits[axis--] = 0; }
    if (axis < 0) { return all; }
    ++digits[axis];
  }
}

// --- kernel maps: [num_out, volume], the input row or -1 ---------------------------------------------------

namespace detail {

/// Compares every output under every offset with every input.
template <int Dim, class IsPair>
std::vector<std::int32_t> map_of_pairs(Coordinates<Dim> const& in, Coordinates<Dim> const& out,
                                       tessera::IntArray<Dim> const& size, IsPair const& is_pair)
{
  auto const offsets = kernel_digits(size);
  std::vector<std::int32_t> map;
  for (auto const& o : out) {
    for (auto const& digits : offsets) {
      std::int32_t found = -1;
      for (std::size_t i = 0; i < in.size() && found < 0; ++i) {
        bool paired = in[i].batch == o.batch;
        for (int axis = 0; paired && axis < Dim; ++axis) {
          paired = is_pair(axis, in[i].position[axis], o.position[axis], digits[axis]);
        }
        if (paired) { found = static_cast<std::int32_t>(i); }
      }
      map.push_back(found);
    }
  }
  return map;
}

}  // namespace detail

/// Pairs with `in = stride * out + digit * dilation - anchor` on every axis, of one batch entry.
template <int Dim>
std::vector<std::int32_t> kernel_map_by_definition(Coordinates<Dim> const& in, Coordinates<Dim> const& out,
                                                   tessera::KernelRegion<Dim> const& r)
{
  return detail::map_of_pairs(in, out, r.size, [&](int i, int from, int to, int digit) {
    return from == r.stride[i] * to + digit * r.dilation[i] - r.anchor[i];
  });
}

/// Pairs of a generative convolution: `stride * in = out + digit * dilation - floor(size / 2) * dilation`.
template <int Dim>
std::vector<std::int32_t> generative_map_by_definition(Coordinates<Dim> const& in,
                                                       Coordinates<Dim> const& out,
                                                       tessera::ConvolutionGeometry<Dim> const& g)
{
  return detail::map_of_pairs(in, out, g.kernel_size, [&](int i, int from, int to, int digit) {
    return g.stride[i] * from == to + (digit - g.kernel_size[i] / 2) * g.dilation[i];
  });
}

/// `transposed[in, k] = out` for each pair (in, out) of offset k.
inline std::vector<std::int32_t> transposed_map_by_definition(std::vector<std::int32_t> const& map,
                                                              std::size_t num_in, std::size_t volume)
{
  std::vector<std::int32_t> transposed(num_in * volume, -1);
  for (std::size_t i = 0; i < map.size(); ++i) {
    if (map[i] < 0) { continue; }
    transposed[static_cast<std::size_t>(map[i]) * volume + i % volume] =
        static_cast<std::int32_t>(i / volume);
  }
  return transposed;
}

// --- outputs of convolutions, in lexicographic order -------------------------------------------------------

namespace detail {

template <int Dim>
Coordinates<Dim> cut_to(Coordinates<Dim> const& rows, std::optional<tessera::SpatialRange<Dim>> const& range)
{
  if (!range) { return rows; }
  Coordinates<Dim> kept;
  for (auto const& row : rows) {
    bool inside = row.batch >= 0 && row.batch < range->batches;
    for (int i = 0; i < Dim; ++i) {
      inside = inside && row.position[i] >= 0 && row.position[i] < range->extent[i];
    }
    if (inside) { kept.push_back(row); }
  }
  return kept;
}

}  // namespace detail

/// SpconvDownsample: every output that reads some input, `stride * out = in + anchor - digit * dilation`.
/// With a range of the inputs, those of a dense convolution padded by `anchor` on both sides: the windows
/// that fit into the padded grid.
template <int Dim>
Coordinates<Dim> spconv_outputs_by_definition(Coordinates<Dim> const& in, tessera::KernelRegion<Dim> const& r,
                                              std::optional<tessera::SpatialRange<Dim>> range = std::nullopt)
{
  Coordinates<Dim> out;
  for (auto const& row : in) {
    for (auto const& digits : kernel_digits(r.size)) {
      tessera::Coordinate<Dim> o = row;
      bool on_lattice = true;
      for (int i = 0; i < Dim; ++i) {
        int const scaled = row.position[i] + r.anchor[i] - digits[i] * r.dilation[i];
        on_lattice = on_lattice && scaled % r.stride[i] == 0;
        o.position[i] = scaled / r.stride[i];
      }
      if (on_lattice) { out.push_back(o); }
    }
  }
  if (range) {
    for (int i = 0; i < Dim; ++i) {
      int const padded = range->extent[i] + 2 * r.anchor[i];
      int const window = r.dilation[i] * (r.size[i] - 1) + 1;
      int fitting = 0;
      while (r.stride[i] * fitting + window <= padded) { ++fitting; }
      range->extent[i] = fitting;
    }
  }
  return sorted_unique(detail::cut_to(out, range));
}

/// MinkowskiDownsample: `out = floor(in / stride)`; a range keeps what lies in `ceil(extent / stride)`.
template <int Dim>
Coordinates<Dim> minkowski_outputs_by_definition(
    Coordinates<Dim> const& in, tessera::IntArray<Dim> const& stride,
    std::optional<tessera::SpatialRange<Dim>> range = std::nullopt)
{
  Coordinates<Dim> out = in;
  for (int i = 0; i < Dim; ++i) {
    for (auto& row : out) {
      row.position[i] = static_cast<int>(std::floor(double(row.position[i]) / stride[i]));
    }
    if (range) { range->extent[i] = static_cast<int>(std::ceil(double(range->extent[i]) / stride[i])); }
  }
  return sorted_unique(detail::cut_to(out, range));
}

/// Generative: the children `stride * in + (floor(size / 2) - digit) * dilation`; a range keeps those in
/// `extent * stride`.
template <int Dim>
Coordinates<Dim> generative_outputs_by_definition(
    Coordinates<Dim> const& in, tessera::ConvolutionGeometry<Dim> const& g,
    std::optional<tessera::SpatialRange<Dim>> range = std::nullopt)
{
  Coordinates<Dim> out;
  for (auto const& row : in) {
    for (auto const& digits : kernel_digits(g.kernel_size)) {
      tessera::Coordinate<Dim> child = row;
      for (int i = 0; i < Dim; ++i) {
        child.position[i] =
            g.stride[i] * row.position[i] + (g.kernel_size[i] / 2 - digits[i]) * g.dilation[i];
      }
      out.push_back(child);
    }
  }
  for (int i = 0; range && i < Dim; ++i) { range->extent[i] *= g.stride[i]; }
  return sorted_unique(detail::cut_to(out, range));
}

// --- convolution -------------------------------------------------------------------------------------------

/// A feature scalar as a double, exactly.
template <class Scalar>
double wide(Scalar value)
{
  if constexpr (std::is_same_v<Scalar, double>) {
    return value;
  } else {
    return double{static_cast<float>(value)};
  }
}

struct Sums {
  std::vector<double> value;      // [num_out, out_channels]
  std::vector<double> magnitude;  // the same with |products| and |bias|: what rounding errors are relative to
};

/// `value[o, :] = sum over k, c of features[map[o, k], c] * weight[k, c, :] + bias` in double; `bias` may be
/// empty.
template <class Scalar>
Sums convolution_by_definition(std::vector<std::int32_t> const& map, std::vector<Scalar> const& features,
                               std::vector<Scalar> const& weight, std::vector<Scalar> const& bias,
                               std::size_t volume, std::size_t in_channels, std::size_t out_channels)
{
  auto const num_out = map.size() / volume;
  Sums sums{std::vector<double>(num_out * out_channels), std::vector<double>(num_out * out_channels)};
  for (std::size_t o = 0; o < num_out; ++o) {
    for (std::size_t k = 0; k < volume; ++k) {
      auto const in = map[o * volume + k];
      if (in < 0) { continue; }
      for (std::size_t c = 0; c < in_channels; ++c) {
        double const x = wide(features[static_cast<std::size_t>(in) * in_channels + c]);
        for (std::size_t j = 0; j < out_channels; ++j) {
          double const product = x * wide(weight[(k * in_channels + c) * out_channels + j]);
          sums.value[o * out_channels + j] += product;
          sums.magnitude[o * out_channels + j] += std::abs(product);
        }
      }
    }
    for (std::size_t j = 0; j < bias.size(); ++j) {
      sums.value[o * out_channels + j] += wide(bias[j]);
      sums.magnitude[o * out_channels + j] += std::abs(wide(bias[j]));
    }
  }
  return sums;
}

// --- random input ------------------------------------------------------------------------------------------

/// `count` different rows, fewer when the box has no more cells, in random order: batch entries
/// [0, batches), positions [lower, upper], the corners of the box occupied in the first and last entry as far
/// as `count` allows.
template <int Dim>
Coordinates<Dim> random_coordinates(std::size_t count, int batches, tessera::IntArray<Dim> const& lower,
                                    tessera::IntArray<Dim> const& upper, std::uint32_t seed)
{
  std::mt19937 random{seed};
  double cells = batches;
  for (int i = 0; i < Dim; ++i) { cells *= double(upper[i]) - lower[i] + 1; }
  if (double(count) > cells) { count = static_cast<std::size_t>(cells); }
  Coordinates<Dim> rows;
  auto const add = [&](tessera::Coordinate<Dim> const& row) {
    if (rows.size() < count && std::find(rows.begin(), rows.end(), row) == rows.end()) {
      rows.push_back(row);
    }
  };
  for (int batch : {0, batches - 1}) {
    for (auto const& corner : kernel_digits(tessera::IntArray<Dim>(2))) {
      tessera::Coordinate<Dim> row;
      row.batch = batch;
      for (int i = 0; i < Dim; ++i) { row.position[i] = corner[i] == 0 ? lower[i] : upper[i]; }
      add(row);
    }
  }
  while (rows.size() < count) {
    tessera::Coordinate<Dim> row;
    row.batch = std::uniform_int_distribution<int>{0, batches - 1}(random);
    for (int i = 0; i < Dim; ++i) {
      row.position[i] = std::uniform_int_distribution<int>{lower[i], upper[i]}(random);
    }
    add(row);
  }
  std::shuffle(rows.begin(), rows.end(), random);
  return rows;
}

}  // namespace test
