// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/core/inline.hpp>
#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/point_table.hpp>
#include <tessera/io/point_bin.hpp>
#include <tessera/io/point_format.hpp>
#include <tessera/points/point_cloud.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Rows of `width` floats, positions first.
[[nodiscard]] inline PointCloud cloud_of_floats(std::uint8_t const* bytes, std::size_t points,
                                                std::size_t width)
{
  PointCloud cloud;
  cloud.channels = static_cast<int>(width) - 3;
  cloud.positions.resize(3 * points);
  cloud.features.resize((width - 3) * points);
  for (std::size_t i = 0; i < points; ++i) {
    auto const* const row = bytes + 4 * width * i;
    std::memcpy(cloud.positions.data() + 3 * i, row, 12);
    if (width > 3) { std::memcpy(cloud.features.data() + (width - 3) * i, row + 12, 4 * (width - 3)); }
  }
  return cloud;
}

/// Whether the columns are floats x, y, z and then features.
[[nodiscard]] inline bool are_plain_floats(std::vector<PointColumn> const& columns)
{
  for (std::size_t i = 0; i < columns.size(); ++i) {
    auto const& [name, type] = columns[i];
    if (type != ColumnType::float32 || name == "label" || name == "_") { return false; }
    if ((i < 3) != (name.size() == 1 && name[0] == static_cast<char>('x' + i % 3))) { return false; }
  }
  return true;
}

[[nodiscard]] inline PointCloud parse_point_bin(Bytes const& bytes, std::vector<PointColumn> columns,
                                                PointOrigin const& origin, FileContext const& file)
{
  file.expects(columns.size() >= 3 && columns.size() <= 1024, "rows of ", columns.size(),
               " columns; 3 to 1024 are possible");
  std::size_t width = 0;
  bool floats = true;
  for (auto const& column : columns) {
    width += size_of(column.type);
    floats = floats && column.type == ColumnType::float32;
  }
  file.expects(bytes.size() % width == 0, "holds ", bytes.size(), " bytes, which is no multiple of the ",
               width, " bytes of a point with ", columns.size(), floats ? " float columns" : " columns");
  auto const points = bytes.size() / width;
  for (auto& column : columns) {
    if (column.name == "_") { column.name.clear(); }
  }
  PointTable table{columns, are_plain_floats(columns) && !origin ? 0 : points, origin, file};
  if (are_plain_floats(columns) && !origin) {
    auto cloud = cloud_of_floats(bytes.data(), points, columns.size());
    cloud.feature_names = table.finish().feature_names;
    return cloud;
  }
  auto const* from = bytes.data();
  for (std::size_t row = 0; row < points; ++row) {
    for (std::size_t i = 0; i < columns.size(); ++i) {
      table.put(i, row, column_value(columns[i].type, from));
      from += size_of(columns[i].type);
    }
  }
  return table.finish();
}

}  // namespace detail

TESSERA_INLINE PointCloud read_point_bin(std::string const& path, std::vector<PointColumn> const& columns,
                                         PointOrigin const& origin)
{
  detail::FileContext const file{"read_point_bin", path};
  return detail::parse_point_bin(detail::read_file(file), columns, origin, file);
}

TESSERA_INLINE PointCloud read_point_bin(std::string const& path, int columns,
                                         std::vector<std::string> feature_names)
{
  detail::FileContext const file{"read_point_bin", path};
  file.expects(columns >= 3 && columns <= 1024, "rows of ", columns, " columns; 3 to 1024 are possible");
  file.expects(feature_names.empty() || feature_names.size() == static_cast<std::size_t>(columns) - 3,
               "rows of ", columns, " columns with ", feature_names.size(), " feature names");
  auto cloud = detail::parse_point_bin(
      detail::read_file(file), detail::unnamed_columns(columns, ColumnType::float32), std::nullopt, file);
  cloud.feature_names = std::move(feature_names);
  return cloud;
}

TESSERA_INLINE PointCloud read_kitti(std::string const& path)
{
  detail::FileContext const file{"read_kitti", path};
  return detail::parse_point_bin(detail::read_file(file), detail::columns_of(PointFormat::kitti),
                                 std::nullopt, file);
}

TESSERA_INLINE PointCloud read_nuscenes(std::string const& path)
{
  detail::FileContext const file{"read_nuscenes", path};
  return detail::parse_point_bin(detail::read_file(file), detail::columns_of(PointFormat::nuscenes),
                                 std::nullopt, file);
}

TESSERA_INLINE void write_point_bin(std::string const& path, PointCloud const& cloud)
{
  cloud.check("write_point_bin");
  detail::FileContext const file{"write_point_bin", path};
  file.expects(!cloud.has_origin(),
               "the cloud has an origin, which floats cannot hold; write_ply() can, and an origin of zero "
               "leaves it out");
  auto const channels = static_cast<std::size_t>(cloud.channels);
  std::vector<float> rows;
  rows.reserve(cloud.positions.size() + cloud.features.size());
  for (std::size_t i = 0; i < static_cast<std::size_t>(cloud.size()); ++i) {
    for (std::size_t k = 0; k < 3; ++k) { rows.push_back(cloud.positions[3 * i + k]); }
    for (std::size_t k = 0; k < channels; ++k) { rows.push_back(cloud.features[channels * i + k]); }
  }
  detail::AtomicFile to{file};
  to.write(rows.data(), rows.size() * sizeof(float));
  to.commit();
}

}  // namespace v0
}  // namespace tessera
