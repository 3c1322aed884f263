// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/io/detail/printable.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
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

[[nodiscard]] inline ColumnType column_type_of(std::string_view name)
{
  for (std::size_t i = 0; i < std::size(column_types); ++i) {
    if (name == column_types[i].name) { return static_cast<ColumnType>(i); }
  }
  fail("point_format: there is no type ", in_quotes(name),
       "; there are: i1, u1, i2, u2, i4, u4, i8, u8, f4 and f8");
}

/// Columns of floats: x, y, z and these features.
[[nodiscard]] inline std::vector<PointColumn> float_columns(std::vector<std::string> const& features)
{
  std::vector<PointColumn> columns{{"x"}, {"y"}, {"z"}};
  for (auto const& name : features) { columns.push_back({name}); }
  return columns;
}

/// The columns of a format that is rows of numbers and nothing else; none of another.
[[nodiscard]] inline std::vector<PointColumn> columns_of(PointFormat format)
{
  switch (format) {
    case PointFormat::kitti: return float_columns({"intensity"});
    case PointFormat::nuscenes: return float_columns({"intensity", "ring"});
    case PointFormat::xyz: return float_columns({});
    case PointFormat::xyzrgb: return float_columns({"red", "green", "blue"});
    default: return {};
  }
}

/// `number` columns of one type, positions first.
[[nodiscard]] inline std::vector<PointColumn> unnamed_columns(int number, ColumnType type)
{
  expects(number >= 3 && number <= 1024, "point_format: rows of ", number,
          " columns; 3 to 1024 are possible");
  std::vector<std::string> features;
  if (number == 4) { features = {"intensity"}; }
  for (int i = static_cast<int>(features.size()); i < number - 3; ++i) {
    features.push_back(concat("feature_", i));
  }
  auto columns = float_columns(features);
  for (auto& column : columns) { column.type = type; }
  return columns;
}

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
[[nodiscard]] inline PointReadOptions point_format(std::string_view text)
{
  constexpr std::string_view names[] = {"detect", "kitti", "nuscenes", "ply", "npy", "pcd", "xyz", "xyzrgb"};
  PointReadOptions options;
  for (std::size_t i = 0; i < std::size(names); ++i) {
    if (text != names[i]) { continue; }
    options.format = static_cast<PointFormat>(i);
    return options;
  }
  options.format = PointFormat::columns;
  auto const split = [](std::string_view word) {
    auto const colon = word.find(':');
    auto const type = colon == std::string_view::npos ? ColumnType::float32
                                                      : detail::column_type_of(word.substr(colon + 1));
    return std::pair{word.substr(0, colon), type};
  };
  int number = 0;
  auto const [first, type] = split(text.substr(0, text.find(',')));
  auto const [end, error] = std::from_chars(first.data(), first.data() + first.size(), number);
  if (error == std::errc{} && end == first.data() + first.size() && text.find(',') == text.npos) {
    options.columns = detail::unnamed_columns(number, type);
    return options;
  }
  detail::expects(text.find(',') != text.npos, "point_format: there is no format ", detail::in_quotes(text),
                  "; there are: detect, kitti, nuscenes, ply, npy, pcd, xyz, xyzrgb, a number of columns (5, "
                  "4:f8), and names of columns (x,y,z,intensity:u1)");
  for (std::size_t at = 0; at <= text.size();) {
    auto const stop = std::min(text.find(',', at), text.size());
    auto const [name, its_type] = split(text.substr(at, stop - at));
    detail::expects(!name.empty(), "point_format: ", detail::in_quotes(text), " has a column without a name");
    options.columns.push_back({std::string{name}, its_type});
    at = stop + 1;
  }
  return options;
}

}  // namespace v0
}  // namespace tessera
