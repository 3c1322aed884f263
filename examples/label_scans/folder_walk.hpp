// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/program.hpp"

#include <filesystem>
#include <optional>
#include <set>
#include <sys/stat.h>
#include <sys/types.h>
#include <system_error>
#include <utility>
#include <vector>

namespace label_scans {

namespace fs = std::filesystem;
using program::Failure;

namespace listing {

/// A folder by whatever path: its device and number.
using FolderId = std::pair<dev_t, ino_t>;

[[nodiscard]] inline std::optional<FolderId> id_of(fs::path const& folder)
{
  struct stat status {};
  if (::stat(folder.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) { return std::nullopt; }
  return FolderId{status.st_dev, status.st_ino};
}

/// Calls `visit(path, path below the folder)` for every file at any depth but those below `except`. Links to
/// folders are followed. Each folder is looked at once: a link to one above it would never end. A folder that has
/// a path without links goes by that one, so that names depend on no order of entries.
template <class Visit>
void for_each_file(fs::path const& folder, fs::path const& except, Visit const& visit)
{
  std::set<FolderId> seen;
  if (auto const id = id_of(except)) { seen.insert(*id); }
  std::set<fs::path> links;
  std::vector<fs::path> open{folder};
  for (;;) {
    if (open.empty()) {
      if (links.empty()) { return; }
      open.push_back(*links.begin());
      links.erase(links.begin());
    }
    auto const now = std::move(open.back());
    open.pop_back();
    if (auto const id = id_of(now); id && !seen.insert(*id).second) { continue; }
    std::error_code error;
    for (fs::directory_iterator at{now, error}; !error && at != fs::directory_iterator{};
         at.increment(error)) {
      program::throw_if_interrupted();
      std::error_code ignored;
      if (!at->is_directory(ignored)) {
        visit(at->path().string(), at->path().lexically_relative(folder).generic_string());
      } else if (at->is_symlink(ignored)) {
        links.insert(at->path());
      } else {
        open.push_back(at->path());
      }
    }
    if (error) { throw Failure{now.string() + ": cannot be listed: " + error.message()}; }
  }
}

/// Files right in a folder.
[[nodiscard]] inline std::vector<fs::path> entries(fs::path const& folder)
{
  std::error_code error;
  fs::directory_iterator at{folder, error};
  std::vector<fs::path> found;
  for (; !error && at != fs::directory_iterator{}; at.increment(error)) { found.push_back(at->path()); }
  if (error) { throw Failure{folder.string() + ": cannot be listed: " + error.message()}; }
  return found;
}

}  // namespace listing
}  // namespace label_scans
