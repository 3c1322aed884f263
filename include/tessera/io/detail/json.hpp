// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/json_value.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <iterator>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Longest file of JSON alone that is read: configurations and tunings take kilobytes.
inline constexpr std::uintmax_t longest_json_file = std::uintmax_t{1} << 26;

/// Bounds of what a text may ask for: a value takes 16 bytes of memory or more, but 2 bytes of text.
struct JsonLimits {
  int depth = 32;
  std::size_t values = std::size_t{1} << 21;
};

/// A parser of RFC 8259 and nothing beyond it; member names must be unique, text must be UTF-8. It gives
/// values as Json, or one after the other to who wants no more than their content.
class JsonParser {
 public:
  JsonParser(std::string_view text, FileContext const& file, JsonLimits limits)
      : text_{text}, file_{file}, limits_{limits}
  {}

  /// The value that is the whole text.
  [[nodiscard]] Json parse()
  {
    Json result = value();
    end();
    return result;
  }

  /// The first character of the next value, which tells its kind; -1 at the end of the text.
  [[nodiscard]] int next() noexcept
  {
    skip_space();
    return peek();
  }

  /// Reads an object: calls `member(name)` before each value, which must read it. Returns the names.
  /// @pre  next() is '{'
  template <class Member>
  std::vector<std::string> object(Member const& member)
  {
    begin();
    return members(member);
  }

  /// Reads an array: calls `item()` before each value, which must read it.
  /// @pre  next() is '['
  template <class Item>
  void array(Item const& item)
  {
    begin();
    items(item);
  }

  /// Reads a string. @pre  next() is '"'
  [[nodiscard]] std::string text()
  {
    begin();
    return string();
  }

  /// Reads a value of any kind.
  [[nodiscard]] Json value()
  {
    begin();
    switch (peek()) {
      case '{': {
        auto const first = open_.size();
        auto names = members([&](std::string const&) { open_.push_back(value()); });
        return Json{Json::Object{std::move(names), taken_from(first)}};
      }
      case '[': {
        auto const first = open_.size();
        items([&] { open_.push_back(value()); });
        return Json{taken_from(first)};
      }
      case '"': return Json{string()};
      default: return scalar();
    }
  }

  /// Reads a value of any kind and keeps nothing of it.
  void skip()
  {
    begin();
    switch (peek()) {
      case '{': members([&](std::string const&) { skip(); }); return;
      case '[': items([&] { skip(); }); return;
      case '"': static_cast<void>(string()); return;
      default: static_cast<void>(scalar());
    }
  }

  /// Throws unless the text ends here.
  void end()
  {
    skip_space();
    if (at_ != text_.size()) { fail("text after the end of the value"); }
  }

 private:
  template <class... Parts>
  [[noreturn]] void fail(Parts const&... parts) const
  {
    file_.fail("not valid JSON at byte ", at_, ": ", parts...);
  }

  [[nodiscard]] int peek() const noexcept
  {
    return at_ < text_.size() ? static_cast<unsigned char>(text_[at_]) : -1;
  }

  void skip_space() noexcept
  {
    while (at_ < text_.size() && std::string_view{" \t\n\r"}.find(text_[at_]) != std::string_view::npos) {
      ++at_;
    }
  }

  [[nodiscard]] bool take(char wanted) noexcept
  {
    skip_space();
    if (peek() != static_cast<unsigned char>(wanted)) { return false; }
    ++at_;
    return true;
  }

  /// Before each value: counts it.
  void begin()
  {
    skip_space();
    if (depth_ > limits_.depth) { fail("nested deeper than ", limits_.depth, " levels"); }
    if (++count_ > limits_.values) { fail("more than ", limits_.values, " values"); }
  }

  /// A value that holds no others and is no string.
  [[nodiscard]] Json scalar()
  {
    switch (peek()) {
      case 't': return word("true", Json{true});
      case 'f': return word("false", Json{false});
      case 'n': return word("null", Json{});
      case -1: fail("the text ends where a value should stand");
      default: return number();
    }
  }

  [[nodiscard]] Json word(std::string_view text, Json meaning)
  {
    if (text_.substr(at_, text.size()) != text) { fail("an unknown word"); }
    at_ += text.size();
    return meaning;
  }

  /// The values that were read since there were `first` open ones.
  [[nodiscard]] std::vector<Json> taken_from(std::size_t first)
  {
    auto const begin = open_.begin() + static_cast<std::ptrdiff_t>(first);
    std::vector<Json> values(std::make_move_iterator(begin), std::make_move_iterator(open_.end()));
    open_.erase(begin, open_.end());
    return values;
  }

  template <class Item>
  void items(Item const& item)
  {
    ++at_;
    if (take(']')) { return; }
    ++depth_;
    do {
      item();
    } while (take(','));
    --depth_;
    if (!take(']')) { fail("expected ',' or ']'"); }
  }

  template <class Member>
  std::vector<std::string> members(Member const& member)
  {
    ++at_;
    std::vector<std::string> names;
    if (take('}')) { return names; }
    ++depth_;
    do {
      skip_space();
      if (peek() != '"') { fail("expected the name of a member"); }
      names.push_back(string());
      if (!take(':')) { fail("expected ':'"); }
      member(std::as_const(names.back()));
    } while (take(','));
    --depth_;
    if (!take('}')) { fail("expected ',' or '}'"); }
    std::vector<std::string_view> sorted(names.begin(), names.end());
    std::sort(sorted.begin(), sorted.end());
    auto const twice = std::adjacent_find(sorted.begin(), sorted.end());
    if (twice != sorted.end()) { fail("the member ", in_quotes(*twice), " appears twice"); }
    return names;
  }

  [[nodiscard]] bool digits() noexcept
  {
    auto const begin = at_;
    while (peek() >= '0' && peek() <= '9') { ++at_; }
    return at_ != begin;
  }

  [[nodiscard]] Json number()
  {
    auto const begin = at_;
    if (peek() == '-') { ++at_; }
    bool const zero = peek() == '0';
    auto const first = at_;
    if (!digits()) { fail("expected a value"); }
    if (zero && at_ - first > 1) { fail("a number with a leading zero"); }
    bool whole = true;
    if (peek() == '.') {
      whole = false;
      ++at_;
      if (!digits()) { fail("a number without digits after its point"); }
    }
    if (peek() == 'e' || peek() == 'E') {
      whole = false;
      ++at_;
      if (peek() == '+' || peek() == '-') { ++at_; }
      if (!digits()) { fail("a number without digits in its exponent"); }
    }
    char const* const from = text_.data() + begin;
    char const* const to = text_.data() + at_;
    std::int64_t integer = 0;
    if (whole && std::from_chars(from, to, integer).ec == std::errc{}) { return Json{integer}; }
    double real = 0.0;
    if (std::from_chars(from, to, real).ec != std::errc{}) { fail("a number that no double can hold"); }
    return Json{real};
  }

  [[nodiscard]] std::uint32_t hex4()
  {
    std::uint32_t code = 0;
    auto const digits_text = text_.substr(std::min(at_, text_.size()), 4);
    auto const [end, error] =
        std::from_chars(digits_text.data(), digits_text.data() + digits_text.size(), code, 16);
    if (error != std::errc{} || digits_text.size() != 4 || end != digits_text.data() + 4) {
      fail("\\u without four hexadecimal digits");
    }
    at_ += 4;
    return code;
  }

  void escape(std::string& to)
  {
    ++at_;
    int const letter = peek();
    ++at_;
    switch (letter) {
      case '"':
      case '\\':
      case '/': to += static_cast<char>(letter); return;
      case 'b': to += '\b'; return;
      case 'f': to += '\f'; return;
      case 'n': to += '\n'; return;
      case 'r': to += '\r'; return;
      case 't': to += '\t'; return;
      case 'u': break;
      default: fail("an unknown escape in a string");
    }
    std::uint32_t code = hex4();
    if (code >= 0xd800 && code <= 0xdbff && text_.substr(at_, 2) == "\\u") {
      at_ += 2;
      std::uint32_t const low = hex4();
      if (low < 0xdc00 || low > 0xdfff) { fail("half of a surrogate pair"); }
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    if (code >= 0xd800 && code <= 0xdfff) { fail("half of a surrogate pair"); }
    append_utf8(code, to);
  }

  static void append_utf8(std::uint32_t code, std::string& to)
  {
    auto const put = [&](std::uint32_t byte) { to += static_cast<char>(byte); };
    if (code < 0x80) {
      put(code);
    } else if (code < 0x800) {
      put(0xc0 | (code >> 6));
      put(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
      put(0xe0 | (code >> 12));
      put(0x80 | ((code >> 6) & 0x3f));
      put(0x80 | (code & 0x3f));
    } else {
      put(0xf0 | (code >> 18));
      put(0x80 | ((code >> 12) & 0x3f));
      put(0x80 | ((code >> 6) & 0x3f));
      put(0x80 | (code & 0x3f));
    }
  }

  /// One character of two to four bytes.
  void multibyte(std::string& to)
  {
    auto const lead = static_cast<std::uint32_t>(peek());
    std::size_t const more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    constexpr std::uint32_t smallest[] = {0, 0x80, 0x800, 0x10000};
    if (lead < 0xc2 || lead > 0xf4) { fail("bytes that are not UTF-8"); }
    std::uint32_t code = lead & (0x3fU >> more);
    for (std::size_t i = 1; i <= more; ++i) {
      auto const byte = at_ + i < text_.size() ? static_cast<unsigned char>(text_[at_ + i]) : 0U;
      if ((byte & 0xc0U) != 0x80U) { fail("bytes that are not UTF-8"); }
      code = (code << 6) | (byte & 0x3fU);
    }
    if (code < smallest[more] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
      fail("bytes that are not UTF-8");
    }
    to.append(text_.substr(at_, more + 1));
    at_ += more + 1;
  }

  [[nodiscard]] std::string string()
  {
    ++at_;
    std::string result;
    for (;;) {
      int const c = peek();
      if (c < 0) { fail("a string without its end"); }
      if (c == '"') { break; }
      if (c < 0x20) { fail("a control character in a string"); }
      if (c == '\\') {
        escape(result);
      } else if (c >= 0x80) {
        multibyte(result);
      } else {
        result += static_cast<char>(c);
        ++at_;
      }
    }
    ++at_;
    return result;
  }

  std::string_view text_;
  FileContext const& file_;
  JsonLimits limits_;
  std::size_t at_ = 0;
  std::size_t count_ = 0;
  int depth_ = 0;
  std::deque<Json> open_;  ///< values of objects and arrays that have not ended
};

/// The value that is the whole of `text`.
///
/// @throws invalid_argument  it is not valid JSON or exceeds the limits; names the file and the byte
/// Cost: time in the length of the text (its logarithm too, for the names), memory within the limits.
[[nodiscard]] inline Json parse_json(std::string_view text, FileContext const& file, JsonLimits limits = {})
{
  return JsonParser{text, file, limits}.parse();
}

/// `text` as a JSON string, with its quotes.
[[nodiscard]] inline std::string json_quoted(std::string_view text)
{
  constexpr char const* digits = "0123456789abcdef";
  std::string result{"\""};
  for (char const c : text) {
    auto const byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') { result += '\\'; }
    if (byte < 0x20) {
      result += {'\\', 'u', '0', '0', digits[byte >> 4], digits[byte & 15]};
    } else {
      result += c;
    }
  }
  return result + '"';
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
