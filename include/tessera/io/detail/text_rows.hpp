// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/io/detail/file.hpp>
#include <tessera/io/point_format.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>
#include <string>
#include <string_view>
#include <system_error>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Which row of what is read: the beginning of an error sentence.
struct RowPlace {
  FileContext const& file;
  std::string const& element;
  std::uint64_t row;

  template <class... Parts>
  [[noreturn]] void fail(Parts const&... parts) const
  {
    file.fail("element ", in_quotes(element), ", row ", row, ": ", parts...);
  }
};

/// Longest word that is read as a number: a number with more digits says nothing more.
inline constexpr std::size_t longest_number = 1024;

/// The number that `word` is, in every locale; false if it is none that a double can hold.
[[nodiscard]] inline bool parse_number(std::string_view word, double& value)
{
  if (word.empty() || word.size() > longest_number) { return false; }
  if (word.size() > 1 && word[0] == '+' && word[1] != '-') { word.remove_prefix(1); }
  auto const* const end = word.data() + word.size();
  auto const [stop, error] = std::from_chars(word.data(), end, value);
  if (error == std::errc::not_enough_memory) { throw std::bad_alloc{}; }  // libstdc++ may need some
  if (error == std::errc{} && stop == end) { return true; }
  // How Microsoft's C library wrote what is no number, until 2015: 1.#INF, -1.#IND, 1.#QNAN.
  bool const negative = word[0] == '-';
  if (negative) { word.remove_prefix(1); }
  if (word.substr(0, 3) != "1.#") { return false; }
  bool const infinite = word.substr(3, 3) == "INF";
  value = infinite ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  if (negative) { value = -value; }
  return infinite || word.substr(3, 3) == "IND" || word.substr(3, 4) == "QNAN" || word.substr(3, 4) == "SNAN";
}

/// Rows of numbers in text: a row is a line that is not blank.
class TextRows {
 public:
  explicit TextRows(std::string_view text) : text_{text}
  {
    auto const first = text_.find_first_of("\r\n");
    bool const alone = first != text_.npos && text_[first] == '\r' && text_.substr(first + 1, 1) != "\n" &&
                       text_.find('\n') == text_.npos;
    end_ = alone ? '\r' : '\n';
  }

  [[nodiscard]] std::size_t left() const noexcept { return text_.size() + 1; }

  void begin_row(RowPlace const& place)
  {
    do {
      if (text_.empty()) { place.fail("the file ends before it"); }
      auto const end = std::min(text_.find(end_), text_.size());
      line_ = text_.substr(0, end);
      text_.remove_prefix(std::min(end + 1, text_.size()));
      skip_space();
    } while (line_.empty());
  }

  [[nodiscard]] double number(ColumnType type, RowPlace const& place)
  {
    if (line_.empty()) { place.fail("the line ends before its last value"); }
    auto const word = line_.substr(0, line_.find_first_of(" \t\r"));
    double value = 0.0;
    if (!parse_number(word, value)) { place.fail(in_quotes(word), " is no number that a double can hold"); }
    if (is_integer(type)) { check_integer(type, value, word, place); }
    line_.remove_prefix(word.size());
    skip_space();
    return value;
  }

  void skip(ColumnType type, std::uint64_t count, RowPlace const& place)
  {
    for (std::uint64_t i = 0; i < count; ++i) { static_cast<void>(number(type, place)); }
  }

  void end_row(RowPlace const& place) const
  {
    if (!line_.empty()) { place.fail("the line goes on after its last value"); }
  }

  [[nodiscard]] bool at_end() const { return text_.find_first_not_of(" \t\r\n") == std::string_view::npos; }

 private:
  void skip_space() { line_.remove_prefix(std::min(line_.find_first_not_of(" \t\r"), line_.size())); }

  static void check_integer(ColumnType type, double value, std::string_view word, RowPlace const& place)
  {
    bool const is_signed = type == ColumnType::int8 || type == ColumnType::int16 ||
                           type == ColumnType::int32 || type == ColumnType::int64;
    double const values = std::ldexp(1.0, static_cast<int>(8 * size_of(type)));
    double const low = is_signed ? -values / 2 : 0.0;
    // The largest integers of 64 bits are rounded up to what is one too large.
    bool const below = value < low + values || (value == low + values && size_of(type) == 8);
    if (!(value >= low && below) || value != std::floor(value)) {
      place.fail(in_quotes(word), " is no value of type ",
                 column_types[static_cast<std::size_t>(type)].long_name);
    }
  }

  std::string_view text_;
  std::string_view line_;
  char end_ = '\n';
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
