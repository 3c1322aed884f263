// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// What the tests of plans share; for builds with CUDA.

#include "../support/device.hpp"

#include <tessera/plan/plan.cuh>

#include <algorithm>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

namespace plan_cases {

using Rows = std::vector<tessera::Coordinate<3>>;

/// A wavy surface over size x size columns, three out of four of them occupied, in random order.
inline Rows random_surface(unsigned seed, int size)
{
  std::mt19937 random{seed};
  Rows rows;
  for (int i = 0; i < size; ++i) {
    for (int j = 0; j < size; ++j) {
      if (random() % 4 == 0) { continue; }
      rows.push_back({0, {i, j, (i * i / 9 + j) / 4 % 11 + static_cast<int>(random() % 2)}});
    }
  }
  std::shuffle(rows.begin(), rows.end(), random);
  return rows;
}

/// `rows` with random features.
template <class Scalar>
tessera::SparseTensor<3, Scalar> tensor_of(Rows const& rows, int channels,
                                           tessera::CoordinateSetOptions<3> const& options,
                                           tessera::Execution<tessera::Device> const& exec)
{
  std::mt19937 random{3};
  std::uniform_real_distribution<float> uniform{-1, 1};
  std::vector<Scalar> features(rows.size() * static_cast<std::size_t>(channels));
  for (auto& value : features) { value = Scalar(uniform(random)); }
  tessera::Matrix<Scalar, tessera::Device> matrix{tessera::upload(features, exec),
                                                  static_cast<std::int64_t>(rows.size()), channels};
  return {tessera::make_coordinate_set(rows, options, exec), std::move(matrix)};
}

template <class Scalar>
bool same_bits(std::vector<Scalar> const& a, std::vector<Scalar> const& b)
{
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(Scalar)) == 0;
}

struct Stream {
  cudaStream_t handle = nullptr;
  Stream() { tessera::detail::cuda_check(cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking)); }
  Stream(Stream const&) = delete;
  Stream& operator=(Stream const&) = delete;
  ~Stream() { static_cast<void>(cudaStreamDestroy(handle)); }
};

}  // namespace plan_cases
