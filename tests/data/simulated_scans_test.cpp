// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#include "../support/files.hpp"

#include <tessera/data/augmentation.hpp>
#include <tessera/data/loader.hpp>
#include <tessera/data/simulated_scans.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <set>
#include <vector>

using namespace tessera;

namespace {

LidarOptions coarse()
{
  LidarOptions options;
  options.beams = 16;
  options.azimuth_steps = 120;
  return options;
}

}  // namespace

TEST_CASE("simulated scans: labelled, a function of seed and number, and all different")
{
  SimulatedScans const scans{5, coarse()};
  std::set<std::vector<float>> different;
  for (std::int64_t i = 0; i < 10; ++i) {
    auto const scan = scans.load(i);
    CHECK(scan.size() > 500);
    CHECK(scan.labels.size() == static_cast<std::size_t>(scan.size()));
    CHECK(scan.positions == SimulatedScans(5, coarse()).load(i).positions);
    different.insert(scan.positions);
    different.insert(SimulatedScans(6, coarse()).load(i).positions);
    different.insert(scans.held_out().load(i).positions);
  }
  CHECK(different.size() == 30);
  CHECK(scans.load(std::int64_t{1} << 60).size() > 500);
  CHECK(SimulatedScans::size() == endless);
  CHECK(!scans.is_held_out());
  CHECK(scans.held_out().is_held_out());
}

TEST_CASE("simulated scans: a loader gives them augmented, the same on any number of threads")
{
  SimulatedScans const scans{1, coarse()};
  auto const augmented = [](PointCloud const& scan, SampleIndex const& at) {
    return augment_points(scan, AugmentOptions::lidar(), at.seed);
  };
  std::vector<std::vector<float>> runs[2];
  for (int run = 0; run < 2; ++run) {
    auto loader = make_loader(scans, ScanOrder(endless).seed(3), {3 * run, 4, -1}, augmented);
    for (int i = 0; i < 8; ++i) { runs[run].push_back(loader.next()->positions); }
  }
  CHECK(runs[0] == runs[1]);
  auto plain = make_loader(scans, ScanOrder(endless));
  CHECK(plain.next()->positions == scans.load(0).positions);
  CHECK(runs[0][0] != scans.load(0).positions);
}

TEST_CASE("simulated scans: what cannot be meant is refused")
{
  auto bad = coarse();
  bad.beams = 0;
  CHECK(test::has(test::error_of([&] { SimulatedScans{1, bad}; }), "beams is 0"));
  CHECK(test::error_of([] { static_cast<void>(SimulatedScans{}.load(-1)); }) == "SimulatedScans: scan -1");
}
