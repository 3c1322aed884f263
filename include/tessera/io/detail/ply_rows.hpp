// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/ply_header.hpp>
#include <tessera/io/detail/point_table.hpp>
#include <tessera/io/detail/text_rows.hpp>
#include <tessera/io/point_format.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The numbers of a binary file.
class PlyBinary {
 public:
  PlyBinary(std::string_view bytes, bool big_endian) : bytes_{bytes}, big_endian_{big_endian} {}

  [[nodiscard]] std::size_t left() const noexcept { return bytes_.size(); }

  void begin_row(RowPlace const&) const noexcept {}
  void end_row(RowPlace const&) const noexcept {}

  [[nodiscard]] double number(ColumnType type, RowPlace const& place)
  {
    auto const size = size_of(type);
    if (bytes_.size() < size) { place.fail("the file ends within it"); }
    std::array<std::uint8_t, 8> bytes{};
    for (std::size_t i = 0; i < size; ++i) {
      bytes[big_endian_ ? size - 1 - i : i] = static_cast<std::uint8_t>(bytes_[i]);
    }
    bytes_.remove_prefix(size);
    return column_value(type, bytes.data());
  }

  void skip(ColumnType type, std::uint64_t count, RowPlace const& place)
  {
    auto const size = size_of(type);  // count < 2^32, so that the product below fits
    if (bytes_.size() < count * size) { place.fail("a list of ", count, " values is longer than the file"); }
    bytes_.remove_prefix(static_cast<std::size_t>(count * size));
  }

  /// Line breaks may follow the last row: some editors and writers add one.
  [[nodiscard]] bool at_end() const { return bytes_.find_first_not_of(" \t\r\n") == std::string_view::npos; }

 private:
  std::string_view bytes_;
  bool big_endian_;
};

/// Calls use(property, value) for every scalar of every row of `element`; lists are skipped.
template <class Source, class Use>
void read_ply_rows(Source& source, PlyElement const& element, FileContext const& file, Use const& use)
{
  for (RowPlace place{file, element.name, 0}; place.row < element.count; ++place.row) {
    source.begin_row(place);
    for (std::size_t i = 0; i < element.properties.size(); ++i) {
      auto const& property = element.properties[i];
      if (!property.is_list) {
        use(i, source.number(property.type, place), place);
        continue;
      }
      double const count = source.number(property.count_type, place);
      if (count < 0.0) { place.fail("a list of ", count, " values"); }
      source.skip(property.type, static_cast<std::uint64_t>(count), place);
    }
    source.end_row(place);
  }
}

/// Fewest bytes of a row, were a line break added at the end of a text.
[[nodiscard]] inline std::size_t least_row(PlyElement const& element, bool is_text)
{
  if (is_text) { return 2 * element.properties.size(); }
  std::size_t bytes = 0;
  for (auto const& property : element.properties) {
    bytes += size_of(property.is_list ? property.count_type : property.type);
  }
  return bytes;
}

/// Throws unless the rows that `element` claims can be in what is left, whatever they hold.
inline void check_ply_count(PlyElement const& element, bool is_text, std::uintmax_t left,
                            FileContext const& file)
{
  auto const least = least_row(element, is_text);
  if (element.count > 0 && element.count > left / least) {
    file.fail("claims ", element.count, " rows of element ", in_quotes(element.name), ", each of at least ",
              least, " bytes, but only ", left, " bytes are left");
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
