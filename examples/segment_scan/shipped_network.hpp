// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <filesystem>
#include <string>
#include <system_error>

namespace segment_scan {

/// The name of the trained network that comes with the program.
inline constexpr char const* shipped_network_name = "minkunet_simulated.safetensors";

/// Where it is: beside the program, or where the program was built from; empty if it is in neither place.
[[nodiscard]] inline std::string shipped_network()
{
  namespace fs = std::filesystem;
  std::error_code error;
  auto const program = fs::read_symlink("/proc/self/exe", error);
  if (!error) {
    auto const beside = program.parent_path() / shipped_network_name;
    if (fs::is_regular_file(beside, error)) { return beside.string(); }
  }
#ifdef SEGMENT_SCAN_NETWORKS
  auto const in_source = fs::path{SEGMENT_SCAN_NETWORKS} / shipped_network_name;
  if (fs::is_regular_file(in_source, error)) { return in_source.string(); }
#endif
  return "";
}

}  // namespace segment_scan
