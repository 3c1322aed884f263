// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
//   simulate_kitti FOLDER [LABEL]
//
// Writes a folder as SemanticKITTI has it, for the tests: two simulated scans of sequence 00, which trains, and one of 08,
// which validates. LABEL is the number of the first point's label in place of its own.

#include <tessera/data/simulated_scans.hpp>
#include <tessera/io/point_bin.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace ts = tessera;

namespace {

void write_scan(std::filesystem::path const& sequence, int index, ts::PointCloud const& scan, int first_label)
{
  constexpr std::uint32_t labels_of_scene[ts::num_scene_classes] = {40, 10, 50, 80,
                                                                    70};  // road, car, building, ...
  for (char const* const part : {"velodyne", "labels"}) {
    std::filesystem::create_directories(sequence / part);
  }
  auto const name = "00000" + std::to_string(index);
  ts::write_point_bin((sequence / "velodyne" / (name + ".bin")).string(), scan);
  std::vector<std::uint32_t> labels;
  for (auto const label : scan.labels) { labels.push_back(labels_of_scene[label]); }
  if (first_label >= 0 && !labels.empty()) { labels.front() = static_cast<std::uint32_t>(first_label); }
  std::ofstream file{sequence / "labels" / (name + ".label"), std::ios::binary};
  file.write(reinterpret_cast<char const*>(labels.data()), static_cast<std::streamsize>(4 * labels.size()));
  if (!file) { throw std::runtime_error{"a .label file cannot be written"}; }
}

}  // namespace

int main(int argc, char** argv)
{
  try {
    if (argc < 2) { throw std::runtime_error{"simulate_kitti FOLDER [LABEL]"}; }
    std::filesystem::path const sequences = std::filesystem::path{argv[1]} / "sequences";
    int const first_label = argc > 2 ? std::atoi(argv[2]) : -1;
    ts::LidarOptions scanner;
    scanner.beams = 16;
    scanner.azimuth_steps = 180;
    ts::SimulatedScans const scans{1, scanner};
    write_scan(sequences / "00", 0, scans.load(0), -1);
    write_scan(sequences / "00", 1, scans.load(1), first_label);
    write_scan(sequences / "08", 0, scans.held_out().load(0), -1);
    return 0;
  } catch (std::exception const& error) {
    std::fprintf(stderr, "simulate_kitti: %s\n", error.what());
    return 1;
  }
}
