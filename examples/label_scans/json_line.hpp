// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>

namespace label_scans {

namespace json {

/// Bytes of the character that `text` begins with; 0: it is no UTF-8.
[[nodiscard]] inline std::size_t utf8_length(std::string_view text)
{
  auto const byte = [&](std::size_t i) { return unsigned{static_cast<unsigned char>(text[i])}; };
  unsigned const first = byte(0);
  if (first < 0x80) { return 1; }
  std::size_t const length = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  if (length == 0 || text.size() < length) { return 0; }
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) { return 0; }
  }
  // Longer than need be, halves of a pair, beyond the last character.
  unsigned const second = byte(1);
  bool const none = (first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
                    (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f);
  return none ? 0 : length;
}

/// The bytes of a character; of \udc80 to \udcff the byte that it stands for.
[[nodiscard]] inline std::string bytes_of(unsigned code)
{
  auto const tail = [&](unsigned shift) { return static_cast<char>(0x80 | ((code >> shift) & 0x3f)); };
  if (code < 0x80) { return {static_cast<char>(code)}; }
  if (code >= 0xdc80 && code <= 0xdcff) { return {static_cast<char>(code & 0xff)}; }
  if (code < 0x800) { return {static_cast<char>(0xc0 | (code >> 6)), tail(0)}; }
  if (code < 0x10000) { return {static_cast<char>(0xe0 | (code >> 12)), tail(6), tail(0)}; }
  return {static_cast<char>(0xf0 | (code >> 18)), tail(12), tail(6), tail(0)};
}

/// The number that four hexadecimal digits at the beginning are.
[[nodiscard]] inline std::optional<unsigned> hex4(std::string_view text)
{
  unsigned code = 0;
  if (text.size() < 4) { return std::nullopt; }
  auto const [end, error] = std::from_chars(text.data(), text.data() + 4, code, 16);
  if (error != std::errc{} || end != text.data() + 4) { return std::nullopt; }
  return code;
}

}  // namespace json

/// One JSON object on one line: strings, numbers and truth values, nothing nested. Names of files may be any
/// bytes: those that are no UTF-8 are written as Python's surrogateescape has them, \udc80 to \udcff.
class JsonLine {
 public:
  JsonLine& add(std::string_view key, std::string_view value)
  {
    begin(key);
    append_string(value);
    return *this;
  }
  JsonLine& add(std::string_view key, char const* value) { return add(key, std::string_view{value}); }
  template <class Number, class = std::enable_if_t<std::is_arithmetic_v<Number>>>
  JsonLine& add(std::string_view key, Number value)
  {
    begin(key);
    if constexpr (std::is_same_v<Number, bool>) {
      text_ += value ? "true" : "false";
    } else if constexpr (std::is_integral_v<Number>) {
      text_ += std::to_string(value);
    } else {
      char digits[40];
      std::snprintf(digits, sizeof(digits), "%.6g", static_cast<double>(value));
      text_ += digits;
    }
    return *this;
  }

  /// The line, with its end.
  [[nodiscard]] std::string text() const { return text_ + "}\n"; }

 private:
  void begin(std::string_view key)
  {
    if (text_.size() > 1) { text_ += ", "; }
    append_string(key);
    text_ += ": ";
  }
  void append_string(std::string_view value)
  {
    text_ += '"';
    for (std::size_t at = 0; at < value.size();) {
      auto const length = json::utf8_length(value.substr(at));
      auto const byte = static_cast<unsigned char>(value[at]);
      if (length == 0 || byte < 0x20) {
        char code[8];
        std::snprintf(code, sizeof(code), "\\u%04x", length == 0 ? 0xdc00U + byte : unsigned{byte});
        text_ += code;
        ++at;
        continue;
      }
      if (byte == '"' || byte == '\\') { text_ += '\\'; }
      text_ += value.substr(at, length);
      at += length;
    }
    text_ += '"';
  }

  std::string text_ = "{";
};

/// Keys and values of a line that JsonLine or Python wrote; numbers as they are written. Nothing for any other line, such
/// as one that was cut.
[[nodiscard]] inline std::optional<std::map<std::string, std::string>> parse_json_line(std::string_view line)
{
  std::size_t at = 0;
  auto const skip_spaces = [&] {
    while (at < line.size() && (line[at] == ' ' || line[at] == '\t')) { ++at; }
  };
  auto const take = [&](char c) {
    skip_spaces();
    if (at >= line.size() || line[at] != c) { return false; }
    ++at;
    return true;
  };
  auto const string = [&]() -> std::optional<std::string> {
    if (!take('"')) { return std::nullopt; }
    std::string value;
    while (at < line.size() && line[at] != '"') {
      if (line[at] != '\\') {
        value += line[at++];
        continue;
      }
      if (++at >= line.size()) { return std::nullopt; }
      char const c = line[at++];
      if (c != 'u') {
        constexpr std::string_view letters = "bfnrt";
        auto const letter = letters.find(c);
        value += letter == std::string_view::npos ? c : "\b\f\n\r\t"[letter];
        continue;
      }
      auto code = json::hex4(line.substr(at));
      if (!code) { return std::nullopt; }
      at += 4;
      bool const is_pair = *code >= 0xd800 && *code < 0xdc00 && line.substr(at, 2) == "\\u";
      auto const low = is_pair ? json::hex4(line.substr(at + 2)) : std::nullopt;
      if (low && *low >= 0xdc00 && *low < 0xe000) {
        code = 0x10000 + ((*code - 0xd800) << 10) + (*low - 0xdc00);
        at += 6;
      }
      value += json::bytes_of(*code);
    }
    if (!take('"')) { return std::nullopt; }
    return value;
  };

  std::map<std::string, std::string> entries;
  if (!take('{')) { return std::nullopt; }
  if (!take('}')) {
    do {
      auto const key = string();
      if (!key || !take(':')) { return std::nullopt; }
      skip_spaces();
      if (at < line.size() && line[at] == '"') {
        auto const value = string();
        if (!value) { return std::nullopt; }
        entries[*key] = *value;
      } else {
        auto const end = line.find_first_of(",}", at);
        if (end == std::string_view::npos || end == at) { return std::nullopt; }
        entries[*key] = std::string{line.substr(at, end - at)};
        at = end;
      }
    } while (take(','));
    if (!take('}')) { return std::nullopt; }
  }
  skip_spaces();
  if (at != line.size()) { return std::nullopt; }
  return entries;
}

}  // namespace label_scans
