// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/core/inline.hpp>
#include <tessera/io/detail/bin_detection.hpp>
#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/npy_body.hpp>
#include <tessera/io/detail/npy_header.hpp>
#include <tessera/io/detail/pcd_body.hpp>
#include <tessera/io/detail/pcd_header.hpp>
#include <tessera/io/detail/ply_body.hpp>
#include <tessera/io/detail/point_bin_body.hpp>
#include <tessera/io/detail/point_table.hpp>
#include <tessera/io/npy.hpp>
#include <tessera/io/pcd.hpp>
#include <tessera/io/ply.hpp>
#include <tessera/io/point_bin.hpp>
#include <tessera/io/point_cloud_file.hpp>
#include <tessera/io/point_format.hpp>
#include <tessera/io/raw_tensor.hpp>
#include <tessera/points/point_cloud.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// A file that is no file of points that is read here.
struct UnreadFormat {
  char const* beginning;  ///< or nothing
  char const* ending;     ///< of the name, or nothing
  char const* name;
};

inline constexpr UnreadFormat unread_formats[] = {{"LASF", ".las", "a LAS file"},
                                                  {"LASF", ".laz", "a LAZ file"},
                                                  {"LASF", ".copc.laz", "a LAZ file"},
                                                  {"ASTM-E57", ".e57", "an E57 file"},
                                                  {"\x1f\x8b", ".gz", "a gzip archive"},
                                                  {"PK\x03\x04", ".npz", "a zip archive (npz)"},
                                                  {"#ROSBAG", ".bag", "a ROS bag"},
                                                  {"\x89MCAP0", ".mcap", "an MCAP recording"},
                                                  {"\x89HDF", ".h5", "an HDF5 file"},
                                                  {"SQLite format 3", ".db3", "a ROS 2 bag"},
                                                  {"\xd4\xc3\xb2\xa1", ".pcap", "a capture of packets"},
                                                  {"DRACO", ".drc", "a Draco file"},
                                                  {"", ".pts", "a text of points"},
                                                  {"", ".ptx", "a text of points"},
                                                  {"", ".xyz", "a text of points"},
                                                  {"", ".txt", "a text of points"},
                                                  {"", ".csv", "a text of points"},
                                                  {"", ".asc", "a text of points"},
                                                  {"", ".obj", "an OBJ mesh"},
                                                  {"", ".off", "an OFF mesh"},
                                                  {"", ".stl", "an STL mesh"},
                                                  {"glTF", ".glb", "a glTF file"},
                                                  {"", ".pth", "a checkpoint"},
                                                  {"", ".safetensors", "a checkpoint"}};

[[nodiscard]] inline bool named_as(std::string_view path, std::string_view end)
{
  auto const lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return path.size() >= end.size() &&
         std::equal(end.begin(), end.end(), path.end() - static_cast<std::ptrdiff_t>(end.size()),
                    [&](char a, char b) { return a == lower(b); });
}

[[noreturn]] inline void refuse_unread(std::string_view text, FileContext const& file)
{
  constexpr char const* read = "; read are .bin (KITTI, nuScenes, rows of any columns), .ply, .pcd and .npy";
  auto const refuse = [&](UnreadFormat const& format) {
    file.fail("is ", format.name, ", which is not read here", read,
              "; convert it, e.g. with CloudCompare or PDAL");
  };
  for (auto const& format : unread_formats) {
    std::string_view const beginning{format.beginning};
    if (!beginning.empty() && text.substr(0, beginning.size()) == beginning &&
        named_as(file.path(), format.ending)) {
      refuse(format);
    }
  }
  for (auto const& format : unread_formats) {
    std::string_view const beginning{format.beginning};
    bool const begins = !beginning.empty() && text.substr(0, beginning.size()) == beginning;
    if (begins || named_as(file.path(), format.ending)) { refuse(format); }
  }
  file.fail("is no file of points that is known", read);
}

/// Whether `text` begins as a PCD file does: after comments, with one of the entries of its header.
[[nodiscard]] inline bool begins_as_pcd(std::string_view text)
{
  constexpr std::string_view keys[] = {"VERSION ", "FIELDS ", "COLUMNS "};
  if (text.substr(0, 6) == "# .PCD") { return true; }
  return std::any_of(std::begin(keys), std::end(keys),
                     [&](auto key) { return text.substr(0, key.size()) == key; });
}

/// The format of a file by its beginning, then by its name; of a .bin, `columns`.
[[nodiscard]] inline PointFormat detect_point_format(Bytes const& beginning, FileContext const& file)
{
  std::string_view const text{reinterpret_cast<char const*>(beginning.data()), beginning.size()};
  auto const& path = file.path();
  if (text.substr(0, npy_magic.size()) == npy_magic) { return PointFormat::npy; }
  if (text.substr(0, 4) == "ply\n" || text.substr(0, 4) == "ply\r") { return PointFormat::ply; }
  if (begins_as_pcd(text)) { return PointFormat::pcd; }
  if (named_as(path, ".npy")) { return PointFormat::npy; }
  if (named_as(path, ".ply")) { return PointFormat::ply; }
  if (named_as(path, ".pcd")) { return PointFormat::pcd; }
  if (!named_as(path, ".bin")) { refuse_unread(text, file); }
  for (auto const& format : unread_formats) {
    std::string_view const magic{format.beginning};
    if (magic.size() >= 4 && text.substr(0, magic.size()) == magic) { refuse_unread(text, file); }
  }
  return PointFormat::columns;
}

[[nodiscard]] inline PointCloud point_cloud_of(NpyArray const& array, PointOrigin const& origin,
                                               FileContext const& file)
{
  file.expects(array.shape.size() == 2 && array.shape[1] >= 3 && array.shape[1] <= 1024,
               "is an array of shape ", list(array.shape),
               "; points are an array [num_points, 3 + channels]");
  auto const points = static_cast<std::size_t>(array.shape[0]);
  auto const width = static_cast<std::size_t>(array.shape[1]);
  PointCloud cloud;
  if (array.dtype == DType::float32 && !origin) {
    cloud = cloud_of_floats(array.bytes.data(), points, width);
  } else {
    // Halfs, small integers and truth values are floats; what is larger may need an origin.
    auto const type = array.dtype == DType::float64 ? ColumnType::float64
                      : array.dtype == DType::int64 ? ColumnType::int64
                      : array.dtype == DType::int32 ? ColumnType::int32
                                                    : ColumnType::float32;
    PointTable table{unnamed_columns(static_cast<int>(width), type), points, origin, file};
    auto const tensor = array.tensor();
    for (std::size_t i = 0; i < points * width; ++i) {
      double const value = type == ColumnType::float32
                               ? static_cast<double>(element_to_float(tensor, i))
                               : column_value(type, array.bytes.data() + i * size_of(array.dtype));
      table.put(i % width, i / width, value);
    }
    cloud = table.finish();
  }
  cloud.feature_names.clear();
  if (cloud.channels == 1) { cloud.feature_names = {"intensity"}; }
  return cloud;
}

/// The format of the options, or that of the content where they leave it open; of a .bin with its columns.
[[nodiscard]] inline PointReadOptions decide_format(PointReadOptions options, Bytes const& bytes,
                                                    FileContext const& file)
{
  if (options.format == PointFormat::detect) { options.format = detect_point_format(bytes, file); }
  if (options.format == PointFormat::columns && options.columns.empty()) {
    options.format = detect_bin(bytes, named_as(file.path(), ".pcd.bin"), file);
  }
  if (options.format != PointFormat::columns) { options.columns = columns_of(options.format); }
  return options;
}

[[nodiscard]] inline PointCloud parse_points(Bytes const& bytes, PointReadOptions const& given,
                                             FileContext const& file)
{
  auto const options = decide_format(given, bytes, file);
  switch (options.format) {
    case PointFormat::npy: return point_cloud_of(parse_npy(bytes, file), options.origin, file);
    case PointFormat::ply: return parse_ply(bytes, file, options.origin);
    case PointFormat::pcd: return parse_pcd(bytes, file, options.origin);
    default: return parse_point_bin(bytes, options.columns, options.origin, file);
  }
}

inline void check_number_of_points(std::uintmax_t points, PointReadOptions const& options,
                                   FileContext const& file)
{
  file.expects(options.max_points >= 0 && points <= static_cast<std::uintmax_t>(options.max_points), "has ",
               points, " points, which are more than the ", options.max_points, " that may be read");
}

/// Points of a file by its header or, of rows of numbers, its size; nothing where neither tells.
[[nodiscard]] inline std::optional<std::uintmax_t> number_of_points(InputFile const& input,
                                                                    PointFormat format,
                                                                    PointReadOptions const& options,
                                                                    FileContext const& file)
{
  auto const& bytes = input.beginning();
  if (format == PointFormat::npy) {
    auto const shape = parse_npy_header(bytes, file).shape;
    return shape.empty() ? std::nullopt : std::optional{static_cast<std::uintmax_t>(shape[0])};
  }
  if (format == PointFormat::pcd) {
    std::string_view const text{reinterpret_cast<char const*>(bytes.data()), bytes.size()};
    return PcdHeaderParser{text, file}.parse().points;
  }
  if (format == PointFormat::ply) {
    for (auto const& element : parse_ply_header(bytes, file).elements) {
      if (element.name == "vertex") { return element.count; }
    }
    return std::nullopt;
  }
  std::size_t width = 0;
  for (auto const& column : format == PointFormat::columns ? options.columns : columns_of(format)) {
    width += size_of(column.type);
  }
  auto const size = input.size();
  return width > 0 && size ? std::optional{*size / width} : std::nullopt;
}

/// Refuses a file by its beginning where that suffices, so that little of it is read.
inline void check_points_beginning(InputFile const& input, PointReadOptions const& options,
                                   FileContext const& file)
{
  auto const& bytes = input.beginning();
  auto const format =
      options.format == PointFormat::detect ? detect_point_format(bytes, file) : options.format;
  auto const size = input.size();
  if (options.max_points != PointReadOptions{}.max_points) {
    if (auto const points = number_of_points(input, format, options, file)) {
      check_number_of_points(*points, options, file);
    }
  }
  if (format == PointFormat::npy && size) { static_cast<void>(check_npy(bytes, *size, file)); }
  if (format == PointFormat::ply) { check_ply_beginning(input, file); }
  if (format == PointFormat::pcd && size) { static_cast<void>(check_pcd(bytes, *size, file)); }
  if (format == PointFormat::columns && options.columns.empty() && size != bytes.size()) {
    file.expects(std::any_of(bytes.begin(), bytes.end(), [](auto byte) { return byte != 0; }), "begins with ",
                 bytes.size(), " bytes of zero, as no scan of KITTI or nuScenes does", how_to_name_a_format);
  }
}

}  // namespace detail

TESSERA_INLINE PointCloud read_point_cloud(std::string const& path, PointReadOptions options)
{
  detail::FileContext const file{"read_point_cloud", path};
  bool const has_columns = !options.columns.empty();
  if (has_columns && options.format == PointFormat::detect) { options.format = PointFormat::columns; }
  file.expects(has_columns == (options.format == PointFormat::columns),
               has_columns ? "columns were given with a format that has its own"
                           : "PointFormat::columns was given without columns");
  detail::InputFile input{file, detail::max_file_bytes,
                          options.pipes ? detail::Pipes::read : detail::Pipes::refused};
  detail::check_points_beginning(input, options, file);
  auto cloud = detail::parse_points(std::move(input).all(), options, file);
  detail::check_number_of_points(static_cast<std::uintmax_t>(cloud.size()), options, file);
  return cloud;
}

TESSERA_INLINE PointCloud read_point_cloud(std::string const& path, PointFormat format)
{
  PointReadOptions options;
  options.format = format;
  return read_point_cloud(path, options);
}

}  // namespace v0
}  // namespace tessera
