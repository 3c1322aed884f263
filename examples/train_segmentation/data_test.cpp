// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// What the program makes of scans before it trains.

#include "batch.hpp"
#include "scans.hpp"

#include <cstdio>
#include <vector>

namespace ts = tessera;

namespace {

int failures = 0;

void expect(bool held, char const* what)
{
  if (!held) {
    std::printf("not so: %s\n", what);
    ++failures;
  }
}

train_segmentation::ScanOptions small()
{
  train_segmentation::ScanOptions options;
  options.scanner.beams = 16;
  options.scanner.azimuth_steps = 180;
  options.held_out = 5;
  return options;
}

}  // namespace

int main()
{
  auto const options = small();
  train_segmentation::ScanSet const training{options, true};
  train_segmentation::ScanSet const validation{options, false};
  expect(training.size() == ts::endless && validation.size() == 5, "numbers of scans");
  expect(training.classes().size() == 5 && training.classes()[1] == "car", "names of classes");
  expect(training.load(0).positions != validation.load(0).positions, "validation has other scans");

  std::vector<std::vector<float>> runs;
  std::size_t mixed = 0;
  for (int const threads : {0, 3}) {
    auto loader = train_segmentation::training_loader(training, options, 1, 2, {threads, 4, -1});
    runs.emplace_back();
    for (int i = 0; i < 12; ++i) {
      auto const scan = loader.next().value();
      expect(scan.channels == 4 && scan.has_labels(), "four channels and labels");
      expect(scan.features[4 * 7 + 2] == scan.positions[3 * 7 + 2], "x, y and z are channels");
      runs.back().insert(runs.back().end(), scan.features.begin(), scan.features.end());
      mixed += scan.size() != training.load(2 * i + 1).size() ? 1 : 0;
    }
  }
  expect(runs[0] == runs[1], "threads do not show");
  expect(mixed > 4 && mixed < 20, "about half of the scans are mixed");

  std::size_t seen = 0;
  for (int rank = 0; rank < 2; ++rank) {
    auto loader = train_segmentation::validation_loader(validation, options, rank, 2, {2, 4, -1});
    while (loader.next()) { ++seen; }
  }
  expect(seen == 5, "each validation scan is looked at once");

  ts::Execution<ts::Host> const exec;
  auto loader = train_segmentation::training_loader(training, options, 0, 1, {});
  auto const scans = loader.next_batch(3);
  auto const batch = train_segmentation::make_batch<float>(scans, ts::QuantizeOptions<3>{0.2F}, exec);
  expect(batch.x.channels() == 4 && batch.x.coordinates()->num_batches() == 3, "a batch of three");
  expect(batch.labels.size() == batch.x.num_rows(), "a label for each voxel");
  expect(batch.voxel_of.size() == batch.point_labels.size(), "a voxel for each point");
  std::printf("%s\n", failures == 0 ? "as expected" : "not as expected");
  return failures == 0 ? 0 : 1;
}
