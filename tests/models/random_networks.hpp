// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Small clouds for networks with weights from a seed, and what makes two such networks one.

#include "../support/device.hpp"

#include <tessera/nn/module.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <random>
#include <type_traits>
#include <vector>

namespace random_networks {

/// A wavy surface in every batch entry, one voxel a column.
template <int Dim>
std::vector<tessera::Coordinate<Dim>> surface(int size, int batches)
{
  std::vector<tessera::Coordinate<Dim>> rows;
  for (int b = 0; b < batches; ++b) {
    for (int i = 0; i < size; ++i) {
      for (int j = 0; j < size; ++j) {
        tessera::Coordinate<Dim> row;
        row.batch = b;
        row.position[0] = i;
        row.position[1] = j;
        for (int axis = 2; axis < Dim; ++axis) { row.position[axis] = (i * i / 7 + j) / 5 % 9; }
        rows.push_back(row);
      }
    }
  }
  return rows;
}

/// Random features on surface().
template <int Dim, class Scalar = float, class Space>
tessera::SparseTensor<Dim, Scalar, Space> input(int size, int batches, int channels,
                                                tessera::Execution<Space> const& exec)
{
  auto const rows = surface<Dim>(size, batches);
  std::mt19937 random{11};
  std::uniform_real_distribution<float> uniform{-1, 1};
  std::vector<Scalar> features(rows.size() * static_cast<std::size_t>(channels));
  for (auto& value : features) { value = static_cast<Scalar>(uniform(random)); }
  return {tessera::make_coordinate_set(rows, tessera::CoordinateSetOptions<Dim>{}, exec),
          tessera::Matrix<Scalar, Space>{tessera::upload(features, exec),
                                         static_cast<std::int64_t>(rows.size()), channels}};
}

/// Running statistics, which are floats for float and for half, from a network on the host to one of the same
/// seed; all else they have in common.
template <class Space>
void copy_statistics(tessera::nn::ModuleBase const& from, tessera::nn::ModuleBase& to,
                     tessera::Execution<Space> const& exec)
{
  auto const source = from.parameters();
  auto const target = to.writable_parameters();
  REQUIRE(source.size() == target.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i].role != tessera::nn::ParameterRole::buffer) { continue; }
    REQUIRE(source[i].name == target[i].name);
    REQUIRE(target[i].dtype == tessera::DType::float32);
    tessera::detail::Transfer<Space>::from_host(target[i].write_bytes(), source[i].parameter->bytes(),
                                                static_cast<std::size_t>(source[i].size) * sizeof(float),
                                                exec);
  }
}

}  // namespace random_networks
