// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/core/inline.hpp>
#include <tessera/io/detail/printable.hpp>
#include <tessera/io/point_format.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

TESSERA_INLINE ColumnType column_type_of(std::string_view name)
{
  for (std::size_t i = 0; i < std::size(column_types); ++i) {
    if (name == column_types[i].name) { return static_cast<ColumnType>(i); }
  }
  fail("point_format: there is no type ", in_quotes(name),
       "; there are: i1, u1, i2, u2, i4, u4, i8, u8, f4 and f8");
}

TESSERA_INLINE std::vector<PointColumn> float_columns(std::vector<std::string> const& features)
{
  std::vector<PointColumn> columns{{"x"}, {"y"}, {"z"}};
  for (auto const& name : features) { columns.push_back({name}); }
  return columns;
}

TESSERA_INLINE std::vector<PointColumn> columns_of(PointFormat format)
{
  switch (format) {
    case PointFormat::kitti: return float_columns({"intensity"});
    case PointFormat::nuscenes: return float_columns({"intensity", "ring"});
    case PointFormat::xyz: return float_columns({});
    case PointFormat::xyzrgb: return float_columns({"red", "green", "blue"});
    default: return {};
  }
}

TESSERA_INLINE std::vector<PointColumn> unnamed_columns(int number, ColumnType type)
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

TESSERA_INLINE PointReadOptions point_format(std::string_view text)
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
