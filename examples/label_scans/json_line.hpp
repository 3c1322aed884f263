// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

namespace label_scans {

/// One JSON object on one line: strings, numbers and truth values, nothing nested.
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
    for (char const c : value) {
      if (c == '"' || c == '\\') {
        text_ += '\\';
        text_ += c;
      } else if (static_cast<unsigned char>(c) < 0x20) {
        char code[8];
        std::snprintf(code, sizeof(code), "\\u%04x", static_cast<unsigned>(c));
        text_ += code;
      } else {
        text_ += c;
      }
    }
    text_ += '"';
  }

  std::string text_ = "{";
};

/// Keys and values of a line that JsonLine wrote; numbers as they are written. Nothing for any other line, such
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
        value += c;
        continue;
      }
      unsigned code = 0;
      if (line.size() - at < 4) { return std::nullopt; }
      for (int digit = 0; digit < 4; ++digit) {
        char const h = line[at++];
        code = 16 * code + static_cast<unsigned>(h >= '0' && h <= '9' ? h - '0' : (h | 0x20) - 'a' + 10);
      }
      value += static_cast<char>(code);
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
