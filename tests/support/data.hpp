// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace test {

/// Folder of recorded data: the environment variable TESSERA_TEST_DATA, else `../shared` beside the source
/// tree.
std::string data_root();

/// Path of a recorded file, or nothing where it is absent.
inline std::optional<std::string> find_data(std::string const& relative)
{
  auto const path = std::filesystem::path{data_root()} / relative;
  std::error_code none;
  if (!std::filesystem::exists(path, none)) { return std::nullopt; }
  return path.string();
}

/// As find_data(), but an absent file counts the running test case as skipped:
/// `auto const file = test::data_file("golden/kmaps.safetensors"); if (!file) { return; }`
std::optional<std::string> data_file(std::string const& relative);

/// Paths of the files in `folder` and below whose names end with `extension`, sorted. Where there is none,
/// the running test case counts as skipped.
std::vector<std::string> data_files(std::string const& folder, std::string const& extension);

}  // namespace test
