// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The bytes of the UTF-8 character that `text` begins with; 0 where it does not begin with one.
[[nodiscard]] inline std::size_t character_length(std::string_view text) noexcept
{
  auto const byte = [&](std::size_t i) {
    return static_cast<unsigned char>(i < text.size() ? text[i] : '\0');
  };
  auto const first = byte(0);
  if (first < 0x80) { return text.empty() ? 0 : 1; }
  std::size_t const length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  // Too long a form, surrogates and what is above U+10FFFF are not UTF-8: The Unicode Standard, table 3-7.
  unsigned const lowest = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  unsigned const highest = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  if (first < 0xc2 || first > 0xf4 || byte(1) < lowest || byte(1) > highest) { return 0; }
  for (std::size_t i = 2; i < length; ++i) {
    if (byte(i) < 0x80 || byte(i) > 0xbf) { return 0; }
  }
  return length;
}

/// Whether the character at U+`code` breaks a line, commands a terminal or turns the direction of writing.
[[nodiscard]] inline bool is_control(unsigned code) noexcept
{
  return code < 0x20 || (code >= 0x7f && code <= 0x9f) || code == 0x061c || code == 0x200e ||
         code == 0x200f || (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

/// Text from a file, or a path, as it may be shown: control characters, line and paragraph separators and
/// marks of direction as `\x1b` or `\u202e`, bytes that are not UTF-8 as `\xff`. So it neither breaks the
/// line, nor commands the terminal, nor shows itself in another order.
[[nodiscard]] inline std::string printable(std::string_view text)
{
  constexpr char const* digits = "0123456789abcdef";
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    auto const length = character_length(text);
    auto const first = static_cast<unsigned char>(text[0]);
    unsigned code = length < 2 ? first : first & (0x7fU >> length);
    for (std::size_t i = 1; i < length; ++i) {
      code = code << 6 | (static_cast<unsigned char>(text[i]) & 0x3fU);
    }
    if (length == 0 || (length == 1 && is_control(code))) {
      result += {'\\', 'x', digits[first >> 4], digits[first & 15]};
    } else if (is_control(code)) {
      result +=
          {'\\', 'u', digits[code >> 12], digits[code >> 8 & 15], digits[code >> 4 & 15], digits[code & 15]};
    } else {
      result += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return result;
}

/// The beginning of `text` that a sentence has room for, not cut within a character.
[[nodiscard]] inline std::string_view short_beginning(std::string_view text) noexcept
{
  constexpr std::size_t longest = 96;
  std::size_t end = 0;
  while (end < text.size()) {
    auto const next = end + std::max(character_length(text.substr(end)), std::size_t{1});
    if (next > longest) { break; }
    end = next;
  }
  return text.substr(0, end);
}

/// A name from a file as sentences show it: printable, of bounded length.
[[nodiscard]] inline std::string shown_name(std::string_view name)
{
  auto const shown = short_beginning(name);
  return concat(printable(shown), shown.size() < name.size() ? "..." : "");
}

/// Text from a file as it may stand in an error sentence: in quotes, printable, of bounded length.
[[nodiscard]] inline std::string in_quotes(std::string_view text)
{
  auto const shown = short_beginning(text);
  return concat("'", printable(shown), shown.size() < text.size() ? "'..." : "'");
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
