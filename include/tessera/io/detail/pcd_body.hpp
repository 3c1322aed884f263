// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/inline.hpp>
#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/lzf.hpp>
#include <tessera/io/detail/pcd_header.hpp>
#include <tessera/io/detail/point_table.hpp>
#include <tessera/io/detail/text_rows.hpp>
#include <tessera/io/pcd.hpp>
#include <tessera/io/point_format.hpp>
#include <tessera/points/point_cloud.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Where the numbers of a field go.
struct PcdTarget {
  std::size_t column = 0;  ///< of the first number
  int colors = 0;          ///< 3 or 4: its four bytes are blue, green, red and alpha
};

/// The columns of a table for the fields: each number of a field has one, a packed colour has three or four.
class PcdColumns {
 public:
  explicit PcdColumns(PcdHeader const& header)
  {
    for (auto const& field : header.fields) {
      PcdTarget target{columns_.size(), 0};
      if (field.count == 1 && size_of(field.type) == 4 && (field.name == "rgb" || field.name == "rgba")) {
        target.colors = static_cast<int>(field.name.size());
        for (char const* const color : {"red", "green", "blue", "alpha"}) {
          if (field.name.size() > columns_.size() - target.column) {
            columns_.push_back({color, ColumnType::uint8});
          }
        }
      } else {
        for (std::size_t i = 0; i < field.count; ++i) { columns_.push_back({name_of(field, i), field.type}); }
      }
      targets_.push_back(target);
    }
  }

  [[nodiscard]] std::vector<PointColumn> const& columns() const noexcept { return columns_; }

  /// Number `index` of a field; `bits` are its four bytes where it is a packed colour.
  template <class Bits>
  void put(PointTable& table, std::size_t field, std::size_t index, std::size_t row, double value,
           Bits const& bits) const
  {
    auto const& target = targets_[field];
    if (target.colors == 0) {
      table.put(target.column + index, row, value);
      return;
    }
    std::uint32_t const color = bits();
    for (int i = 0; i < target.colors; ++i) {
      auto const shift = i < 3 ? 16 - 8 * i : 24;
      table.put(target.column + static_cast<std::size_t>(i), row, static_cast<double>(color >> shift & 255U));
    }
  }

 private:
  /// Padding has no name, and the numbers of a field of several have the field's and their own number.
  [[nodiscard]] static std::string name_of(PcdField const& field, std::size_t index)
  {
    if (field.name == "_") { return {}; }
    return field.count == 1 ? field.name : concat(field.name, '_', index);
  }

  std::vector<PointColumn> columns_;
  std::vector<PcdTarget> targets_;
};

inline void read_pcd_text(std::string_view text, PcdHeader const& header, PcdColumns const& columns,
                          PointTable& table, FileContext const& file)
{
  TextRows rows{text};
  std::string const element{"point"};
  for (RowPlace place{file, element, 0}; place.row < header.points; ++place.row) {
    rows.begin_row(place);
    for (std::size_t f = 0; f < header.fields.size(); ++f) {
      auto const& field = header.fields[f];
      for (std::size_t i = 0; i < field.count; ++i) {
        double const value = rows.number(field.type, place);
        columns.put(table, f, i, static_cast<std::size_t>(place.row), value, [&]() -> std::uint32_t {
          if (field.type == ColumnType::float32) {
            float const color = round_to_float(value);
            return load_bytes<std::uint32_t>(reinterpret_cast<std::uint8_t const*>(&color));
          }
          return static_cast<std::uint32_t>(static_cast<std::int64_t>(value));
        });
      }
    }
    rows.end_row(place);
  }
  file.expects(rows.at_end(), "goes on after its last point");
}

/// @param by_field  whether all numbers of the first field come first, not all of the first point
inline void read_pcd_numbers(std::uint8_t const* from, bool by_field, PcdHeader const& header,
                             PcdColumns const& columns, PointTable& table)
{
  auto const points = static_cast<std::size_t>(header.points);
  auto const row_bytes = header.bytes_per_point();
  std::size_t before = 0;  // bytes of a point that are of the fields before
  for (std::size_t f = 0; f < header.fields.size(); ++f) {
    auto const& field = header.fields[f];
    auto const size = size_of(field.type);
    auto const step = by_field ? field.count * size : row_bytes;
    auto const* const first = from + (by_field ? before * points : before);
    for (std::size_t row = 0; row < points; ++row) {
      for (std::size_t i = 0; i < field.count; ++i) {
        auto const* const at = first + row * step + i * size;
        columns.put(table, f, i, row, column_value(field.type, at),
                    [at] { return load_bytes<std::uint32_t>(at); });
      }
    }
    before += field.count * size;
  }
}

/// The numbers of a compressed file, field by field: two sizes, then LZF.
[[nodiscard]] inline Bytes decompress_pcd(std::string_view data, std::size_t size, FileContext const& file)
{
  file.expects(data.size() >= 8, "ends within the sizes of its compressed data");
  auto const* const sizes = reinterpret_cast<std::uint8_t const*>(data.data());
  std::size_t const packed = load_bytes<std::uint32_t>(sizes);
  std::size_t const unpacked = load_bytes<std::uint32_t>(sizes + 4);
  file.expects(packed <= data.size() - 8, "claims ", packed, " bytes of compressed data, but only ",
               data.size() - 8, " follow");
  file.expects(unpacked == size, "claims ", unpacked, " bytes when decompressed, but its points need ", size);
  file.expects(unpacked / most_lzf_growth <= packed, "claims ", unpacked, " bytes in ", packed,
               " compressed ones, more than LZF can hold");
  Bytes bytes;
  file.expects(decompress_lzf(data.substr(8, packed), size, bytes), "its compressed data are damaged");
  file.expects(data.find_first_not_of(std::string_view{" \t\r\n\0", 5}, 8 + packed) == data.npos,
               "goes on after its compressed data");
  return bytes;
}

/// Refuses a file by its header and size, before memory is taken for what it claims.
[[nodiscard]] inline PcdHeader check_pcd(Bytes const& bytes, std::uintmax_t size, FileContext const& file)
{
  std::string_view const text{reinterpret_cast<char const*>(bytes.data()), bytes.size()};
  auto header = PcdHeaderParser{text, file}.parse();
  auto const left = size - header.data_begin;
  if (header.data == PcdData::binary_compressed) {
    auto const most = left * most_lzf_growth / header.bytes_per_point();
    file.expects(header.points <= most, "claims ", header.points, " points of ", header.bytes_per_point(),
                 " bytes, more than ", left, " compressed bytes can hold");
    return header;
  }
  bool const is_text = header.data == PcdData::ascii;
  auto const least = is_text ? 2 * header.numbers_per_point() : header.bytes_per_point();
  file.expects(header.points <= (left + (is_text ? 1 : 0)) / least, "claims ", header.points,
               " points, each of at least ", least, " bytes, but only ", left, " bytes follow");
  return header;
}

[[nodiscard]] inline PointCloud parse_pcd(Bytes const& bytes, FileContext const& file,
                                          PointOrigin const& origin = {})
{
  auto const header = check_pcd(bytes, bytes.size(), file);
  PcdColumns const columns{header};
  std::string_view const text{reinterpret_cast<char const*>(bytes.data()), bytes.size()};
  auto const data = text.substr(header.data_begin);
  auto const size = static_cast<std::size_t>(header.points) * header.bytes_per_point();
  Bytes unpacked;
  if (header.data == PcdData::binary_compressed && size > 0) { unpacked = decompress_pcd(data, size, file); }
  PointTable table{columns.columns(), static_cast<std::size_t>(header.points), origin, file};
  if (header.data == PcdData::ascii) {
    read_pcd_text(data, header, columns, table, file);
  } else if (header.data == PcdData::binary) {
    file.expects(data.find_first_not_of(std::string_view{" \t\r\n\0", 5}, size) == data.npos,
                 "goes on after its last point");
    read_pcd_numbers(bytes.data() + header.data_begin, false, header, columns, table);
  } else {
    read_pcd_numbers(unpacked.data(), true, header, columns, table);
  }
  return table.finish();
}

}  // namespace detail

TESSERA_INLINE PointCloud read_pcd(std::string const& path, PointOrigin const& origin)
{
  detail::FileContext const file{"read_pcd", path};
  detail::InputFile input{file};
  if (input.size()) { static_cast<void>(detail::check_pcd(input.beginning(), *input.size(), file)); }
  return detail::parse_pcd(std::move(input).all(), file, origin);
}

}  // namespace v0
}  // namespace tessera
