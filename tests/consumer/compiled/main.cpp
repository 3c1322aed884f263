// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// A user's host-only program with tessera::compiled: what the library holds, files too, and a layer that it does not hold.
#include "files.hpp"

#include <tessera/tessera.hpp>

#include <cstdint>
#include <cstdio>
#include <vector>

#ifndef TESSERA_COMPILED
#error "tessera::compiled defines TESSERA_COMPILED"
#endif

namespace ts = tessera;

/// Rows of a convolution of two voxels, one channel.
template <class Scalar>
std::int64_t rows_of_layer()
{
  ts::Execution<ts::Host> const exec{1};
  std::vector<ts::Coordinate<3>> const voxels{{0, {1, 2, 3}}, {0, {1, 2, 4}}};
  std::vector<Scalar> const features{1, 2};
  ts::SparseTensor<3, Scalar, ts::Host> const x{
      ts::make_coordinate_set(voxels, ts::CoordinateSetOptions<3>{}, exec),
      ts::upload_matrix(features, 1, exec)};
  ts::nn::Conv<3, Scalar, ts::Host> conv(ts::ConvOptions<3>(1, 8, 3), exec);
  return conv(x, exec).num_rows();
}

int main()
{
  auto const of_library = rows_of_layer<float>();
  auto const of_headers = rows_of_layer<double>();
  std::printf("%lld and %lld rows\n", static_cast<long long>(of_library), static_cast<long long>(of_headers));
  return keeps_files() && of_library == 2 && of_headers == 2 ? 0 : 1;
}
