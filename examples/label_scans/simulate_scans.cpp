// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// simulate_scans <folder> <number> [<beams> [<rays of a beam>]]: writes frames of the built-in scene as KITTI's
// files, for tests and for measuring, as a sequence of SemanticKITTI: <folder>/sequences/00/velodyne/.

#include "../support/command_line.hpp"
#include "../support/program.hpp"

#include <tessera/data/lidar_simulator.hpp>

#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace {

void write_scan(tessera::LidarOptions const& lidar, std::int64_t frame, std::filesystem::path const& folder)
{
  auto const cloud = tessera::simulate_lidar(lidar, frame);
  std::vector<float> rows;
  for (std::size_t i = 0; i < cloud.features.size(); ++i) {
    auto const* const position = cloud.positions.data() + 3 * i;
    rows.insert(rows.end(), {position[0], position[1], position[2], cloud.features[i]});
  }
  char name[32];
  std::snprintf(name, sizeof(name), "%06lld.bin", static_cast<long long>(frame));
  std::ofstream file{folder / name, std::ios::binary};
  file.write(reinterpret_cast<char const*>(rows.data()),
             static_cast<std::streamsize>(rows.size() * sizeof(float)));
  if (!file.flush()) { throw program::Failure{(folder / name).string() + ": cannot be written"}; }
}

}  // namespace

int main(int argc, char** argv)
{
  try {
    std::vector<std::string> const arguments{argv + 1, argv + argc};
    if (arguments.size() < 2 || arguments.size() > 4) {
      throw program::UsageError{"simulate_scans <folder> <number> [<beams> [<rays of a beam>]]"};
    }
    auto const number = program::parse_number("number", arguments[1], 1, 1000000);
    tessera::LidarOptions lidar;
    if (arguments.size() > 2) { lidar.beams = program::parse_number("beams", arguments[2], 1, 1024); }
    if (arguments.size() > 3) { lidar.azimuth_steps = program::parse_number("rays", arguments[3], 1, 65536); }
    auto const folder = std::filesystem::path{arguments[0]} / "sequences" / "00" / "velodyne";
    std::filesystem::create_directories(folder);
    for (int frame = 0; frame < number; ++frame) { write_scan(lidar, frame, folder); }
    return 0;
  } catch (program::UsageError const& error) {
    return program::complain("simulate_scans", error.what(), 2);
  } catch (std::exception const& error) {
    return program::complain("simulate_scans", error.what(), 1);
  }
}
