// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/inline.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {
inline namespace v0 {

/// What a file of points is; `detect` leaves it to the file's content and name. The rows of a .bin are:
///
/// | format   | a point                                       | bytes  |
/// |----------|-----------------------------------------------|--------|
/// | kitti    | float x, y, z, intensity                      | 16     |
/// | nuscenes | float x, y, z, intensity, ring                | 20     |
/// | xyz      | float x, y, z                                 | 12     |
/// | xyzrgb   | float x, y, z, red, green, blue               | 24     |
/// | columns  | the columns that are given with it            | theirs |
enum class PointFormat : std::uint8_t { detect, kitti, nuscenes, ply, npy, pcd, xyz, xyzrgb, columns };

/// The type of a number in a file, little-endian in a .bin.
enum class ColumnType : std::uint8_t {
  int8,
  uint8,
  int16,
  uint16,
  int32,
  uint32,
  int64,
  uint64,
  float32,
  float64
};

/// One number of each point in a .bin: x, y, z are its position, `label` its class, `_` is passed over, and
/// any other name is that of a feature channel.
struct PointColumn {
  std::string name;
  ColumnType type = ColumnType::float32;
};

/// What the caller of a reader wants subtracted from the positions, in metres and in double, before they are
/// rounded to float; nothing leaves it to the reader, see PointCloud::origin.
using PointOrigin = std::optional<std::array<double, 3>>;

/// How a file of points is read.
struct PointReadOptions {
  PointFormat format = PointFormat::detect;
  std::vector<PointColumn> columns;  ///< of PointFormat::columns, which they alone mean too
  PointOrigin origin;
  /// Files of more points are refused; where a header or the size of the file tells their number, before they are
  /// read.
  std::int64_t max_points = std::numeric_limits<std::int64_t>::max();
  /// Whether a pipe is read. Whoever opens one waits for its other end: among many files it is refused instead.
  bool pipes = true;
};

namespace detail {

struct ColumnTypeName {
  char const* name;       ///< as NumPy's
  char const* long_name;  ///< as C's
  std::size_t bytes;
};

/// In the order of ColumnType.
inline constexpr ColumnTypeName column_types[] = {
    {"i1", "char", 1}, {"u1", "uchar", 1}, {"i2", "short", 2},  {"u2", "ushort", 2}, {"i4", "int", 4},
    {"u4", "uint", 4}, {"i8", "int64", 8}, {"u8", "uint64", 8}, {"f4", "float", 4},  {"f8", "double", 8}};

[[nodiscard]] inline std::size_t size_of(ColumnType type) noexcept
{
  return column_types[static_cast<std::size_t>(type)].bytes;
}

[[nodiscard]] inline bool is_integer(ColumnType type) noexcept
{
  return type < ColumnType::float32;
}

[[nodiscard]] ColumnType column_type_of(std::string_view name);

/// Columns of floats: x, y, z and these features.
[[nodiscard]] std::vector<PointColumn> float_columns(std::vector<std::string> const& features);

/// The columns of a format that is rows of numbers and nothing else; none of another.
[[nodiscard]] std::vector<PointColumn> columns_of(PointFormat format);

/// `number` columns of one type, positions first.
[[nodiscard]] std::vector<PointColumn> unnamed_columns(int number, ColumnType type);

}  // namespace detail

/// The format that a text names, for command lines:
///
/// - `detect`, `kitti`, `nuscenes`, `ply`, `npy`, `pcd`, `xyz`, `xyzrgb`
/// - a number of columns and their type: `5`, `4:f8`
/// - the names of the columns, each with its type where that is not f4: `x,y,z,intensity:u1,_:u1,ring:u2`
///
/// Types are NumPy's: i1, u1, i2, u2, i4, u4, i8, u8, f4, f8.
/// @throws invalid_argument  the text is none of these
/// Cost: one pass over the text.
[[nodiscard]] PointReadOptions point_format(std::string_view text);

}  // namespace v0
}  // namespace tessera

#ifdef TESSERA_NEEDS_HOST_BODIES
#include <tessera/io/detail/point_format_body.hpp>
#endif
