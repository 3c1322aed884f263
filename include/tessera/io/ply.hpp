// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/inline.hpp>
#include <tessera/io/ply_format.hpp>
#include <tessera/io/point_format.hpp>
#include <tessera/points/point_cloud.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace tessera {
inline namespace v0 {

/// Reads the vertices of a PLY file, ascii or binary of either byte order, as points.
///
/// The scalar properties x, y, z become the positions; `label` becomes the labels where every one is a 32-bit
/// whole number; every other scalar property (intensity, red, a label that is none, ...) becomes a feature
/// channel of its name, in the file's order and with the file's values rounded to float. List properties and
/// other elements are skipped; what follows the vertices is not looked at, and line breaks may follow the
/// last row.
/// @param origin  what is subtracted from the positions; PointCloud::origin says what happens without one
/// @throws invalid_argument  the file cannot be read, breaks the format, has no vertices with x, y and z,
/// claims more rows than it can hold, or its positions need an origin and none fits them all
///
/// Cost: one pass over the file, which is in memory as a whole.
/// Source: G. Turk, The PLY Polygon File Format, 1994.
[[nodiscard]] PointCloud read_ply(std::string const& path, PointOrigin const& origin = {});

/// How write_ply() writes.
struct PlyOptions {
  PlyFormat format = PlyFormat::binary_little_endian;
  std::vector<std::uint8_t> colors;  ///< [num_points, 3] red, green, blue; or empty
};

/// Writes `cloud` as the vertices of a PLY file, which takes its name when it is complete.
///
/// Properties: float x, y, z, or double where the cloud has an origin, which is added; uchar red, green, blue
/// where `options.colors` is given; a float for each feature, under its name in the cloud ("intensity" or
/// "feature_0", ... where it has none); int label where there are labels. In ascii every number has the
/// digits that give the same float when read.
/// @throws invalid_argument  the cloud's arrays or the colours do not fit together, two properties would have
/// one name, a name is not one word, or the file cannot be written
///
/// Cost: one pass; the file is put together in memory.
/// Determinism: same cloud, same bytes.
void write_ply(std::string const& path, PointCloud const& cloud, PlyOptions const& options = {});

}  // namespace v0
}  // namespace tessera

#ifdef TESSERA_NEEDS_HOST_BODIES
#include <tessera/io/detail/ply_body.hpp>
#endif
