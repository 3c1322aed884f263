// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/command_line.hpp"
#include "../support/program.hpp"
#include "pipeline.hpp"

#include <tessera/io/semantic_kitti.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <vector>

namespace label_scans {

namespace fs = std::filesystem;
using program::Failure;

/// The numbers that a .label file has for classes; 0 is a point without a class.
///
/// `text` is "raw" (tessera::semantic_kitti_classes), "train" (class + 1, as learning_map numbers them), "auto" (raw where
/// there are 19 classes, else train), or a number for each class, between commas.
/// @throws UsageError
[[nodiscard]] inline std::vector<std::uint32_t> label_ids(std::string const& text, int num_classes)
{
  auto const classes = static_cast<std::size_t>(num_classes);
  auto const& kitti = tessera::semantic_kitti_classes;
  std::vector<std::uint32_t> ids;
  if (text == "raw" || (text == "auto" && classes == kitti.size())) {
    if (classes != kitti.size()) {
      throw program::UsageError{"--label-ids raw is for 19 classes, and the network has " +
                                std::to_string(num_classes)};
    }
    for (auto const& own : kitti) { ids.push_back(own.id); }
    return ids;
  }
  if (text == "train" || text == "auto") {
    for (std::size_t c = 0; c < classes; ++c) { ids.push_back(static_cast<std::uint32_t>(c + 1)); }
    return ids;
  }
  for (std::size_t at = 0; at <= text.size();) {
    auto const end = std::min(text.find(',', at), text.size());
    ids.push_back(program::parse_number<std::uint32_t>(
        "--label-ids", std::string_view{text}.substr(at, end - at), 0, UINT32_MAX));
    at = end + 1;
  }
  if (ids.size() != classes) {
    throw program::UsageError{"--label-ids has " + std::to_string(ids.size()) + " numbers for " +
                              std::to_string(num_classes) + " classes"};
  }
  return ids;
}

/// A shape as NumPy writes it: (3,), (1, 64, 180, 180).
[[nodiscard]] inline std::string npy_shape(std::vector<std::int64_t> const& shape)
{
  std::string text;
  for (auto const extent : shape) { text += (text.empty() ? "" : ", ") + std::to_string(extent); }
  return "(" + text + (shape.size() == 1 ? ",)" : ")");
}

/// The bytes before the numbers of an npy file of version 1.
/// @param dtype  NumPy's, e.g. "<f4"
[[nodiscard]] inline std::string npy_header(std::string const& dtype, std::vector<std::int64_t> const& shape)
{
  std::string text =
      "{'descr': '" + dtype + "', 'fortran_order': False, 'shape': " + npy_shape(shape) + ", }";
  constexpr std::size_t before = 10;  // magic, version, length
  text.append(64 - (before + text.size() + 1) % 64, ' ');
  text += '\n';
  std::string header{"\x93NUMPY\x01\x00", 8};
  header += static_cast<char>(text.size() & 0xff);
  header += static_cast<char>(text.size() >> 8);
  return header + text;
}

/// A tag that no other process has, on this machine or another one: of containers each has its process 1.
[[nodiscard]] inline std::string unique_tag(char const* what)
{
  std::random_device random;
  char digits[20];
  std::snprintf(digits, sizeof(digits), "-%08x%08x", random(), random());
  return what + std::string{digits};
}

/// Whether there is a result. A folder of that name is none.
[[nodiscard]] inline bool is_result(fs::path const& path)
{
  std::error_code error;
  return fs::is_regular_file(path, error);
}

/// Writes files so that a name never stands for half of one: under a temporary name in the same folder, which
/// is then renamed. That name is short, whatever the result is called, so that every name that the file system
/// takes can be used. A process that is killed leaves its temporary files; the next one with the same tag removes
/// those of each folder it writes to.
class OutputFolder {
 public:
  /// @param tag   of this process among those that write here
  /// @param sync  whether bytes are on the disk before a file has its name
  OutputFolder(std::string folder, std::string tag, bool sync)
      : folder_{std::move(folder)}, tag_{std::move(tag)}, sync_{sync}
  {}

  /// Where results of a name are.
  [[nodiscard]] fs::path path_of(std::string const& name, char const* extension) const
  {
    return folder_ / (name + extension);
  }

  /// Files that may be written at once, and so the temporary names of a folder.
  static constexpr int most_writers = 64;

  /// Writes `parts` one after the other. Any thread, at most `most_writers` at once.
  /// @throws ScanError  the name is longer than the file system takes
  /// @throws Failure    the file cannot be written; nothing of it stays
  void write(fs::path const& path, std::vector<std::string_view> const& parts)
  {
    put(path, parts, [&](char const* temporary) { return ::rename(temporary, path.c_str()) == 0; });
  }

  /// As write(), but what has the name already keeps it, whoever writes at the same time. False: the file system has
  /// no links, and nothing has the name.
  bool write_once(fs::path const& path, std::vector<std::string_view> const& parts)
  {
    bool named = false;
    put(path, parts, [&](char const* temporary) {
      named = ::link(temporary, path.c_str()) == 0 || errno == EEXIST;
      return ::unlink(temporary) == 0;
    });
    return named;
  }

  /// Where a file of a folder is before it has its name.
  [[nodiscard]] fs::path temporary_of(fs::path const& folder, int slot) const
  {
    return folder / (tag_ + "." + std::to_string(slot) + ".tmp");
  }

 private:
  /// Writes `parts` to a temporary name; `give_name(temporary)` gives it its own.
  template <class GiveName>
  void put(fs::path const& path, std::vector<std::string_view> const& parts, GiveName const& give_name)
  {
    make_folder(path.parent_path());
    Slot const slot{*this};
    auto const temporary = temporary_of(path.parent_path(), slot.number).string();
    int const file = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0) { fail(path, "cannot be created", errno); }
    int error = 0;  // the first
    auto const succeeds = [&](bool good) {
      if (!good && error == 0) { error = errno; }
      return good;
    };
    bool good = true;
    for (auto const part : parts) { good = good && succeeds(write_all(file, part)); }
    good = good && (!sync_ || succeeds(::fsync(file) == 0));
    good = succeeds(::close(file) == 0) && good;
    good = good && succeeds(give_name(temporary.c_str()));
    if (!good) {
      static_cast<void>(::unlink(temporary.c_str()));
      fail(path, "cannot be written", error);
    }
  }

  /// One of the temporary names, the first that nobody has.
  struct Slot {
    explicit Slot(OutputFolder& of) : folder{of}
    {
      std::lock_guard const lock{folder.mutex_};
      while (folder.slots_.count(number) > 0) { ++number; }
      folder.slots_.insert(number);
    }
    Slot(Slot const&) = delete;
    Slot& operator=(Slot const&) = delete;
    ~Slot()
    {
      std::lock_guard const lock{folder.mutex_};
      folder.slots_.erase(number);
    }
    OutputFolder& folder;
    int number = 0;
  };

  [[noreturn]] static void fail(fs::path const& path, char const* what, int error)
  {
    auto const text = path.string() + ": " + what + ": " + std::strerror(error);
    if (error == ENAMETOOLONG) { throw ScanError{text}; }  // the others' names are theirs
    throw Failure{text};
  }
  static bool write_all(int file, std::string_view bytes)
  {
    while (!bytes.empty()) {
      auto const written = ::write(file, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) { continue; }
      if (written <= 0) { return false; }
      bytes.remove_prefix(static_cast<std::size_t>(written));
    }
    return true;
  }
  void make_folder(fs::path const& folder)
  {
    std::lock_guard const lock{mutex_};
    if (known_.count(folder.native()) > 0) { return; }
    std::error_code error;
    fs::create_directories(folder, error);
    std::error_code ignored;
    if (!fs::is_directory(folder, ignored)) { fail(folder, "cannot be created", error.value()); }
    for (int slot = 0; slot < most_writers; ++slot) {
      auto const left = temporary_of(folder, slot);
      if (fs::is_regular_file(fs::symlink_status(left, ignored))) { fs::remove(left, ignored); }
    }
    known_.insert(folder.native());
  }

  fs::path folder_;
  std::string tag_;
  bool sync_;
  std::mutex mutex_;
  std::set<std::string> known_;  // folders that are there
  std::set<int> slots_;          // temporary names in use
};

}  // namespace label_scans
