// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// A user's CUDA program with tessera::compiled; without a GPU it keeps files, says that there is none
// and succeeds, because what is tested is the build.
#include "files.hpp"

#include <tessera/tessera.cuh>

#include <cstdio>
#include <vector>

#ifndef TESSERA_COMPILED
#error "tessera::compiled defines TESSERA_COMPILED"
#endif

namespace ts = tessera;

int main()
{
  if (!keeps_files()) { return 1; }
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::puts("no CUDA device");
    return 0;
  }
  ts::Execution<ts::Device> const exec{nullptr};
  std::vector<ts::Coordinate<3>> const voxels{{0, {1, 2, 3}}, {0, {1, 2, 4}}};
  std::vector<__half> const features(2 * 8, __float2half(1.0F));
  ts::SparseTensor<3, __half> const x{ts::make_coordinate_set(voxels, ts::CoordinateSetOptions<3>{}, exec),
                                      ts::upload_matrix(features, 8, exec)};
  ts::nn::Conv<3, __half> conv(ts::ConvOptions<3>(8, 8, 3), exec);
  auto const rows = static_cast<long long>(conv(x, exec).features_on_host(exec).size());
  std::printf("%lld values\n", rows);
  return rows == 16 ? 0 : 1;
}
