// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/program.hpp"
#include "folder_walk.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace label_scans {

namespace fs = std::filesystem;
using program::Failure;

/// A file of points, and what its results are called.
struct Scan {
  std::string path;
  std::string name;  // a path below the output folder, without an extension
};

/// How files are named below the folder that is given.
enum class Layout : std::uint8_t {
  detect,
  folder,          // any files of points, at any depth
  semantic_kitti,  // sequences/XX/velodyne/NNNNNN.bin
  nuscenes,        // samples/LIDAR_TOP/*.pcd.bin
  list,            // a text file: a path on each line, after a tab a name
};

[[nodiscard]] inline char const* name_of(Layout layout)
{
  constexpr char const* names[] = {"detect", "folder", "semantickitti", "nuscenes", "list"};
  return names[static_cast<std::size_t>(layout)];
}

[[nodiscard]] inline bool ends_with(std::string_view text, std::string_view end)
{
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

/// `path` without the extension of a file of points.
[[nodiscard]] inline std::string without_extension(std::string const& path)
{
  for (std::string_view const extension : {".pcd.bin", ".bin", ".pcd", ".ply", ".npy"}) {
    if (ends_with(path, extension)) { return path.substr(0, path.size() - extension.size()); }
  }
  return path;
}

/// @throws Failure  results of that name would be outside of the output folder
inline void check_name(std::string const& name, std::string const& path)
{
  fs::path const relative{name};
  bool const inside = !name.empty() && relative.is_relative() && !relative.filename().empty() &&
                      std::none_of(relative.begin(), relative.end(),
                                   [](auto const& part) { return part == ".." || part == "."; });
  if (!inside) {
    throw Failure{path + ": '" + name +
                  "' is no name below the output folder; put one after the path and a tab"};
  }
}

/// A line of a list or of a request: a path, or a path, a tab and a name.
[[nodiscard]] inline Scan parse_scan_line(std::string line)
{
  if (!line.empty() && line.back() == '\r') { line.pop_back(); }
  auto const tab = line.find('\t');
  if (tab == std::string::npos) { return {std::move(line), {}}; }
  Scan scan{line.substr(0, tab), line.substr(tab + 1)};
  check_name(scan.name, scan.path);
  return scan;
}

namespace listing {

[[nodiscard]] inline std::vector<Scan> of_folder(fs::path const& folder, fs::path const& output)
{
  std::error_code error;
  bool const same = fs::equivalent(folder, output, error);
  std::vector<Scan> scans;
  for_each_file(folder, same ? fs::path{} : output, [&](std::string const& path, std::string const& below) {
    auto name = without_extension(below);
    if (name != below) { scans.push_back({path, std::move(name)}); }
  });
  return scans;
}

[[nodiscard]] inline std::vector<Scan> of_semantic_kitti(fs::path const& folder)
{
  std::vector<Scan> scans;
  for (auto const& sequence : entries(folder / "sequences")) {
    std::error_code error;
    auto const type = fs::status(sequence / "velodyne", error).type();
    if (type == fs::file_type::none || type == fs::file_type::unknown) {  // its scans would be left out
      throw Failure{(sequence / "velodyne").string() + ": cannot be listed: " + error.message()};
    }
    if (type != fs::file_type::directory) { continue; }
    for (auto const& file : entries(sequence / "velodyne")) {
      if (file.extension() != ".bin") { continue; }
      // Where the SemanticKITTI API looks for results.
      scans.push_back({file.string(),
                       "sequences/" + sequence.filename().string() + "/predictions/" + file.stem().string()});
    }
  }
  return scans;
}

[[nodiscard]] inline std::vector<Scan> of_nuscenes(fs::path const& folder, bool sweeps)
{
  std::vector<Scan> scans;
  for (char const* const part : {"samples", "sweeps"}) {
    if (part == std::string_view{"sweeps"} && !sweeps) { continue; }
    for (auto const& file : entries(folder / part / "LIDAR_TOP")) {
      if (!ends_with(file.native(), ".bin")) { continue; }
      scans.push_back(
          {file.string(), std::string{part} + "/LIDAR_TOP/" + without_extension(file.filename().string())});
    }
  }
  return scans;
}

/// The longest folder that all paths are in, with its slash; empty if there is none.
[[nodiscard]] inline std::string common_folder(std::vector<Scan> const& scans)
{
  if (scans.empty()) { return {}; }
  std::string common = scans.front().path;
  for (auto const& scan : scans) {
    auto const differs = std::mismatch(common.begin(), common.end(), scan.path.begin(), scan.path.end());
    common.erase(differs.first, common.end());
  }
  auto const slash = common.rfind('/');
  return slash == std::string::npos ? "" : common.substr(0, slash + 1);
}

[[nodiscard]] inline std::vector<Scan> of_list(std::string const& path)
{
  std::ifstream file{path};
  if (!file) { throw Failure{path + ": cannot be opened"}; }
  std::vector<Scan> scans;
  bool first = true;
  for (std::string line; std::getline(file, line); first = false) {
    constexpr std::string_view mark = "\xef\xbb\xbf";  // that some editors begin UTF-8 with
    if (first && line.compare(0, mark.size(), mark) == 0) { line.erase(0, mark.size()); }
    auto scan = parse_scan_line(line);
    if (!scan.path.empty()) { scans.push_back(std::move(scan)); }
  }
  if (file.bad()) { throw Failure{path + ": cannot be read"}; }
  auto const common = common_folder(scans);
  for (auto& scan : scans) {
    if (scan.name.empty()) {
      scan.name = without_extension(scan.path.substr(common.size()));
      check_name(scan.name, scan.path);
    }
  }
  return scans;
}

[[nodiscard]] inline Layout detect(fs::path const& source)
{
  std::error_code error;
  if (!fs::is_directory(source, error)) {
    if (!fs::exists(source, error)) { throw Failure{source.string() + ": there is no such file or folder"}; }
    if (without_extension(source.string()) != source.string()) {
      throw Failure{source.string() + " is a scan; name its folder, or a list with its path in a line"};
    }
    return Layout::list;
  }
  if (fs::is_directory(source / "sequences", error)) { return Layout::semantic_kitti; }
  if (fs::is_directory(source / "samples" / "LIDAR_TOP", error)) { return Layout::nuscenes; }
  return Layout::folder;
}

}  // namespace listing

/// The scans of a folder or a list, sorted by name: the same for every process that looks at the same files.
///
/// @param layout  detect is replaced by what the folder is
/// @param output  not searched where it is below the folder
/// @throws Failure  the folder or list cannot be read; two scans would have results of one name
[[nodiscard]] inline std::vector<Scan> find_scans(std::string const& source, Layout& layout, bool sweeps,
                                                  std::string const& output)
{
  if (layout == Layout::detect) { layout = listing::detect(source); }
  auto scans = layout == Layout::list             ? listing::of_list(source)
               : layout == Layout::semantic_kitti ? listing::of_semantic_kitti(source)
               : layout == Layout::nuscenes       ? listing::of_nuscenes(source, sweeps)
                                                  : listing::of_folder(source, output);
  std::sort(scans.begin(), scans.end(), [](auto const& a, auto const& b) { return a.name < b.name; });
  auto const twice = std::adjacent_find(scans.begin(), scans.end(),
                                        [](auto const& a, auto const& b) { return a.name == b.name; });
  if (twice != scans.end()) {
    throw Failure{"the results of " + twice->path + " and " + (twice + 1)->path + " would both be '" +
                  twice->name + "'; a list may give them names after a tab"};
  }
  return scans;
}

}  // namespace label_scans
