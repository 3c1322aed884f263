// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/files.hpp"

#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/ply_body.hpp>
#include <tessera/io/ply.hpp>

#include <doctest/doctest.h>

#include <cstring>
#include <limits>
#include <string>
#include <vector>

namespace ply_files {

using namespace tessera;

inline constexpr auto formats = {PlyFormat::ascii, PlyFormat::binary_little_endian,
                                 PlyFormat::binary_big_endian};

inline PointCloud parse(std::string const& text)
{
  return detail::parse_ply({text.begin(), text.end()}, detail::FileContext{"read_ply", "f"});
}

/// What is said of a file, behind the common beginning.
inline std::string error(std::string const& text)
{
  auto const sentence = test::error_of([&] { static_cast<void>(parse(text)); });
  std::string const beginning = "read_ply: f: ";
  return sentence.substr(0, beginning.size()) == beginning ? sentence.substr(beginning.size()) : sentence;
}

inline std::string const xyz = "property float x\nproperty float y\nproperty float z\n";

inline std::string ascii(std::string const& count, std::string const& properties, std::string const& rows)
{
  return "ply\nformat ascii 1.0\nelement vertex " + count + "\n" + properties + "end_header\n" + rows;
}

inline std::string binary(std::string const& count, std::string const& properties, std::string const& rows)
{
  return "ply\nformat binary_little_endian 1.0\nelement vertex " + count + "\n" + properties +
         "end_header\n" + rows;
}

inline PointCloud some_points(bool labels)
{
  PointCloud cloud;
  cloud.positions = {0.1F, -1e-30F, 3e30F, 1, 2, 3, -0.0F, 16777216, 0.3333333F};
  cloud.channels = 2;
  cloud.feature_names = {"intensity", "ring"};
  cloud.features = {0.25F, 1, 0.7F, 2, 1, 31};
  if (labels) {
    cloud.labels = {std::numeric_limits<std::int32_t>::min(), 0, std::numeric_limits<std::int32_t>::max()};
  }
  return cloud;
}

inline bool same_bits(std::vector<float> const& a, std::vector<float> const& b)
{
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), 4 * a.size()) == 0);
}

}  // namespace ply_files
