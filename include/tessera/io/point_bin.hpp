// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/io/detail/file.hpp>
#include <tessera/points/point_cloud.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

[[nodiscard]] inline PointCloud parse_point_bin(Bytes const& bytes, int columns,
                                                std::vector<std::string> feature_names,
                                                FileContext const& file)
{
  file.expects(columns >= 3 && columns <= 1024, "rows of ", columns, " columns; 3 to 1024 are possible");
  auto const width = static_cast<std::size_t>(columns);
  file.expects(bytes.size() % (4 * width) == 0, "holds ", bytes.size(),
               " bytes, which is no multiple of the ", 4 * width, " bytes of a point with ", columns,
               " float columns");
  file.expects(feature_names.empty() || feature_names.size() == width - 3, "rows of ", columns,
               " columns with ", feature_names.size(), " feature names");
  auto const points = bytes.size() / (4 * width);
  PointCloud cloud;
  cloud.channels = columns - 3;
  cloud.feature_names = std::move(feature_names);
  cloud.positions.resize(3 * points);
  cloud.features.resize((width - 3) * points);
  for (std::size_t i = 0; i < points; ++i) {
    auto const* const row = bytes.data() + 4 * width * i;
    std::memcpy(cloud.positions.data() + 3 * i, row, 12);
    if (width > 3) { std::memcpy(cloud.features.data() + (width - 3) * i, row + 12, 4 * (width - 3)); }
  }
  return cloud;
}

}  // namespace detail

/// Reads rows of `columns` little-endian floats: x, y, z in metres, then columns - 3 features.
///
/// A file without a byte is a cloud without a point.
/// @param feature_names  [columns - 3], or empty
/// @throws invalid_argument  the file cannot be read, its size is no multiple of a row's, `columns` is not in
///                           [3, 1024], or the names are not as many as the features
///
/// Cost: one pass over the file, which is in memory twice meanwhile; the same for the readers below.
[[nodiscard]] inline PointCloud read_point_bin(std::string const& path, int columns,
                                               std::vector<std::string> feature_names = {})
{
  detail::FileContext const file{"read_point_bin", path};
  return detail::parse_point_bin(detail::read_file(file), columns, std::move(feature_names), file);
}

/// Reads a scan of KITTI or SemanticKITTI (`velodyne/000000.bin`): x, y, z, intensity.
/// @throws invalid_argument  the file cannot be read or its size is no multiple of 16
[[nodiscard]] inline PointCloud read_kitti(std::string const& path)
{
  detail::FileContext const file{"read_kitti", path};
  return detail::parse_point_bin(detail::read_file(file), 4, {"intensity"}, file);
}

/// Reads a sweep of nuScenes (`LIDAR_TOP/*.pcd.bin`): x, y, z, intensity (0 to 255), ring.
/// @throws invalid_argument  the file cannot be read or its size is no multiple of 20
[[nodiscard]] inline PointCloud read_nuscenes(std::string const& path)
{
  detail::FileContext const file{"read_nuscenes", path};
  return detail::parse_point_bin(detail::read_file(file), 5, {"intensity", "ring"}, file);
}

/// Writes rows of 3 + channels floats: each point's position, then its features; labels are left out.
///
/// With one channel (the intensity) this is a KITTI scan. The file takes its name when it is complete.
/// @throws invalid_argument  the cloud's arrays do not fit together, or the file cannot be written
///
/// Cost: one pass; the file is put together in memory. Determinism: same cloud, same bytes.
inline void write_point_bin(std::string const& path, PointCloud const& cloud)
{
  cloud.check("write_point_bin");
  auto const channels = static_cast<std::size_t>(cloud.channels);
  std::vector<float> rows;
  rows.reserve(cloud.positions.size() + cloud.features.size());
  for (std::size_t i = 0; i < static_cast<std::size_t>(cloud.size()); ++i) {
    for (std::size_t k = 0; k < 3; ++k) { rows.push_back(cloud.positions[3 * i + k]); }
    for (std::size_t k = 0; k < channels; ++k) { rows.push_back(cloud.features[channels * i + k]); }
  }
  detail::AtomicFile to{detail::FileContext{"write_point_bin", path}};
  to.write(rows.data(), rows.size() * sizeof(float));
  to.commit();
}

}  // namespace v0
}  // namespace tessera
