// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Files with tessera::compiled: what reads and writes them is in the library.

#include <tessera/tessera.hpp>

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#ifdef TESSERA_NEEDS_HOST_BODIES
#error "tessera::compiled has the bodies of tessera/io"
#endif

/// Writes weights and points, reads them again and says whether they are the same.
inline bool keeps_files()
{
  namespace ts = tessera;
  ts::Execution<ts::Host> const exec{1};
  ts::nn::Conv<3, float, ts::Host> written(ts::ConvOptions<3>(1, 8, 3), exec);
  ts::nn::Conv<3, float, ts::Host> read(ts::ConvOptions<3>(1, 8, 3), exec);
  std::string const weights{"consumer.safetensors"};
  ts::io::save(written, weights, ts::io::TorchSparse{}, exec);
  auto const report = ts::io::load(read, ts::io::convert_checkpoint(weights), exec);

  ts::PointCloud cloud;
  cloud.positions = {1, 2, 3, 4, 5, 6};
  std::string const points{"consumer.ply"};
  ts::write_ply(points, cloud);
  auto const again = ts::read_point_cloud(points);
  std::remove(weights.c_str());
  std::remove(points.c_str());
  std::printf("%zu tensors and %lld points\n", report.loaded.size(), static_cast<long long>(again.size()));
  return !report.loaded.empty() && again.positions == cloud.positions;
}
