// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace test {

/// The bytes of a little-endian number.
template <class T>
std::string packed(T value)
{
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

// Pickles put together by hand, an instruction at a time.

inline std::string text(std::string const& value)
{
  return "X" + packed(static_cast<std::uint32_t>(value.size())) + value;
}
inline std::string integer(std::int32_t value)
{
  return "J" + packed(value);
}
inline std::string global(std::string const& module, std::string const& name)
{
  return "c" + module + "\n" + name + "\n";
}
inline std::string tuple(std::string const& items)
{
  return "(" + items + "t";
}
inline std::string call(std::string const& function, std::string const& arguments)
{
  return function + tuple(arguments) + "R";
}
inline std::string pickle(std::string const& body)
{
  return "\x80\x02" + body + ".";
}

/// A storage of floats, and a tensor in it.
inline std::string storage(std::string const& key, std::int32_t count,
                           std::string const& type = "FloatStorage")
{
  return tuple(text("storage") + global("torch", type) + text(key) + text("cpu") + integer(count)) + "Q";
}
inline std::string numbers(std::vector<std::int32_t> const& values)
{
  std::string items;
  for (auto const value : values) { items += integer(value); }
  return tuple(items);
}
inline std::string tensor(std::string const& storage, std::int32_t offset,
                          std::vector<std::int32_t> const& shape, std::vector<std::int32_t> const& strides)
{
  return call(global("torch._utils", "_rebuild_tensor_v2"),
              storage + integer(offset) + numbers(shape) + numbers(strides) + "\x89" + "}");
}

/// One file of a zip archive, with everything that an archive can lie about.
struct ZipFile {
  std::string name;
  std::string content;
  int method = 0;
  int flags = 0;
  std::int64_t offset_error = 0;  ///< added to where the directory says that it begins
  std::int64_t size_error = 0;    ///< added to its size in the directory
  std::string local_name{};       ///< another name in its own header
};

/// What the end of a zip archive may lie about.
struct ZipEnd {
  std::int64_t entries_error = 0;
  std::int64_t begin_error = 0;
  std::int64_t bytes_error = 0;
  bool wide = false;  ///< with the records for 64 bits, and 32-bit fields that say so
  std::string comment{};
};

inline std::string zip(std::vector<ZipFile> const& files, ZipEnd const& end = {})
{
  auto const u16 = [](std::size_t value) { return packed(static_cast<std::uint16_t>(value)); };
  auto const u32 = [](std::int64_t value) { return packed(static_cast<std::uint32_t>(value)); };
  std::string archive;
  std::string directory;
  for (auto const& file : files) {
    auto const begin = static_cast<std::int64_t>(archive.size()) + file.offset_error;
    auto const size = static_cast<std::int64_t>(file.content.size()) + file.size_error;
    auto const& inner = file.local_name.empty() ? file.name : file.local_name;
    auto const common = u16(static_cast<std::size_t>(file.flags)) +
                        u16(static_cast<std::size_t>(file.method)) + u32(0) + u32(0);
    archive += "PK\x03\x04" + u16(20) + common + u32(size) + u32(size) + u16(inner.size()) + u16(0) + inner +
               file.content;
    auto const extra =
        end.wide ? u16(1) + u16(24) + packed(size) + packed(size) + packed(begin) : std::string{};
    auto const narrow = [&](std::int64_t value) { return u32(end.wide ? 0xffffffff : value); };
    directory += "PK\x01\x02" + u16(20) + u16(20) + common + narrow(size) + narrow(size) +
                 u16(file.name.size()) + u16(extra.size()) + u16(0) + u16(0) + u16(0) + u32(0) +
                 narrow(begin) + file.name + extra;
  }
  auto const begin = static_cast<std::int64_t>(archive.size()) + end.begin_error;
  auto const bytes = static_cast<std::int64_t>(directory.size()) + end.bytes_error;
  auto const entries = static_cast<std::int64_t>(files.size()) + end.entries_error;
  auto const record = static_cast<std::int64_t>(archive.size() + directory.size());
  archive += directory;
  if (end.wide) {
    archive += "PK\x06\x06" + packed(std::int64_t{44}) + u16(45) + u16(45) + u32(0) + u32(0) +
               packed(entries) + packed(entries) + packed(bytes) + packed(begin);
    archive += "PK\x06\x07" + u32(0) + packed(record) + u32(1);
  }
  auto const narrow = [&](std::int64_t value) { return u32(end.wide ? 0xffffffff : value); };
  auto const count = u16(end.wide ? 0xffff : static_cast<std::size_t>(entries));
  return archive + "PK\x05\x06" + u16(0) + u16(0) + count + count + narrow(bytes) + narrow(begin) +
         u16(end.comment.size()) + end.comment;
}

/// A checkpoint in a zip archive: a pickle and the storages "0", "1", ...
inline std::string checkpoint(std::string const& data, std::vector<std::string> const& storages = {})
{
  std::vector<ZipFile> files{{"c/data.pkl", data}};
  for (std::size_t i = 0; i < storages.size(); ++i) {
    files.push_back({"c/data/" + std::to_string(i), storages[i]});
  }
  return zip(files);
}

inline std::vector<std::uint8_t> bytes_of(std::string const& content)
{
  return {content.begin(), content.end()};
}

}  // namespace test
