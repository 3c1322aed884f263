// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/header_lines.hpp>
#include <tessera/io/detail/text_rows.hpp>
#include <tessera/io/point_format.hpp>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

enum class PcdData : std::uint8_t { ascii, binary, binary_compressed };

struct PcdField {
  std::string name;
  ColumnType type = ColumnType::float32;
  std::size_t count = 1;  ///< numbers of a point
};

struct PcdHeader {
  std::vector<PcdField> fields;
  std::uint64_t points = 0;
  PcdData data = PcdData::ascii;
  std::size_t data_begin = 0;

  [[nodiscard]] std::size_t numbers_per_point() const noexcept
  {
    std::size_t numbers = 0;
    for (auto const& field : fields) { numbers += field.count; }
    return numbers;
  }
  [[nodiscard]] std::size_t bytes_per_point() const noexcept
  {
    std::size_t bytes = 0;
    for (auto const& field : fields) { bytes += field.count * size_of(field.type); }
    return bytes;
  }
};

/// Most numbers of a point, those that are passed over included.
inline constexpr std::size_t max_pcd_numbers = 4096;

class PcdHeaderParser {
 public:
  PcdHeaderParser(std::string_view text, FileContext const& file) : lines_{text, "PCD", "DATA", file} {}

  [[nodiscard]] PcdHeader parse()
  {
    for (;;) {
      auto words = split_words(lines_.next());
      if (words.empty() || words[0][0] == '#') { continue; }
      auto const key = words[0];
      words.erase(words.begin());
      if (key == "DATA") {
        data(words);
        break;
      }
      entry(key, words);
    }
    finish();
    header_.data_begin = lines_.position();
    return std::move(header_);
  }

 private:
  using Words = std::vector<std::string_view>;

  void entry(std::string_view key, Words const& words)
  {
    if (key == "VERSION") { return; }  // 0.5 to 0.7 and .7 differ in nothing that is read here
    if (key == "FIELDS" || key == "COLUMNS") {
      once(fields_, key, words);
    } else if (key == "SIZE") {
      once(sizes_, key, words);
    } else if (key == "TYPE") {
      once(types_, key, words);
    } else if (key == "COUNT") {
      once(counts_, key, words);
    } else if (key == "WIDTH") {
      width_ = number(key, words);
    } else if (key == "HEIGHT") {
      height_ = number(key, words);
    } else if (key == "POINTS") {
      points_ = number(key, words);
    } else if (key == "VIEWPOINT") {
      viewpoint(words);
    } else {
      lines_.fail("the unknown entry ", in_quotes(key));
    }
  }

  void once(Words& to, std::string_view key, Words const& words)
  {
    if (!to.empty()) { lines_.fail("a second ", key); }
    if (words.empty()) { lines_.fail(key, " without a value"); }
    to = words;
  }

  [[nodiscard]] std::uint64_t number(std::string_view key, Words const& words) const
  {
    std::uint64_t value = 0;
    if (words.size() != 1 || !whole(words[0], value)) {
      lines_.fail(key, " is not one whole number of at least 0");
    }
    return value;
  }

  [[nodiscard]] static bool whole(std::string_view word, std::uint64_t& value)
  {
    auto const* const end = word.data() + word.size();
    auto const [stop, error] = std::from_chars(word.data(), end, value);
    return error == std::errc{} && stop == end;
  }

  void viewpoint(Words const& words) const
  {
    double value = 0;
    bool good = words.size() == 7;
    for (auto const word : words) { good = good && parse_number(word, value); }
    if (!good) { lines_.fail("VIEWPOINT is not seven numbers"); }
  }

  void data(Words const& words)
  {
    constexpr std::string_view names[] = {"ascii", "binary", "binary_compressed"};
    for (std::size_t i = 0; i < std::size(names) && words.size() == 1; ++i) {
      if (words[0] != names[i]) { continue; }
      header_.data = static_cast<PcdData>(i);
      return;
    }
    lines_.fail("DATA is not one of ascii, binary and binary_compressed");
  }

  /// The type of a field; files of before there was TYPE have floats.
  [[nodiscard]] ColumnType type(std::size_t field) const
  {
    auto const size = sizes_.empty() ? std::string_view{"4"} : sizes_[field];
    auto const kind = types_.empty() ? std::string_view{"F"} : types_[field];
    std::string name{kind == "F" ? "f" : kind == "I" ? "i" : kind == "U" ? "u" : "?"};
    name += size;
    for (std::size_t i = 0; i < std::size(column_types); ++i) {
      if (name == column_types[i].name) { return static_cast<ColumnType>(i); }
    }
    lines_.fail("the field ", in_quotes(fields_[field]), " is of TYPE ", in_quotes(kind), " and SIZE ",
                in_quotes(size), "; there are F of 4 and 8, I and U of 1, 2, 4 and 8 bytes");
  }

  void finish()
  {
    if (fields_.empty()) { lines_.fail("FIELDS is missing"); }
    for (auto const* const words : {&sizes_, &types_, &counts_}) {
      if (!words->empty() && words->size() != fields_.size()) {
        lines_.fail(fields_.size(), " FIELDS, but ", words->size(), " values in ",
                    words == &sizes_   ? "SIZE"
                    : words == &types_ ? "TYPE"
                                       : "COUNT");
      }
    }
    std::uint64_t numbers = 0;
    for (std::size_t i = 0; i < fields_.size(); ++i) {
      std::uint64_t count = 1;
      if (!counts_.empty() && (!whole(counts_[i], count) || count == 0 || count > max_pcd_numbers)) {
        lines_.fail("the COUNT ", in_quotes(counts_[i]), " of the field ", in_quotes(fields_[i]),
                    " is not 1 to ", max_pcd_numbers);
      }
      numbers += count;
      if (numbers > max_pcd_numbers) { lines_.fail("points of more than ", max_pcd_numbers, " numbers"); }
      header_.fields.push_back({std::string{fields_[i]}, type(i), static_cast<std::size_t>(count)});
    }
    if (!width_ && !points_) { lines_.fail("neither WIDTH nor POINTS"); }
    auto const height = height_.value_or(1);
    auto const width = width_.value_or(0);
    bool const fits = height == 0 || width <= std::numeric_limits<std::uint64_t>::max() / height;
    header_.points = points_ ? *points_ : fits ? width * height : 0;
    if (width_ && (!fits || width * height != header_.points)) {
      lines_.fail("WIDTH ", width, " and HEIGHT ", height, ", but POINTS ", header_.points);
    }
  }

  HeaderLines lines_;
  PcdHeader header_;
  Words fields_, sizes_, types_, counts_;
  std::optional<std::uint64_t> width_, height_, points_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
