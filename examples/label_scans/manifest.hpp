// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/program.hpp"
#include "json_line.hpp"
#include "output.hpp"

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <sys/file.h>
#include <system_error>
#include <unistd.h>

namespace label_scans {

namespace fs = std::filesystem;
using program::Failure;

/// What a manifest says of scans: the last line of each counts.
struct ManifestContents {
  struct Entry {
    bool done = false;
    std::string reason;  // of a failure
  };
  std::map<std::string, Entry> scans;  // by name
  std::string settings;                // of the last run; empty: there was none

  /// Reads what is there; a line that was cut, by a crash while it was written, does not count.
  static ManifestContents read(fs::path const& path)
  {
    ManifestContents contents;
    std::error_code error;
    if (!fs::is_regular_file(path, error)) { return contents; }  // whoever opens a pipe may wait for good
    std::ifstream file{path};
    for (std::string line; std::getline(file, line);) {
      auto const entries = parse_json_line(line);
      if (!entries) { continue; }
      auto const value = [&](char const* key) {
        auto const found = entries->find(key);
        return found == entries->end() ? std::string{} : found->second;
      };
      auto const status = value("status");
      if (status == "begun") { contents.settings = value("settings"); }
      if (status == "done" || status == "failed") {
        contents.scans[value("name")] = {status == "done", value("reason")};
      }
    }
    return contents;
  }
};

/// A file of JSON lines that only grows. One process has it at a time: another is refused.
class Manifest {
 public:
  /// @throws Failure  it cannot be opened, or another process works on the same shard
  explicit Manifest(fs::path path) : path_{std::move(path)}
  {
    std::error_code error;
    fs::create_directories(path_.parent_path(), error);
    std::error_code ignored;
    if (!fs::is_directory(path_.parent_path(), ignored)) {
      auto const why = error ? error.message() : std::strerror(ENOTDIR);
      throw Failure{path_.parent_path().string() + ": cannot be created: " + why};
    }
    file_ = ::open(path_.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (file_ < 0) { throw Failure{path_.string() + ": cannot be opened: " + std::strerror(errno)}; }
    // Where a file system has no locks, nothing is known and nothing is refused.
    if (::flock(file_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      ::close(file_);
      throw Failure{path_.string() + ": another process works on this shard"};
    }
    contents_ = ManifestContents::read(path_);
    // What a crash has cut ends here, so that the next line is one by itself.
    char last = '\n';
    auto const size = ::lseek(file_, 0, SEEK_END);
    if (size > 0 && ::pread(file_, &last, 1, size - 1) == 1 && last != '\n') { append("\n"); }
  }
  Manifest(Manifest const&) = delete;
  Manifest& operator=(Manifest const&) = delete;
  ~Manifest() { ::close(file_); }

  /// What it said when it was opened.
  [[nodiscard]] ManifestContents const& before() const { return contents_; }
  [[nodiscard]] fs::path const& path() const { return path_; }

  /// Adds a line by one call of write(2).
  void append(std::string const& line)
  {
    auto const written = ::write(file_, line.data(), line.size());
    if (written != static_cast<ssize_t>(line.size())) {
      throw Failure{path_.string() + ": cannot be written: " + std::strerror(written < 0 ? errno : ENOSPC)};
    }
  }

 private:
  fs::path path_;
  int file_ = -1;
  ManifestContents contents_;
};

/// Says that results of a folder have these settings, and returns what they have: those of the first process that
/// said so, however many do at once. The file gets its name with its content, by one link(2), which a shared file
/// system does once. Where there are no links, each process has its own.
/// @param own      the process's manifest, in the folder of all
/// @param replace  whatever was said before
[[nodiscard]] inline std::string claim_settings(Manifest const& own, std::string const& ours, bool replace)
{
  auto const folder = own.path().parent_path();
  auto const path = folder / "settings.jsonl";
  OutputFolder claim{folder.string(), own.path().stem().string(), true};
  auto const line = JsonLine{}.add("status", "begun").add("settings", ours).text();
  if (replace) {
    claim.write(path, {line});
    return ours;
  }
  if (!claim.write_once(path, {line})) { return ours; }
  return ManifestContents::read(path).settings;
}

/// The manifest of a shard, and how its lines begin.
[[nodiscard]] inline JsonLine manifest_line(std::string const& name, char const* status)
{
  return JsonLine{}.add("name", name).add("status", status);
}

}  // namespace label_scans
