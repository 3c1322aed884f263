// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

//
// .bin files, and the detection of formats: the first byte of an input chooses the name and the format.

#include "fuzz.hpp"

#include <tessera/io/detail/point_cloud_file_body.hpp>
#include <tessera/io/point_cloud_file.hpp>

int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size)
{
  if (size == 0) { return 0; }
  char const* const names[] = {"scan.bin", "scan.pcd.bin", "scan", "scan.npy", "scan.ply"};
  tessera::PointReadOptions options;
  tessera::detail::FileContext const file{"fuzz", names[data[0] % 5]};
  options.format = static_cast<tessera::PointFormat>(data[0] / 5 % 9);
  if (options.format == tessera::PointFormat::columns) {
    options = tessera::point_format("x:f8,label:u4,y:i2,_:u1,z:i8,a:f4");
  }
  return fuzz::read(data + 1, size - 1, [&](auto const& bytes, auto const&) {
    tessera::detail::parse_points(bytes, options, file).check("fuzz");
  });
}
