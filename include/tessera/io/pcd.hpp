// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/inline.hpp>
#include <tessera/io/point_format.hpp>
#include <tessera/points/point_cloud.hpp>

#include <string>

namespace tessera {
inline namespace v0 {

/// Reads a PCD file of the Point Cloud Library: ascii, binary or binary_compressed.
///
/// The fields x, y, z become the positions; `label` becomes the labels where every one is a 32-bit whole
/// number; `rgb` and `rgba` of four bytes become the channels red, green, blue (and alpha), 0 to 255; fields
/// called `_` are passed over; every other field becomes a feature channel of its name, one of COUNT n
/// becomes n of the names name_0, name_1, .... An organized cloud is read row by row, its NaN points too.
/// VIEWPOINT is not applied.
/// @param origin  what is subtracted from the positions; PointCloud::origin says what happens without one
/// @throws invalid_argument  the file cannot be read, breaks the format, lacks x, y or z, claims more points
/// than it can hold, or its positions need an origin and none fits them all
///
/// Cost: one pass over the file, which is in memory as a whole, decompressed (up to 88 times as large) too.
/// Source: Point Cloud Library, "The PCD (Point Cloud Data) file format", version 0.7.
[[nodiscard]] PointCloud read_pcd(std::string const& path, PointOrigin const& origin = {});

}  // namespace v0
}  // namespace tessera

#ifdef TESSERA_NEEDS_HOST_BODIES
#include <tessera/io/detail/pcd_body.hpp>
#endif
