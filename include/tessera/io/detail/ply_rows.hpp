// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/ply_header.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Which row of which element is read: the beginning of an error sentence.
struct PlyPlace {
  FileContext const& file;
  std::string const& element;
  std::uint64_t row;

  template <class... Parts>
  [[noreturn]] void fail(Parts const&... parts) const
  {
    file.fail("element ", in_quotes(element), ", row ", row, ": ", parts...);
  }
};

/// The numbers of a text file: a row is a line that is not blank.
class PlyText {
 public:
  explicit PlyText(std::string_view text) : text_{text} {}

  /// Fewest bytes of a row, were a line break added at the end of the file.
  [[nodiscard]] static std::size_t least_row(PlyElement const& element)
  {
    return 2 * element.properties.size();
  }
  [[nodiscard]] std::size_t left() const noexcept { return text_.size() + 1; }

  void begin_row(PlyPlace const& place)
  {
    do {
      if (text_.empty()) { place.fail("the file ends before it"); }
      auto const end = std::min(text_.find('\n'), text_.size());
      line_ = text_.substr(0, end);
      text_.remove_prefix(std::min(end + 1, text_.size()));
      skip_space();
    } while (line_.empty());
  }

  [[nodiscard]] double number(PlyType type, PlyPlace const& place)
  {
    if (line_.empty()) { place.fail("the line ends before its last value"); }
    auto const word = line_.substr(0, line_.find_first_of(" \t\r"));
    auto digits = word;
    if (digits.size() > 1 && digits[0] == '+' && digits[1] != '-') { digits.remove_prefix(1); }
    double value = 0.0;
    auto const* const end = digits.data() + digits.size();
    auto const [stop, error] = std::from_chars(digits.data(), end, value);
    if (error != std::errc{} || stop != end) {
      place.fail(in_quotes(word), " is no number that a double can hold");
    }
    if (type < PlyType::float32) { check_integer(type, value, word, place); }
    line_.remove_prefix(word.size());
    skip_space();
    return value;
  }

  void skip(PlyType type, std::uint64_t count, PlyPlace const& place)
  {
    for (std::uint64_t i = 0; i < count; ++i) { static_cast<void>(number(type, place)); }
  }

  void end_row(PlyPlace const& place) const
  {
    if (!line_.empty()) { place.fail("the line goes on after its last value"); }
  }

  [[nodiscard]] bool at_end() const { return text_.find_first_not_of(" \t\r\n") == std::string_view::npos; }

 private:
  void skip_space() { line_.remove_prefix(std::min(line_.find_first_not_of(" \t\r"), line_.size())); }

  static void check_integer(PlyType type, double value, std::string_view word, PlyPlace const& place)
  {
    bool const is_signed = type == PlyType::int8 || type == PlyType::int16 || type == PlyType::int32;
    double const values = std::ldexp(1.0, static_cast<int>(8 * size_of(type)));
    double const low = is_signed ? -values / 2 : 0.0;
    if (!(value >= low && value < low + values) || value != std::floor(value)) {
      place.fail(in_quotes(word), " is no value of type ", ply_types[static_cast<std::size_t>(type)].name);
    }
  }

  std::string_view text_;
  std::string_view line_;
};

/// The numbers of a binary file.
class PlyBinary {
 public:
  PlyBinary(std::string_view bytes, bool big_endian) : bytes_{bytes}, big_endian_{big_endian} {}

  [[nodiscard]] static std::size_t least_row(PlyElement const& element)
  {
    std::size_t bytes = 0;
    for (auto const& property : element.properties) {
      bytes += size_of(property.is_list ? property.count_type : property.type);
    }
    return bytes;
  }
  [[nodiscard]] std::size_t left() const noexcept { return bytes_.size(); }

  void begin_row(PlyPlace const&) const noexcept {}
  void end_row(PlyPlace const&) const noexcept {}

  [[nodiscard]] double number(PlyType type, PlyPlace const& place)
  {
    auto const size = size_of(type);
    if (bytes_.size() < size) { place.fail("the file ends within it"); }
    std::array<std::uint8_t, 8> bytes{};
    for (std::size_t i = 0; i < size; ++i) {
      bytes[big_endian_ ? size - 1 - i : i] = static_cast<std::uint8_t>(bytes_[i]);
    }
    bytes_.remove_prefix(size);
    switch (type) {
      case PlyType::int8: return load_bytes<std::int8_t>(bytes.data());
      case PlyType::uint8: return load_bytes<std::uint8_t>(bytes.data());
      case PlyType::int16: return load_bytes<std::int16_t>(bytes.data());
      case PlyType::uint16: return load_bytes<std::uint16_t>(bytes.data());
      case PlyType::int32: return load_bytes<std::int32_t>(bytes.data());
      case PlyType::uint32: return load_bytes<std::uint32_t>(bytes.data());
      case PlyType::float32: return load_bytes<float>(bytes.data());
      default: return load_bytes<double>(bytes.data());
    }
  }

  void skip(PlyType type, std::uint64_t count, PlyPlace const& place)
  {
    auto const size = size_of(type);  // count < 2^32, so that the product below fits
    if (bytes_.size() < count * size) { place.fail("a list of ", count, " values is longer than the file"); }
    bytes_.remove_prefix(static_cast<std::size_t>(count * size));
  }

  [[nodiscard]] bool at_end() const noexcept { return bytes_.empty(); }

 private:
  std::string_view bytes_;
  bool big_endian_;
};

/// Calls use(property, value) for every scalar of every row of `element`; lists are skipped.
template <class Source, class Use>
void read_ply_rows(Source& source, PlyElement const& element, FileContext const& file, Use const& use)
{
  for (PlyPlace place{file, element.name, 0}; place.row < element.count; ++place.row) {
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

/// Throws unless the rows that `element` claims can be in what is left, whatever they hold.
template <class Source>
void check_ply_count(Source const& source, PlyElement const& element, FileContext const& file)
{
  auto const least = Source::least_row(element);
  if (element.count > 0 && element.count > source.left() / least) {
    file.fail("claims ", element.count, " rows of element ", in_quotes(element.name), ", each of at least ",
              least, " bytes, but only ", source.left(), " bytes are left");
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
