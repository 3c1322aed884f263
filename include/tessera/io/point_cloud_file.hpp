// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/inline.hpp>
#include <tessera/io/npy.hpp>
#include <tessera/io/pcd.hpp>
#include <tessera/io/ply.hpp>
#include <tessera/io/point_bin.hpp>
#include <tessera/io/point_format.hpp>
#include <tessera/points/point_cloud.hpp>

#include <string>

namespace tessera {
inline namespace v0 {

/// Reads points from a file of any known format.
///
/// Detection: the first bytes of PLY, PCD and npy; else the name. A `.bin` says nothing about itself: it is
/// read as KITTI (4 floats per point) or nuScenes (5) where its numbers are plausible as one of them (positions
/// within a kilometre, intensities 0 to 255, rings whole numbers) and rows of no other width, 3 to 16,
/// explain them as well; anything else is refused, and `options` must name the format: PointFormat has those
/// of .bin files. `.pcd.bin` is nuScenes or refused. An npy array is [num_points, 3 + channels], of any
/// element type, positions first. Columns of the name `label` are labels where every one is a 32-bit whole
/// number.
/// @throws invalid_argument  the file cannot be read, is of no known format, breaks the format's rules, or
/// its positions need an origin and none fits them all (PointCloud::origin)
///
/// Cost: one pass over the file, which is in memory twice meanwhile, and one more over a `.bin` to know it.
[[nodiscard]] PointCloud read_point_cloud(std::string const& path, PointReadOptions options);

/// As above, with the format alone.
[[nodiscard]] PointCloud read_point_cloud(std::string const& path, PointFormat format = PointFormat::detect);

}  // namespace v0
}  // namespace tessera

#ifdef TESSERA_NEEDS_HOST_BODIES
#include <tessera/io/detail/point_cloud_file_body.hpp>
#endif
