// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <charconv>
#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace tessera {
inline namespace v0 {

/// Thrown when an argument, a file or a combination of options is invalid; before any work is
/// enqueued, and with the offending numbers in the sentence.
class invalid_argument : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

/// Thrown when the CUDA runtime reports a failure (an allocation, a launch, a copy, no device).
class cuda_error : public std::runtime_error {
 public:
  cuda_error(int status, std::string const& what) : std::runtime_error{what}, status_{status} {}

  /// The `cudaError_t` as an integer, so that host-only code can catch this type too.
  [[nodiscard]] int status() const noexcept { return status_; }

 private:
  int status_;
};

namespace detail {

template <class Range>
[[nodiscard]] std::string list(Range const& values);

template <class T, class = void>
inline constexpr bool is_range = false;
template <class T>
inline constexpr bool is_range<T, std::void_t<decltype(std::declval<T const&>().begin())>> = true;

/// Appends `part` as text: a number in decimal digits, a floating-point number with up to 6 significant
/// digits (as printf's %g), a bool as 0 or 1, an address in hexadecimal digits, a range as list().
///
/// No stream is used: a stream writes numbers as the global locale says, and cuts the text where memory runs
/// out. This writes the same bytes in every locale, and throws std::bad_alloc.
template <class T>
void append(std::string& text, T const& part)
{
  if constexpr (std::is_same_v<T, char> || std::is_convertible_v<T const&, std::string_view>) {
    text += part;
  } else if constexpr (std::is_same_v<T, bool>) {
    text += part ? '1' : '0';
  } else if constexpr (is_range<T>) {
    text += list(part);
  } else {
    char digits[32];
    std::to_chars_result written{};
    if constexpr (std::is_floating_point_v<T>) {
      written = std::to_chars(digits, digits + sizeof(digits), part, std::chars_format::general, 6);
    } else if constexpr (std::is_pointer_v<T>) {
      text += "0x";
      written = std::to_chars(digits, digits + sizeof(digits), reinterpret_cast<std::uintptr_t>(part), 16);
    } else {
      written = std::to_chars(digits, digits + sizeof(digits), part);
    }
    text.append(digits, written.ptr);
  }
}

/// A part of a sentence, by reference and without its type: literals of every length are one type here, and
/// what puts the library's many sentences together is compiled once.
class SentencePart {
 public:
  explicit SentencePart(char const* text)
      : part_{text}, append_{[](std::string& to, void const* part) { to += static_cast<char const*>(part); }}
  {}
  template <class T>
  explicit SentencePart(T const& part)
      : part_{&part}, append_{[](std::string& to, void const* of_type) {
          append(to, *static_cast<T const*>(of_type));
        }}
  {}

  void append_to(std::string& text) const { append_(text, part_); }

 private:
  void const* part_;
  void (*append_)(std::string&, void const*);
};

[[nodiscard]] inline std::string concat_parts(std::initializer_list<SentencePart> parts)
{
  std::string text;
  for (auto const& part : parts) { part.append_to(text); }
  return text;
}

/// The parts, written one after the other; see append().
template <class... Parts>
[[nodiscard]] std::string concat(Parts const&... parts)
{
  return concat_parts({SentencePart{parts}...});
}

[[noreturn]] inline void fail_with(std::initializer_list<SentencePart> parts)
{
  throw invalid_argument{concat_parts(parts)};
}

/// `[a, b, c]`, for the sizes in error sentences. expects() takes the range itself, and makes this of it
/// where it throws.
template <class Range>
[[nodiscard]] std::string list(Range const& values)
{
  std::string text;
  char const* separator = "[";
  for (auto const& value : values) {
    text += separator;
    append(text, value);
    separator = ", ";
  }
  return text.empty() ? "[]" : text + ']';
}

/// Throws invalid_argument with the parts as its sentence.
template <class... Parts>
[[noreturn]] void fail(Parts const&... parts)
{
  fail_with({SentencePart{parts}...});
}

/// fail(parts...) unless `held`; the sentence is only put together when it is needed.
template <class... Parts>
void expects(bool held, Parts const&... parts)
{
  if (!held) { fail(parts...); }
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
