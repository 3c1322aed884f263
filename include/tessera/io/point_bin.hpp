// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/inline.hpp>
#include <tessera/io/point_format.hpp>
#include <tessera/points/point_cloud.hpp>

#include <string>
#include <vector>

namespace tessera {
inline namespace v0 {

/// Reads rows of little-endian numbers, of any types and in any order, without a header.
///
/// Columns called x, y, z are the positions; `label` is the labels where every one is a 32-bit whole number;
/// `_` is passed over; every other one is a feature channel of its name, rounded to float. point_format()
/// makes columns of a text.
/// @param origin  what is subtracted from the positions; PointCloud::origin says what happens without one
/// @throws invalid_argument  the file cannot be read, its size is no multiple of a row's, there are fewer
/// than 3 or more than 1024 columns, x, y or z is missing, two columns have one name, or the positions need
/// an origin and none fits them all
///
/// Cost: one pass over the file, which is in memory twice meanwhile; the same for the readers below.
[[nodiscard]] PointCloud read_point_bin(std::string const& path, std::vector<PointColumn> const& columns,
                                        PointOrigin const& origin = {});

/// Reads rows of `columns` little-endian floats: x, y, z in metres, then columns - 3 features.
///
/// A file without a byte is a cloud without a point.
/// @param feature_names  [columns - 3], or empty
/// @throws invalid_argument  the file cannot be read, its size is no multiple of a row's, `columns` is not in
///                           [3, 1024], or the names are not as many as the features
[[nodiscard]] PointCloud read_point_bin(std::string const& path, int columns,
                                        std::vector<std::string> feature_names = {});

/// Reads a scan of KITTI or SemanticKITTI (`velodyne/000000.bin`): x, y, z, intensity.
/// @throws invalid_argument  the file cannot be read or its size is no multiple of 16
[[nodiscard]] PointCloud read_kitti(std::string const& path);

/// Reads a sweep of nuScenes (`LIDAR_TOP/*.pcd.bin`): x, y, z, intensity (0 to 255), ring.
/// @throws invalid_argument  the file cannot be read or its size is no multiple of 20
[[nodiscard]] PointCloud read_nuscenes(std::string const& path);

/// Writes rows of 3 + channels floats: each point's position, then its features; labels are left out.
///
/// With one channel (the intensity) this is a KITTI scan. The file takes its name when it is complete.
/// @throws invalid_argument  the cloud's arrays do not fit together, the cloud has an origin, which floats
/// cannot hold, or the file cannot be written
///
/// Cost: one pass; the file is put together in memory.
/// Determinism: same cloud, same bytes.
void write_point_bin(std::string const& path, PointCloud const& cloud);

}  // namespace v0
}  // namespace tessera

#ifdef TESSERA_NEEDS_HOST_BODIES
#include <tessera/io/detail/point_bin_body.hpp>
#endif
