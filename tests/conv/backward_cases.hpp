// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Convolutions of every kind with random operands, and their gradients by definition: loops over the map.

#include "../support/device.hpp"
#include "../support/small.hpp"
#include "../support/ways.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution.cuh>
#endif
#include <tessera/conv/convolution_backward.hpp>

#include <cstring>
#include <memory>
#include <random>

namespace backward_cases {

using namespace tessera;

using Values = std::vector<double>;

/// A convolution that is differentiated, and where its map comes from.
struct Layer {
  char const* name;
  ConvolutionKind kind;
  int size;
  int stride;
  int dilation;
  int in_channels;
  int out_channels;

  template <int Dim>
  [[nodiscard]] ConvolutionGeometry<Dim> geometry() const
  {
    ConvolutionGeometry<Dim> geometry;
    geometry.kernel_size = IntArray<Dim>(size);
    geometry.stride = IntArray<Dim>(stride);
    geometry.dilation = IntArray<Dim>(dilation);
    return geometry;
  }
};

using Kind = ConvolutionKind;

inline std::vector<Layer> layers()
{
  return {{"submanifold", Kind::submanifold, 3, 1, 1, 16, 16},
          {"submanifold, other channels", Kind::submanifold, 3, 1, 1, 5, 12},
          {"submanifold, dilated", Kind::submanifold, 3, 1, 2, 8, 24},
          {"submanifold, even", Kind::submanifold, 2, 1, 1, 4, 8},
          {"pointwise", Kind::submanifold, 1, 1, 1, 32, 20},
          {"strided", Kind::strided, 2, 2, 1, 16, 32},
          {"strided, overlapping", Kind::strided, 3, 2, 1, 32, 40},
          {"transposed", Kind::transposed, 2, 2, 1, 24, 16},
          {"transposed, overlapping", Kind::transposed, 3, 2, 1, 8, 8},
          {"inverse", Kind::inverse, 3, 2, 1, 12, 16},
          {"generative", Kind::generative, 3, 2, 1, 8, 4}};
}

/// Voxels of a box of `edge` on each axis, one of `share` of them.
template <int Dim = 3>
std::vector<Coordinate<Dim>> random_voxels(int edge, unsigned share, std::mt19937& random)
{
  int cells = 1;
  for (int axis = 0; axis < Dim; ++axis) { cells *= edge; }
  std::vector<Coordinate<Dim>> voxels;
  for (int i = 0; i < cells; ++i) {
    if (random() % share == 0) {
      Coordinate<Dim> voxel{};
      for (int axis = Dim - 1, rest = i; axis >= 0; --axis, rest /= edge) {
        voxel.position[axis] = rest % edge;
      }
      voxels.push_back(voxel);
    }
  }
  return voxels;
}

/// The map of a layer on voxels; those that go back up come after one that went down, and generative ones
/// start at a tensor stride.
template <int Dim, class Space>
std::shared_ptr<KernelMap<Space>> map_of(Layer const& layer, std::vector<Coordinate<Dim>> const& voxels,
                                         CoordinateSetPointer<Dim, Space>& keeps,
                                         Execution<Space> const& exec)
{
  auto const geometry = layer.template geometry<Dim>();
  CoordinateSetOptions<Dim> options;
  auto rows = voxels;
  if (layer.kind == Kind::generative) {
    options.tensor_stride = IntArray<Dim>(2);
    for (auto& row : rows) {
      for (int i = 0; i < Dim; ++i) { row.position[i] *= 2; }
    }
  }
  keeps = make_coordinate_set(rows, options, exec);
  if (layer.kind != Kind::transposed && layer.kind != Kind::inverse) {
    return detail::kernel_map(ConvConfig{}, *keeps, layer.kind, geometry, exec).map;
  }
  keeps = detail::kernel_map(ConvConfig{}, *keeps, Kind::strided, geometry, exec).coordinates;
  return detail::kernel_map(ConvConfig{}, *keeps, layer.kind, geometry, exec).map;
}

inline Values random_values(std::size_t size, std::mt19937& random)
{
  std::uniform_int_distribution<int> value{-128, 128};
  Values values(size);
  for (auto& v : values) { v = value(random) / 128.0; }  // exact in every scalar
  return values;
}

template <class Scalar>
std::vector<Scalar> rounded(Values const& values)
{
  std::vector<Scalar> result;
  result.reserve(values.size());
  for (auto const value : values) { result.push_back(static_cast<Scalar>(static_cast<float>(value))); }
  return result;
}
template <>
inline std::vector<double> rounded(Values const& values)
{
  return values;
}

/// A layer with operands, the map as entries, and its gradients by definition.
struct Case {
  Layer layer;
  std::vector<std::int32_t> out_in;
  std::size_t num_in;
  std::size_t num_out;
  std::size_t num_offsets;
  Values x;
  Values weight;
  Values grad;

  [[nodiscard]] std::size_t cin() const { return static_cast<std::size_t>(layer.in_channels); }
  [[nodiscard]] std::size_t cout() const { return static_cast<std::size_t>(layer.out_channels); }
  [[nodiscard]] std::size_t volume() const { return num_offsets; }

  /// Calls `body(in, out, k)` for each pair.
  template <class Body>
  void for_each_pair(Body const& body) const
  {
    for (std::size_t o = 0; o < num_out; ++o) {
      for (std::size_t k = 0; k < volume(); ++k) {
        auto const in = out_in[o * volume() + k];
        if (in >= 0) { body(static_cast<std::size_t>(in), o, k); }
      }
    }
  }
  [[nodiscard]] Values data_gradient() const
  {
    Values result(num_in * cin());
    for_each_pair([&](std::size_t in, std::size_t out, std::size_t k) {
      for (std::size_t c = 0; c < cin(); ++c) {
        for (std::size_t j = 0; j < cout(); ++j) {
          result[in * cin() + c] += grad[out * cout() + j] * weight[(k * cin() + c) * cout() + j];
        }
      }
    });
    return result;
  }
  [[nodiscard]] Values weight_gradient() const
  {
    Values result(weight.size());
    for_each_pair([&](std::size_t in, std::size_t out, std::size_t k) {
      for (std::size_t c = 0; c < cin(); ++c) {
        for (std::size_t j = 0; j < cout(); ++j) {
          result[(k * cin() + c) * cout() + j] += x[in * cin() + c] * grad[out * cout() + j];
        }
      }
    });
    return result;
  }
  [[nodiscard]] Values bias_gradient() const
  {
    Values result(cout());
    for (std::size_t i = 0; i < grad.size(); ++i) { result[i % cout()] += grad[i]; }
    return result;
  }
};

template <int Dim>
Case make_case(Layer const& layer, std::vector<Coordinate<Dim>> const& voxels, std::mt19937& random)
{
  Execution<Host> const exec{1};
  CoordinateSetPointer<Dim, Host> keeps;
  auto const map = map_of(layer, voxels, keeps, exec);
  Case result{layer,
              {},
              static_cast<std::size_t>(map->num_in()),
              static_cast<std::size_t>(map->num_out()),
              static_cast<std::size_t>(map->volume()),
              {},
              {},
              {}};
  auto const* const entries = map->out_in(exec);
  result.out_in.assign(entries, entries + map->num_out() * map->volume());
  result.x = random_values(result.num_in * result.cin(), random);
  result.weight = random_values(result.volume() * result.cin() * result.cout(), random);
  result.grad = random_values(result.num_out * result.cout(), random);
  return result;
}

/// A case's operands in a space.
template <class Scalar, class Space, int Dim = 3>
struct Operands {
  Operands(Case const& c, std::vector<Coordinate<Dim>> const& voxels, Execution<Space> const& exec)
      : map{map_of(c.layer, voxels, set, exec)},
        x{upload_matrix(rounded<Scalar>(c.x), c.layer.in_channels, exec)},
        grad{upload_matrix(rounded<Scalar>(c.grad), c.layer.out_channels, exec)},
        weight{upload(rounded<Scalar>(c.weight), exec)},
        view{plain_weight(std::as_const(weight).data(), map->volume(), c.layer.in_channels,
                          c.layer.out_channels)}
  {}

  CoordinateSetPointer<Dim, Space> set;
  std::shared_ptr<KernelMap<Space>> map;
  Matrix<Scalar, Space> x;
  Matrix<Scalar, Space> grad;
  Buffer<Scalar, Space> weight;
  WeightView<Scalar> view;
};

template <class Scalar, class Space>
std::vector<Scalar> on_host(Matrix<Scalar, Space> const& matrix, Execution<Space> const& exec)
{
  return download(matrix.data(), matrix.size(), exec);
}

template <class Scalar, class Space>
MatrixView<Scalar const> seen(Matrix<Scalar, Space> const& matrix)
{
  return matrix.view();
}

template <class Scalar>
double wide(Scalar value)
{
  if constexpr (std::is_same_v<Scalar, double>) {
    return value;
  } else {
    return static_cast<double>(static_cast<float>(value));
  }
}

/// max |values - expected| over the largest |expected|.
template <class Scalar>
double difference(std::vector<Scalar> const& values, Values const& expected)
{
  REQUIRE(values.size() == expected.size());
  double largest = 1e-30;
  double apart = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    largest = std::max(largest, std::abs(expected[i]));
    auto const error = std::abs(wide(values[i]) - expected[i]);
    apart = std::max(apart, std::isnan(error) ? 1e9 : error);
  }
  return apart / largest;
}

template <class Scalar>
bool same_bits(std::vector<Scalar> const& a, std::vector<Scalar> const& b)
{
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(Scalar)) == 0;
}

}  // namespace backward_cases
