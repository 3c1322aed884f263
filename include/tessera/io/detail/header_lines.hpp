// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/io/detail/file.hpp>

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The words of a line, without the spaces between them.
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

/// The lines of a text header, which binary data may follow. They end as the first one does: with a line
/// feed, with or without a carriage return before it, or with a carriage return alone.
class HeaderLines {
 public:
  /// Longest header that is read.
  static constexpr std::size_t longest = std::size_t{1} << 16;

  /// @param kind  of the file, and `last` the word in the header's last line: for sentences
  HeaderLines(std::string_view text, char const* kind, char const* last, FileContext const& file)
      : text_{text.substr(0, longest)}, kind_{kind}, last_{last}, is_cut_{text.size() > longest}, file_{file}
  {
    auto const first = text_.find_first_of("\r\n");
    bool const alone = first != text_.npos && text_[first] == '\r' && text_.substr(first + 1, 1) != "\n";
    end_ = alone ? '\r' : '\n';
  }

  [[nodiscard]] std::string_view next()
  {
    ++line_;
    auto const end = text_.find(end_, at_);
    if (end == std::string_view::npos) {
      if (is_cut_) { fail("no ", last_, " within the first ", longest, " bytes"); }
      fail("the file ends before ", last_);
    }
    auto line = text_.substr(at_, end - at_);
    if (!line.empty() && line.back() == '\r') { line.remove_suffix(1); }
    at_ = end + 1;
    return line;
  }

  /// Where the line behind the last one begins.
  [[nodiscard]] std::size_t position() const noexcept { return at_; }

  template <class... Parts>
  [[noreturn]] void fail(Parts const&... parts) const
  {
    file_.fail("bad ", kind_, " header in line ", line_, ": ", parts...);
  }

 private:
  std::string_view text_;
  char const* kind_;
  char const* last_;
  bool is_cut_;
  FileContext const& file_;
  char end_ = '\n';
  std::size_t at_ = 0;
  std::size_t line_ = 0;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
