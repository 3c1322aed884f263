// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/scalar.hpp>
#include <tessera/io/detail/file.hpp>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

inline constexpr std::string_view npy_magic{"\x93NUMPY", 6};

/// Longest header; NumPy's own are below 200 bytes.
inline constexpr std::size_t max_npy_header = std::size_t{1} << 16;

/// Most dimensions of an array, as in NumPy before 2.0.
inline constexpr std::size_t max_npy_dimensions = 32;

struct NpyHeader {
  DType dtype = DType::float32;
  bool fortran_order = false;
  std::vector<std::int64_t> shape;
  std::size_t data_begin = 0;
};

struct NpyType {
  char const* name;  ///< without the byte order
  DType dtype;
};

inline constexpr NpyType npy_types[] = {
    {"f8", DType::float64}, {"f4", DType::float32}, {"f2", DType::float16},
    {"i8", DType::int64},   {"i4", DType::int32},   {"i2", DType::int16},
    {"i1", DType::int8},    {"u1", DType::uint8},   {"b1", DType::boolean}};

/// The header is a Python dictionary of three entries; this reads that much of Python and no more.
class NpyHeaderParser {
 public:
  NpyHeaderParser(std::string_view text, FileContext const& file) : text_{text}, file_{file} {}

  [[nodiscard]] NpyHeader parse()
  {
    NpyHeader header;
    bool seen[3] = {false, false, false};
    need('{');
    while (!take('}')) {
      auto const key = string();
      need(':');
      int const which = key == "descr" ? 0 : key == "fortran_order" ? 1 : key == "shape" ? 2 : -1;
      if (which < 0) { fail("the unknown entry ", in_quotes(key)); }
      if (seen[which]) { fail("the entry ", in_quotes(key), " appears twice"); }
      seen[which] = true;
      if (which == 0) { header.dtype = type(); }
      if (which == 1) { header.fortran_order = boolean(); }
      if (which == 2) { header.shape = shape(); }
      if (!take(',')) {
        need('}');
        break;
      }
    }
    skip_space();
    if (at_ != text_.size()) { fail("text after the end of the dictionary"); }
    if (!seen[0] || !seen[1] || !seen[2]) { fail("'descr', 'fortran_order' and 'shape' are not all there"); }
    return header;
  }

 private:
  template <class... Parts>
  [[noreturn]] void fail(Parts const&... parts) const
  {
    file_.fail("bad npy header at character ", at_, ": ", parts...);
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
    if (at_ >= text_.size() || text_[at_] != wanted) { return false; }
    ++at_;
    return true;
  }

  void need(char wanted)
  {
    if (!take(wanted)) { fail("expected '", wanted, "'"); }
  }

  [[nodiscard]] bool take_word(std::string_view word)
  {
    skip_space();
    if (text_.substr(at_, word.size()) != word) { return false; }
    at_ += word.size();
    return true;
  }

  [[nodiscard]] std::string_view string()
  {
    char const quote = take('"') ? '"' : '\'';
    if (quote == '\'') { need('\''); }
    auto const end = text_.find(quote, at_);
    if (end == std::string_view::npos) { fail("a string without its end"); }
    auto const result = text_.substr(at_, end - at_);
    at_ = end + 1;
    return result;
  }

  [[nodiscard]] bool boolean()
  {
    if (take_word("True")) { return true; }
    if (!take_word("False")) { fail("expected True or False"); }
    return false;
  }

  [[nodiscard]] DType type()
  {
    skip_space();
    if (at_ < text_.size() && text_[at_] == '[') { fail("structured arrays are not supported"); }
    auto const text = string();
    if (!text.empty() && text.front() == '>' && text != ">i1" && text != ">u1" && text != ">b1") {
      fail("the big-endian type ", in_quotes(text), " is not supported");
    }
    for (auto const& known : npy_types) {
      if (text.size() == 3 && (text[0] == '<' || text[0] == '>' || (text[0] == '|' && text[2] == '1')) &&
          text.substr(1) == known.name) {
        return known.dtype;
      }
    }
    fail("the type ", in_quotes(text), " is not supported");
  }

  [[nodiscard]] std::vector<std::int64_t> shape()
  {
    std::vector<std::int64_t> extents;
    need('(');
    while (!take(')')) {
      skip_space();
      std::int64_t extent = 0;
      auto const [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), extent);
      if (error != std::errc{} || extent < 0) {
        fail("'shape' holds something other than whole numbers of at least 0");
      }
      at_ = static_cast<std::size_t>(end - text_.data());
      extents.push_back(extent);
      if (extents.size() > max_npy_dimensions) { fail("more than ", max_npy_dimensions, " dimensions"); }
      if (!take(',')) {
        if (extents.size() == 1) { fail("'shape' is a number in brackets, not a tuple"); }
        need(')');
        break;
      }
    }
    return extents;
  }

  std::string_view text_;
  FileContext const& file_;
  std::size_t at_ = 0;
};

[[nodiscard]] inline NpyHeader parse_npy_header(Bytes const& bytes, FileContext const& file)
{
  std::string_view const text{reinterpret_cast<char const*>(bytes.data()), bytes.size()};
  file.expects(text.substr(0, npy_magic.size()) == npy_magic, "does not begin as an npy file does");
  file.expects(text.size() >= 10, "ends within the first 10 bytes of an npy file");
  unsigned const version = bytes[6];
  file.expects(version >= 1 && version <= 3, "is an npy file of version ", version, "; 1, 2 and 3 are known");
  std::size_t const begin = version == 1 ? 10 : 12;
  file.expects(text.size() >= begin, "ends within the first ", begin, " bytes of an npy file");
  std::size_t const length = version == 1 ? load_bytes<std::uint16_t>(bytes.data() + 8)
                                          : load_bytes<std::uint32_t>(bytes.data() + 8);
  file.expects(length <= max_npy_header, "claims a header of ", length, " bytes; at most ", max_npy_header,
               " are read");
  file.expects(length <= text.size() - begin, "claims a header of ", length, " bytes, but only ",
               text.size() - begin, " follow");
  auto header = NpyHeaderParser{text.substr(begin, length), file}.parse();
  header.data_begin = begin + length;
  return header;
}

/// Everything before the data: magic, version 1, length and dictionary, 64 bytes or a multiple.
[[nodiscard]] inline std::string npy_header(DType dtype, std::vector<std::int64_t> const& shape,
                                            FileContext const& file)
{
  file.expects(shape.size() <= max_npy_dimensions, "an array of ", shape.size(),
               " dimensions; npy holds at most ", max_npy_dimensions);
  std::string text{"{'descr': '"};
  text += size_of(dtype) == 1 ? '|' : '<';
  for (auto const& known : npy_types) {
    if (known.dtype == dtype) { text += known.name; }
  }
  text += "', 'fortran_order': False, 'shape': (";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    text += (i == 0 ? "" : " ") + std::to_string(shape[i]) + ',';
  }
  if (shape.size() > 1) { text.pop_back(); }
  text += "), }";
  while ((10 + text.size() + 1) % 64 != 0) { text += ' '; }
  text += '\n';
  std::string start{npy_magic};
  start += {'\x01', '\x00', static_cast<char>(text.size() & 0xff), static_cast<char>(text.size() >> 8)};
  return start + text;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
