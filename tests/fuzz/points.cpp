// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

//
// .bin files, and the detection of formats: the first byte of an input chooses between them.

#include "fuzz.hpp"

#include <tessera/io/point_cloud_file.hpp>

int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size)
{
  if (size == 0) { return 0; }
  char const* const names[] = {"scan.bin", "scan.pcd.bin", "scan", "scan.npy", "scan.ply"};
  tessera::detail::FileContext const file{"fuzz", names[data[0] % 5]};
  auto const format = static_cast<tessera::PointFormat>(data[0] / 5 % 3);
  return fuzz::read(data + 1, size - 1, [&](auto const& bytes, auto const&) {
    tessera::detail::parse_points(bytes, format, file).check("fuzz");
  });
}
