// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/io/detail/descriptor.hpp>
#include <tessera/io/detail/printable.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <system_error>
#include <type_traits>
#include <unistd.h>
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

/// Who reads or writes which file: the beginning of every error sentence.
class FileContext {
 public:
  FileContext(char const* who, std::string path) : who_{who}, path_{std::move(path)} {}

  [[nodiscard]] std::string const& path() const noexcept { return path_; }

  template <class... Parts>
  [[noreturn]] void fail(Parts const&... parts) const
  {
    detail::fail(who_, ": ", path_.empty() ? "''" : printable(path_), ": ", parts...);
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

/// @param flags  those of open(2)
[[nodiscard]] inline Descriptor open_file(FileContext const& file, char const* path, int flags)
{
  Descriptor opened{path, flags};
  if (!opened.is_open()) { file.fail("cannot be opened: ", std::strerror(errno)); }
  return opened;
}

/// Whether a pipe may stand for a file: not among many files, where it is a mistake, and whoever opens one waits
/// for its other end, perhaps for good.
enum class Pipes : std::uint8_t { read, refused };

/// A file that is read: first its beginning, by which it may be refused, then all of it.
///
/// Memory is taken for bytes that are there and looked at, never for a size that the file system or the file
/// claims: a large file of another kind costs its first piece.
class InputFile {
 public:
  /// @throws invalid_argument  it cannot be opened, is a directory, a device or a refused pipe, or is larger than
  ///                           `limit`
  explicit InputFile(FileContext const& file, std::uintmax_t limit = max_file_bytes,
                     Pipes pipes = Pipes::read)
      : file_{file}, limit_{limit}
  {
    refuse_other(std::filesystem::status(file.path(), ignored_), pipes);  // opening one may have effects
    from_ = open_file(file, file.path().c_str(), O_RDONLY);
    struct stat status {};
    if (::fstat(from_.number(), &status) != 0) { file.fail("its size is unknown: ", std::strerror(errno)); }
    if (S_ISREG(status.st_mode)) {
      size_ = static_cast<std::uintmax_t>(status.st_size);
      file.expects(*size_ <= limit, "holds ", *size_, " bytes; at most ", limit, " are read");
    }
    read_up_to(piece);
  }

  /// The first bytes: 128 KiB, or the file where it is shorter.
  [[nodiscard]] Bytes const& beginning() const noexcept { return bytes_; }

  /// Bytes of the file; unknown of a pipe that has not ended.
  [[nodiscard]] std::optional<std::uintmax_t> size() const noexcept
  {
    return ended_ ? std::uintmax_t{bytes_.size()} : size_;
  }

  /// All bytes; this object has none left. @throws invalid_argument  they cannot be read
  [[nodiscard]] Bytes all() &&
  {
    if (size_ && !ended_) { reserve(static_cast<std::size_t>(*size_)); }
    while (!ended_) {
      read_up_to(bytes_.size() + std::max(piece, std::min(bytes_.size() / 4, std::size_t{1} << 24)));
      file_.expects(bytes_.size() <= limit_, "holds more than the ", limit_, " bytes that are read at most");
    }
    if (size_ && bytes_.size() != *size_) {
      file_.fail("ended after ", bytes_.size(), " of its ", *size_, " bytes while it was read");
    }
    return std::move(bytes_);
  }

 private:
  static constexpr std::size_t piece = std::size_t{1} << 17;

  void refuse_other(std::filesystem::file_status const& status, Pipes pipes) const
  {
    using Type = std::filesystem::file_type;
    if (status.type() == Type::directory) { file_.fail("is a directory"); }
    bool const readable =
        status.type() == Type::regular || (status.type() == Type::fifo && pipes == Pipes::read);
    if (std::filesystem::exists(status) && !readable) { file_.fail("is not a regular file"); }
  }

  void reserve(std::size_t size)
  {
    try {
      bytes_.reserve(size);
    } catch (std::bad_alloc const&) {
      file_.fail("holds ", size, " bytes, and there is not memory for them");
    }
  }

  void read_up_to(std::size_t wanted)
  {
    auto const before = bytes_.size();
    if (size_) { wanted = std::min(wanted, std::max(before, static_cast<std::size_t>(*size_))); }
    bytes_.resize(wanted);
    bool failed = false;
    bytes_.resize(before + from_.read(bytes_.data() + before, wanted - before, failed));
    if (failed) { file_.fail("cannot be read: ", std::strerror(errno)); }
    ended_ = bytes_.size() < wanted || (size_ && bytes_.size() >= *size_);
  }

  FileContext const& file_;
  std::error_code ignored_;
  std::uintmax_t limit_;
  Descriptor from_;
  std::optional<std::uintmax_t> size_;  ///< of a regular file
  Bytes bytes_;
  bool ended_ = false;
};

/// The whole file.
/// @throws invalid_argument  it cannot be opened or read, is a directory, a device or a refused pipe, or is larger
///                           than `limit`
[[nodiscard]] inline Bytes read_file(FileContext const& file, std::uintmax_t limit = max_file_bytes,
                                     Pipes pipes = Pipes::read)
{
  return InputFile{file, limit, pipes}.all();
}

/// Writes a file so that its name never stands for half of it: into a new file beside it, which takes
/// its place in commit(), also where the power fails. Without commit() the new file is removed and the old
/// one stays. What is not a regular file (a pipe, /dev/null) is written to directly; a link is followed.
class AtomicFile {
 public:
  explicit AtomicFile(FileContext file) : context_{std::move(file)}, target_{context_.path()}
  {
    namespace fs = std::filesystem;
    std::error_code error;
    auto const status = fs::status(target_, error);
    if (status.type() == fs::file_type::directory) { context_.fail("is a directory"); }
    if (fs::exists(status) && !fs::is_regular_file(status)) {
      file_ = open_file(context_, target_.c_str(), O_WRONLY);
      return;
    }
    if (fs::exists(status)) {
      auto const real = fs::canonical(target_, error);
      if (!error) { target_ = real; }
    }
    folder_ = target_.has_parent_path() ? target_.parent_path() : fs::path{"."};
    static std::atomic<unsigned> counter{0};
    auto const now = std::chrono::steady_clock::now().time_since_epoch().count();
    temporary_ = concat(target_.native(), ".", now, "-", ++counter, ".tmp");
    file_ = open_file(context_, temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL);
    is_there_ = true;  // nothing below may throw: the file would stay
    if (!fs::exists(status)) { return; }
    auto const rights = static_cast<::mode_t>(status.permissions() & fs::perms::mask);
    static_cast<void>(::fchmod(file_.number(), rights));
  }

  AtomicFile(AtomicFile const&) = delete;
  AtomicFile& operator=(AtomicFile const&) = delete;

  ~AtomicFile()
  {
    if (is_there_) { static_cast<void>(::unlink(temporary_.c_str())); }
  }

  void write(void const* from, std::size_t size)
  {
    if (!file_.write(from, size)) { fail(); }
  }

  void write(std::string_view text) { write(text.data(), text.size()); }

  /// Closes the file and gives it its name; its bytes are on the disk before it has the name, and the name is
  /// when this returns.
  void commit()
  {
    if (is_there_ && !file_.sync()) { fail(); }
    if (!file_.close()) { fail(); }
    if (!is_there_) { return; }
    if (::rename(temporary_.c_str(), target_.c_str()) != 0) { fail(); }
    is_there_ = false;
    // Some file systems cannot do this for a folder, and some folders may be written to but not read.
    Descriptor const folder{folder_.c_str(), O_RDONLY | O_DIRECTORY};
    if (folder.is_open() && !folder.sync() && errno == EIO) {
      context_.fail("may be lost where the power fails: ", std::strerror(EIO));
    }
  }

 private:
  [[noreturn]] void fail() const { context_.fail("cannot be written: ", std::strerror(errno)); }

  FileContext context_;
  std::filesystem::path target_;
  std::filesystem::path folder_;
  std::string temporary_;
  bool is_there_ = false;  ///< the temporary file
  Descriptor file_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
