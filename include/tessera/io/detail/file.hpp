// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

#if defined(__BYTE_ORDER__) && defined(__ORDER_LITTLE_ENDIAN__)
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the file readers need a little-endian machine");
#endif

using Bytes = std::vector<std::uint8_t>;

/// Largest file that is read; a file is held in memory as a whole.
inline constexpr std::uintmax_t max_file_bytes = std::uintmax_t{1} << 36;

/// Text from a file as it may be shown: control characters as `\x1b`, so that it neither breaks the line nor
/// commands the terminal.
[[nodiscard]] inline std::string printable(std::string_view text)
{
  constexpr char const* digits = "0123456789abcdef";
  std::string result;
  for (char const c : text) {
    auto const byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      result += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
    } else {
      result += c;
    }
  }
  return result;
}

/// Text from a file as it may stand in an error sentence: in quotes, printable, of bounded length.
[[nodiscard]] inline std::string in_quotes(std::string_view text)
{
  constexpr std::size_t longest = 96;
  return concat("'", printable(text.substr(0, longest)), text.size() > longest ? "'..." : "'");
}

/// Who reads or writes which file: the beginning of every error sentence.
class FileContext {
 public:
  FileContext(char const* who, std::string path) : who_{who}, path_{std::move(path)} {}

  [[nodiscard]] std::string const& path() const noexcept { return path_; }

  template <class... Parts>
  [[noreturn]] void fail(Parts const&... parts) const
  {
    throw invalid_argument{concat(who_, ": ", path_.empty() ? "''" : path_, ": ", parts...)};
  }

  template <class... Parts>
  void expects(bool held, Parts const&... parts) const
  {
    if (!held) { fail(parts...); }
  }

 private:
  char const* who_;
  std::string path_;
};

/// A little-endian number at an address of any alignment.
template <class T>
[[nodiscard]] T load_bytes(std::uint8_t const* from) noexcept
{
  static_assert(std::is_trivially_copyable_v<T>, "load: T must be trivially copyable");
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

struct CloseFile {
  void operator()(std::FILE* file) const noexcept { static_cast<void>(std::fclose(file)); }
};
using FilePointer = std::unique_ptr<std::FILE, CloseFile>;

[[nodiscard]] inline FilePointer open_file(FileContext const& file, std::string const& path, char const* mode)
{
  errno = 0;
  FilePointer opened{std::fopen(path.c_str(), mode)};
  if (opened == nullptr) { file.fail("cannot be opened: ", std::strerror(errno)); }
  return opened;
}

/// The bytes of a pipe until its end; memory grows with what arrives.
[[nodiscard]] inline Bytes read_pipe(FileContext const& file, std::FILE* from, std::uintmax_t limit)
{
  Bytes bytes;
  std::vector<std::uint8_t> chunk(std::size_t{1} << 16);
  while (auto const got = std::fread(chunk.data(), 1, chunk.size(), from)) {
    bytes.insert(bytes.end(), chunk.data(), chunk.data() + got);
    file.expects(bytes.size() <= limit, "holds more than the ", limit, " bytes that are read at most");
  }
  file.expects(std::ferror(from) == 0, "cannot be read: ", std::strerror(errno));
  return bytes;
}

/// The whole file. Memory is taken for the bytes the file really has, never for a size it claims.
///
/// @throws invalid_argument  it cannot be opened or read, is a directory or a device, or is larger
///                           than `limit`
[[nodiscard]] inline Bytes read_file(FileContext const& file, std::uintmax_t limit = max_file_bytes)
{
  std::error_code error;
  auto const status = std::filesystem::status(file.path(), error);
  if (status.type() == std::filesystem::file_type::directory) { file.fail("is a directory"); }
  bool const regular = status.type() == std::filesystem::file_type::regular;
  bool const pipe = status.type() == std::filesystem::file_type::fifo;
  if (std::filesystem::exists(status) && !regular && !pipe) { file.fail("is not a regular file"); }

  auto const opened = open_file(file, file.path(), "rb");
  if (pipe) { return read_pipe(file, opened.get(), limit); }
  auto const size = std::filesystem::file_size(file.path(), error);
  if (error) { file.fail("its size is unknown: ", error.message()); }
  file.expects(size <= limit, "holds ", size, " bytes; at most ", limit, " are read");
  Bytes bytes(static_cast<std::size_t>(size));
  errno = 0;
  auto const got = bytes.empty() ? 0 : std::fread(bytes.data(), 1, bytes.size(), opened.get());
  if (std::ferror(opened.get()) != 0) { file.fail("cannot be read: ", std::strerror(errno)); }
  file.expects(got == bytes.size(), "ended after ", got, " of its ", bytes.size(),
               " bytes while it was read");
  return bytes;
}

/// Writes a file so that its name never stands for half of it: into a new file beside it, which takes
/// its place in commit(). Without commit() the new file is removed and the old one stays.
/// What is not a regular file (a pipe, /dev/null) is written to directly; a link is followed.
class AtomicFile {
 public:
  explicit AtomicFile(FileContext file) : context_{std::move(file)}, target_{context_.path()}
  {
    namespace fs = std::filesystem;
    std::error_code error;
    auto const status = fs::status(target_, error);
    if (status.type() == fs::file_type::directory) { context_.fail("is a directory"); }
    if (fs::exists(status) && !fs::is_regular_file(status)) {
      file_ = open_file(context_, target_.string(), "wb");
      return;
    }
    if (fs::exists(status)) {
      auto const real = fs::canonical(target_, error);
      if (!error) { target_ = real; }
    }
    static std::atomic<unsigned> counter{0};
    auto const now = std::chrono::steady_clock::now().time_since_epoch().count();
    auto const name = concat(target_.string(), ".", now, "-", ++counter, ".tmp");
    file_ = open_file(context_, name, "wbx");
    temporary_ = name;
    if (fs::exists(status)) { fs::permissions(temporary_, status.permissions(), error); }
  }

  AtomicFile(AtomicFile const&) = delete;
  AtomicFile& operator=(AtomicFile const&) = delete;

  ~AtomicFile()
  {
    file_.reset();
    if (temporary_.empty()) { return; }
    std::error_code ignored;
    std::filesystem::remove(temporary_, ignored);
  }

  void write(void const* from, std::size_t size)
  {
    errno = 0;
    if (size != 0 && std::fwrite(from, 1, size, file_.get()) != size) { fail(); }
  }

  void write(std::string_view text) { write(text.data(), text.size()); }

  /// Closes the file and gives it its name.
  void commit()
  {
    errno = 0;
    if (std::fclose(file_.release()) != 0) { fail(); }
    if (temporary_.empty()) { return; }
    std::error_code error;
    std::filesystem::rename(temporary_, target_, error);
    if (error) { context_.fail("cannot be written: ", error.message()); }
    temporary_.clear();
  }

 private:
  [[noreturn]] void fail() const { context_.fail("cannot be written: ", std::strerror(errno)); }

  FileContext context_;
  std::filesystem::path target_;
  std::filesystem::path temporary_;
  FilePointer file_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
