// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/npy_header.hpp>
#include <tessera/io/npy.hpp>
#include <tessera/io/ply.hpp>
#include <tessera/io/point_bin.hpp>
#include <tessera/points/point_cloud.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {
inline namespace v0 {

/// What a file of points is; `detect` leaves it to the file's content and name.
enum class PointFormat : std::uint8_t { detect, kitti, nuscenes, ply, npy };

namespace detail {

/// Whether `bytes` can be rows of x, y, z, intensity, ring: every fifth float is a whole number in [0, 255].
/// Rows of another width put coordinates there.
[[nodiscard]] inline bool has_rings(Bytes const& bytes) noexcept
{
  if (bytes.empty() || bytes.size() % 20 != 0) { return false; }
  for (std::size_t at = 16; at < bytes.size(); at += 20) {
    auto const ring = load_bytes<float>(bytes.data() + at);
    if (!(ring >= 0.0F && ring <= 255.0F) || ring != static_cast<float>(static_cast<int>(ring))) {
      return false;
    }
  }
  return true;
}

[[nodiscard]] inline PointFormat detect_point_format(Bytes const& bytes, FileContext const& file)
{
  std::string_view const text{reinterpret_cast<char const*>(bytes.data()), bytes.size()};
  std::string_view const path{file.path()};
  auto const ends_with = [&](std::string_view end) {
    return path.size() >= end.size() && path.substr(path.size() - end.size()) == end;
  };
  if (text.substr(0, npy_magic.size()) == npy_magic || ends_with(".npy")) { return PointFormat::npy; }
  if (text.substr(0, 4) == "ply\n" || text.substr(0, 4) == "ply\r" || ends_with(".ply")) {
    return PointFormat::ply;
  }
  if (ends_with(".pcd.bin")) { return PointFormat::nuscenes; }
  if (ends_with(".bin")) { return has_rings(bytes) ? PointFormat::nuscenes : PointFormat::kitti; }
  file.fail("is no file of points that is known: .bin (KITTI, nuScenes), .ply or .npy");
}

[[nodiscard]] inline PointCloud point_cloud_of(NpyArray const& array, FileContext const& file)
{
  file.expects(array.shape.size() == 2 && array.shape[1] >= 3 && array.shape[1] <= 1024,
               "is an array of shape ", list(array.shape),
               "; points are an array [num_points, 3 + channels]");
  auto const values = to_float(array.tensor());
  auto const width = static_cast<std::size_t>(array.shape[1]);
  PointCloud cloud;
  cloud.channels = static_cast<int>(width) - 3;
  if (cloud.channels == 1) { cloud.feature_names = {"intensity"}; }
  cloud.positions.reserve(values.size() / width * 3);
  cloud.features.reserve(values.size() / width * (width - 3));
  for (std::size_t at = 0; at < values.size(); at += width) {
    auto const row = values.begin() + static_cast<std::ptrdiff_t>(at);
    cloud.positions.insert(cloud.positions.end(), row, row + 3);
    cloud.features.insert(cloud.features.end(), row + 3, row + static_cast<std::ptrdiff_t>(width));
  }
  return cloud;
}

[[nodiscard]] inline PointCloud parse_points(Bytes const& bytes, PointFormat format, FileContext const& file)
{
  switch (format == PointFormat::detect ? detect_point_format(bytes, file) : format) {
    case PointFormat::npy: return point_cloud_of(parse_npy(bytes, file), file);
    case PointFormat::ply: return parse_ply(bytes, file);
    case PointFormat::nuscenes: return parse_point_bin(bytes, 5, {"intensity", "ring"}, file);
    default: return parse_point_bin(bytes, 4, {"intensity"}, file);
  }
}

}  // namespace detail

/// Reads points from a file of any known format.
///
/// Detection: the first bytes of PLY and npy; else the name. `.pcd.bin` is nuScenes (5 columns). Any other
/// `.bin` is nuScenes if every fifth float is a whole number in [0, 255], as a ring is, and KITTI (4 columns)
/// if not. An npy array is [num_points, 3 + channels], of any element type, positions first.
/// @throws invalid_argument  the file cannot be read, is of no known format, or breaks the format's rules
///
/// Cost: one pass over the file, which is in memory twice meanwhile, and one more over a `.bin` to detect
/// rings.
[[nodiscard]] inline PointCloud read_point_cloud(std::string const& path,
                                                 PointFormat format = PointFormat::detect)
{
  detail::FileContext const file{"read_point_cloud", path};
  return detail::parse_points(detail::read_file(file), format, file);
}

}  // namespace v0
}  // namespace tessera
