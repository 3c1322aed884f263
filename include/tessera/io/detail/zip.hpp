// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/io/detail/file.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// A file in a zip archive: its bytes are [begin, end) of the archive.
struct ZipEntry {
  std::string_view name;
  std::size_t begin = 0;
  std::size_t end = 0;
};

inline constexpr std::string_view zip_local_magic{"PK\x03\x04", 4};

/// Reads the directory of a zip archive whose files are stored, not compressed, as PyTorch writes them.
///
/// Nothing an archive claims is believed: every range is held against the archive, local headers against the
/// directory, and files may neither overlap nor share a name. Checksums are not looked at, because PyTorch
/// can write archives without them (torch.serialization.set_crc32_options).
/// Source: PKWARE's APPNOTE 6.3.
class ZipReader {
 public:
  ZipReader(Bytes const& bytes, FileContext const& file) : bytes_{bytes}, file_{file} {}

  [[nodiscard]] std::vector<ZipEntry> read()
  {
    auto const directory = find_directory();
    at_ = directory.begin;
    std::vector<ZipEntry> entries;
    std::vector<std::pair<std::size_t, std::size_t>> ranges;  // with the local headers
    for (std::uint64_t i = 0; i < directory.entries; ++i) {
      std::size_t header = 0;
      entries.push_back(read_entry(directory, header));
      ranges.emplace_back(header, entries.back().end);
    }
    if (at_ != directory.end) {
      fail("the directory has ", directory.end - at_, " bytes behind its ", directory.entries, " files");
    }
    std::sort(ranges.begin(), ranges.end());
    for (std::size_t i = 1; i < ranges.size(); ++i) {
      if (ranges[i].first < ranges[i - 1].second) {
        at_ = ranges[i].first;
        fail("the file that begins here lies inside the one that begins at ", ranges[i - 1].first);
      }
    }
    auto names = entries;
    std::sort(names.begin(), names.end(), [](auto const& a, auto const& b) { return a.name < b.name; });
    auto const twice = std::adjacent_find(names.begin(), names.end(),
                                          [](auto const& a, auto const& b) { return a.name == b.name; });
    if (twice != names.end()) { file_.fail("not a valid zip archive: two files ", in_quotes(twice->name)); }
    return entries;
  }

 private:
  struct Directory {
    std::size_t begin = 0;
    std::size_t end = 0;
    std::uint64_t entries = 0;
  };
  static constexpr std::size_t end_size = 22;
  static constexpr std::size_t locator_size = 20;
  static constexpr std::size_t end64_size = 56;
  static constexpr std::size_t central_size = 46;
  static constexpr std::size_t local_size = 30;
  static constexpr std::uint32_t all_ones = 0xffffffffU;

  template <class... Parts>
  [[noreturn]] void fail(Parts const&... parts) const
  {
    file_.fail("not a valid zip archive at byte ", at_, ": ", parts...);
  }

  template <class T>
  [[nodiscard]] T load(std::size_t at) const
  {
    return load_bytes<T>(bytes_.data() + at);
  }

  [[nodiscard]] bool has_magic(std::size_t at, std::uint32_t magic) const
  {
    return load<std::uint32_t>(at) == magic;
  }

  /// The end record is at the end, behind it only a comment; it points to the directory, if need be by way
  /// of the records for 64 bits.
  [[nodiscard]] Directory find_directory()
  {
    auto const size = bytes_.size();
    constexpr std::size_t longest_comment = 0xffff;
    bool found = false;
    for (std::size_t back = end_size; back <= size && back <= end_size + longest_comment && !found; ++back) {
      at_ = size - back;
      found = has_magic(at_, 0x06054b50U) && load<std::uint16_t>(at_ + 20) == back - end_size;
    }
    if (!found) {
      file_.fail("is cut off or no zip archive: its ", size, " bytes do not end with a directory");
    }
    auto const end_record = at_;
    std::uint64_t entries = load<std::uint16_t>(at_ + 10);
    std::uint64_t bytes = load<std::uint32_t>(at_ + 12);
    std::uint64_t begin = load<std::uint32_t>(at_ + 16);
    std::size_t limit = end_record;
    if (end_record >= locator_size && has_magic(end_record - locator_size, 0x07064b50U)) {
      at_ = end_record - locator_size;
      auto const record = load<std::uint64_t>(at_ + 8);
      if (at_ < end64_size || record > at_ - end64_size) { fail("the directory is said to lie at ", record); }
      at_ = static_cast<std::size_t>(record);
      if (!has_magic(at_, 0x06064b50U)) { fail("no end record for 64 bits where one should be"); }
      entries = load<std::uint64_t>(at_ + 32);
      bytes = load<std::uint64_t>(at_ + 40);
      begin = load<std::uint64_t>(at_ + 48);
      limit = at_;
    }
    if (begin > limit || bytes > limit - begin) {
      fail("the directory is said to be the ", bytes, " bytes from ", begin, ", but the archive has ", limit);
    }
    if (entries > bytes / central_size) {
      fail("a directory of ", bytes, " bytes is said to hold ", entries, " files");
    }
    return {static_cast<std::size_t>(begin), static_cast<std::size_t>(begin + bytes), entries};
  }

  /// The 64-bit values of a directory entry's extra field that stand for 32-bit ones of all ones.
  void widen(std::size_t from, std::size_t to, std::uint64_t* const (&wide)[3]) const
  {
    while (to - from >= 4) {
      auto const id = load<std::uint16_t>(from);
      std::size_t const size = load<std::uint16_t>(from + 2);
      from += 4;
      if (size > to - from) { fail("an extra field of ", size, " bytes where ", to - from, " are left"); }
      if (id == 1) {
        std::size_t at = from;
        for (auto* const value : wide) {
          if (*value != all_ones) { continue; }
          if (from + size - at < 8) { fail("the sizes for 64 bits are cut off"); }
          *value = load<std::uint64_t>(at);
          at += 8;
        }
        return;
      }
      from += size;
    }
  }

  [[nodiscard]] ZipEntry read_entry(Directory const& directory, std::size_t& header)
  {
    if (directory.end - at_ < central_size || !has_magic(at_, 0x02014b50U)) {
      fail("the directory ends before its ", directory.entries, " files do");
    }
    auto const flags = load<std::uint16_t>(at_ + 8);
    auto const method = load<std::uint16_t>(at_ + 10);
    std::uint64_t packed = load<std::uint32_t>(at_ + 20);
    std::uint64_t size = load<std::uint32_t>(at_ + 24);
    std::uint64_t offset = load<std::uint32_t>(at_ + 42);
    std::size_t const name_size = load<std::uint16_t>(at_ + 28);
    std::size_t const extra_size = load<std::uint16_t>(at_ + 30);
    std::size_t const total = central_size + name_size + extra_size + load<std::uint16_t>(at_ + 32);
    if (directory.end - at_ < total) { fail("a directory entry is cut off"); }
    std::string_view const name{reinterpret_cast<char const*>(bytes_.data()) + at_ + central_size, name_size};
    auto const extra = at_ + central_size + name_size;
    widen(extra, extra + extra_size, {&size, &packed, &offset});

    if ((flags & 0x2041U) != 0) { fail("the file ", in_quotes(name), " is encrypted"); }
    if (method != 0) {
      fail("the file ", in_quotes(name), " is compressed (method ", method,
           "); PyTorch stores files as they are, and only that is read");
    }
    if (packed != size) {
      fail("the stored file ", in_quotes(name), " has two sizes, ", packed, " and ", size);
    }
    if (offset > directory.begin || directory.begin - offset < local_size) {
      fail("the file ", in_quotes(name), " is said to begin at ", offset, ", outside of the archive's data");
    }
    header = static_cast<std::size_t>(offset);
    if (!has_magic(header, 0x04034b50U)) {
      fail("the file ", in_quotes(name), " is said to begin at ", offset, ", where none does");
    }
    std::size_t const local_name = load<std::uint16_t>(header + 26);
    std::size_t const local_head = local_size + local_name + load<std::uint16_t>(header + 28);
    if (directory.begin - header < local_head || size > directory.begin - header - local_head) {
      fail("the file ", in_quotes(name), " is said to have ", size, " bytes, more than the archive");
    }
    std::string_view const second{reinterpret_cast<char const*>(bytes_.data()) + header + local_size,
                                  local_name};
    if (second != name) { fail("the file ", in_quotes(name), " is named ", in_quotes(second), " as well"); }
    at_ += total;
    auto const begin = header + local_head;
    return {name, begin, begin + static_cast<std::size_t>(size)};
  }

  Bytes const& bytes_;
  FileContext const& file_;
  std::size_t at_ = 0;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
