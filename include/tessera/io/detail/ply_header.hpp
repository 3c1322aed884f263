// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/header_lines.hpp>
#include <tessera/io/ply_format.hpp>
#include <tessera/io/point_format.hpp>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// A name of a type; those of 64 bits are not in the description of the format, but in files.
struct PlyTypeName {
  char const* name;
  ColumnType type;
};

inline constexpr PlyTypeName ply_types[] = {
    {"char", ColumnType::int8},      {"int8", ColumnType::int8},       {"uchar", ColumnType::uint8},
    {"uint8", ColumnType::uint8},    {"short", ColumnType::int16},     {"int16", ColumnType::int16},
    {"ushort", ColumnType::uint16},  {"uint16", ColumnType::uint16},   {"int", ColumnType::int32},
    {"int32", ColumnType::int32},    {"uint", ColumnType::uint32},     {"uint32", ColumnType::uint32},
    {"int64", ColumnType::int64},    {"long", ColumnType::int64},      {"longlong", ColumnType::int64},
    {"uint64", ColumnType::uint64},  {"ulong", ColumnType::uint64},    {"ulonglong", ColumnType::uint64},
    {"float", ColumnType::float32},  {"float32", ColumnType::float32}, {"double", ColumnType::float64},
    {"float64", ColumnType::float64}};

struct PlyProperty {
  std::string name;
  ColumnType type = ColumnType::float32;
  bool is_list = false;
  ColumnType count_type = ColumnType::uint8;  ///< of a list
};

struct PlyElement {
  std::string name;
  std::uint64_t count = 0;
  std::vector<PlyProperty> properties;
};

struct PlyHeader {
  PlyFormat format = PlyFormat::ascii;
  std::vector<PlyElement> elements;
  std::size_t data_begin = 0;
};

class PlyHeaderParser {
 public:
  PlyHeaderParser(std::string_view text, FileContext const& file)
      : text_{text}, lines_{text, "PLY", "end_header", file}, file_{file}
  {}

  [[nodiscard]] PlyHeader parse()
  {
    file_.expects(text_.substr(0, 3) == "ply", "does not begin as a PLY file does");
    if (lines_.next() != "ply") { lines_.fail("more than the word 'ply'"); }
    bool has_format = false;
    for (;;) {
      auto const words = split_words(lines_.next());
      if (words.empty() || words[0] == "comment" || words[0] == "obj_info") { continue; }
      if (words[0] == "end_header") { break; }
      if (words[0] == "format") {
        if (has_format) { lines_.fail("a second format"); }
        format(words);
        has_format = true;
      } else if (words[0] == "element") {
        element(words);
      } else if (words[0] == "property") {
        property(words);
      } else {
        lines_.fail("the unknown keyword ", in_quotes(words[0]));
      }
    }
    if (!has_format) { lines_.fail("no format was given"); }
    for (auto const& known : header_.elements) {
      if (known.properties.empty() && known.count > 0) {
        lines_.fail("the element ", in_quotes(known.name), " has no properties");
      }
    }
    header_.data_begin = lines_.position();
    return std::move(header_);
  }

 private:
  void format(std::vector<std::string_view> const& words)
  {
    if (words.size() != 3 || words[2] != "1.0") { lines_.fail("a format is a name and the version 1.0"); }
    if (words[1] == "ascii") {
      header_.format = PlyFormat::ascii;
    } else if (words[1] == "binary_little_endian") {
      header_.format = PlyFormat::binary_little_endian;
    } else if (words[1] == "binary_big_endian") {
      header_.format = PlyFormat::binary_big_endian;
    } else {
      lines_.fail("the unknown format ", in_quotes(words[1]));
    }
  }

  void element(std::vector<std::string_view> const& words)
  {
    PlyElement added;
    if (words.size() != 3) { lines_.fail("an element is a name and a count"); }
    added.name = words[1];
    auto const* const end = words[2].data() + words[2].size();
    auto const [stop, error] = std::from_chars(words[2].data(), end, added.count);
    if (error != std::errc{} || stop != end) {
      lines_.fail("the count ", in_quotes(words[2]), " of element ", in_quotes(words[1]),
                  " is no whole number of at least 0");
    }
    for (auto const& known : header_.elements) {
      if (known.name == added.name) { lines_.fail("a second element ", in_quotes(words[1])); }
    }
    header_.elements.push_back(std::move(added));
  }

  [[nodiscard]] ColumnType type(std::string_view name) const
  {
    for (auto const& known : ply_types) {
      if (name == known.name) { return known.type; }
    }
    lines_.fail("the unknown type ", in_quotes(name));
  }

  void property(std::vector<std::string_view> const& words)
  {
    if (header_.elements.empty()) { lines_.fail("a property before the first element"); }
    PlyProperty added;
    added.is_list = words.size() > 1 && words[1] == "list";
    if (words.size() != (added.is_list ? 5U : 3U)) {
      lines_.fail("a property is a type and a name, or 'list', two types and a name");
    }
    if (added.is_list) {
      added.count_type = type(words[2]);
      if (!is_integer(added.count_type)) { lines_.fail("a list whose count is no whole number"); }
    }
    added.type = type(words[words.size() - 2]);
    added.name = words.back();
    auto& properties = header_.elements.back().properties;
    for (auto const& known : properties) {
      if (known.name == added.name) { lines_.fail("a second property ", in_quotes(added.name)); }
    }
    properties.push_back(std::move(added));
  }

  std::string_view text_;
  HeaderLines lines_;
  FileContext const& file_;
  PlyHeader header_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
