// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/io/detail/file.hpp>

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

/// How the numbers of a PLY file are written.
enum class PlyFormat : std::uint8_t { ascii, binary_little_endian, binary_big_endian };

namespace detail {

enum class PlyType : std::uint8_t { int8, uint8, int16, uint16, int32, uint32, float32, float64 };

struct PlyTypeName {
  char const* name;
  char const* other_name;
  PlyType type;
  std::size_t bytes;
};

/// In the order of PlyType.
inline constexpr PlyTypeName ply_types[] = {
    {"char", "int8", PlyType::int8, 1},        {"uchar", "uint8", PlyType::uint8, 1},
    {"short", "int16", PlyType::int16, 2},     {"ushort", "uint16", PlyType::uint16, 2},
    {"int", "int32", PlyType::int32, 4},       {"uint", "uint32", PlyType::uint32, 4},
    {"float", "float32", PlyType::float32, 4}, {"double", "float64", PlyType::float64, 8}};

[[nodiscard]] inline std::size_t size_of(PlyType type) noexcept
{
  return ply_types[static_cast<std::size_t>(type)].bytes;
}

struct PlyProperty {
  std::string name;
  PlyType type = PlyType::float32;
  bool is_list = false;
  PlyType count_type = PlyType::uint8;  ///< of a list
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

/// Longest header that is read.
inline constexpr std::size_t max_ply_header = std::size_t{1} << 16;

[[nodiscard]] inline std::vector<std::string_view> split_words(std::string_view line)
{
  constexpr std::string_view space{" \t\r"};
  std::vector<std::string_view> words;
  for (auto at = line.find_first_not_of(space); at != std::string_view::npos;) {
    auto const end = line.find_first_of(space, at);
    words.push_back(line.substr(at, end == std::string_view::npos ? end : end - at));
    at = line.find_first_not_of(space, end);
  }
  return words;
}

class PlyHeaderParser {
 public:
  PlyHeaderParser(std::string_view text, FileContext const& file) : text_{text}, file_{file} {}

  [[nodiscard]] PlyHeader parse()
  {
    file_.expects(text_.substr(0, 3) == "ply", "does not begin as a PLY file does");
    if (next_line() != "ply") { fail("more than the word 'ply'"); }
    bool has_format = false;
    for (;;) {
      auto const line = next_line();
      auto const words = split_words(line);
      if (words.empty() || words[0] == "comment" || words[0] == "obj_info") { continue; }
      if (words[0] == "end_header") { break; }
      if (words[0] == "format") {
        if (has_format) { fail("a second format"); }
        format(words);
        has_format = true;
      } else if (words[0] == "element") {
        element(words);
      } else if (words[0] == "property") {
        property(words);
      } else {
        fail("the unknown keyword ", in_quotes(words[0]));
      }
    }
    if (!has_format) { fail("no format was given"); }
    for (auto const& known : header_.elements) {
      if (known.properties.empty() && known.count > 0) {
        fail("the element ", in_quotes(known.name), " has no properties");
      }
    }
    header_.data_begin = at_;
    return std::move(header_);
  }

 private:
  template <class... Parts>
  [[noreturn]] void fail(Parts const&... parts) const
  {
    file_.fail("bad PLY header in line ", line_, ": ", parts...);
  }

  [[nodiscard]] std::string_view next_line()
  {
    ++line_;
    auto const end = text_.substr(0, max_ply_header).find('\n', at_);
    if (end == std::string_view::npos) {
      fail(text_.size() > max_ply_header ? "no end_header within the first 65536 bytes"
                                         : "the file ends before end_header");
    }
    auto line = text_.substr(at_, end - at_);
    if (!line.empty() && line.back() == '\r') { line.remove_suffix(1); }
    at_ = end + 1;
    return line;
  }

  void format(std::vector<std::string_view> const& words)
  {
    if (words.size() != 3 || words[2] != "1.0") { fail("a format is a name and the version 1.0"); }
    if (words[1] == "ascii") {
      header_.format = PlyFormat::ascii;
    } else if (words[1] == "binary_little_endian") {
      header_.format = PlyFormat::binary_little_endian;
    } else if (words[1] == "binary_big_endian") {
      header_.format = PlyFormat::binary_big_endian;
    } else {
      fail("the unknown format ", in_quotes(words[1]));
    }
  }

  void element(std::vector<std::string_view> const& words)
  {
    PlyElement added;
    if (words.size() != 3) { fail("an element is a name and a count"); }
    added.name = words[1];
    auto const* const end = words[2].data() + words[2].size();
    auto const [stop, error] = std::from_chars(words[2].data(), end, added.count);
    if (error != std::errc{} || stop != end) {
      fail("the count ", in_quotes(words[2]), " of element ", in_quotes(words[1]),
           " is no whole number of at least 0");
    }
    for (auto const& known : header_.elements) {
      if (known.name == added.name) { fail("a second element ", in_quotes(words[1])); }
    }
    header_.elements.push_back(std::move(added));
  }

  [[nodiscard]] PlyType type(std::string_view name) const
  {
    for (auto const& known : ply_types) {
      if (name == known.name || name == known.other_name) { return known.type; }
    }
    fail("the unknown type ", in_quotes(name));
  }

  void property(std::vector<std::string_view> const& words)
  {
    if (header_.elements.empty()) { fail("a property before the first element"); }
    PlyProperty added;
    added.is_list = words.size() > 1 && words[1] == "list";
    if (words.size() != (added.is_list ? 5U : 3U)) {
      fail("a property is a type and a name, or 'list', two types and a name");
    }
    if (added.is_list) {
      added.count_type = type(words[2]);
      if (added.count_type >= PlyType::float32) { fail("a list whose count is no whole number"); }
    }
    added.type = type(words[words.size() - 2]);
    added.name = words.back();
    auto& properties = header_.elements.back().properties;
    for (auto const& known : properties) {
      if (known.name == added.name) { fail("a second property ", in_quotes(added.name)); }
    }
    properties.push_back(std::move(added));
  }

  std::string_view text_;
  FileContext const& file_;
  PlyHeader header_;
  std::size_t at_ = 0;
  std::size_t line_ = 0;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
