// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// Labelled scans for training: simulated ones and SemanticKITTI's, augmented, mixed, loaded ahead, in batches.

#include <tessera/coords/quantize.hpp>
#include <tessera/coords/vote_labels.hpp>
#include <tessera/data/augmentation.hpp>
#include <tessera/data/loader.hpp>
#include <tessera/data/mix_points.hpp>
#include <tessera/data/point_batch.hpp>
#include <tessera/data/simulated_scans.hpp>
#include <tessera/io/semantic_kitti.hpp>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace ts = tessera;

namespace {

using Exec = ts::Execution<ts::Host>;

int failures = 0;

void expect(bool held, char const* what)
{
  if (!held) {
    std::printf("not so: %s\n", what);
    ++failures;
  }
}

/// A small scanner, so that this program is quick.
ts::LidarOptions small_scanner()
{
  ts::LidarOptions scanner;
  scanner.beams = 16;
  scanner.azimuth_steps = 180;
  return scanner;
}

void show_scans()
{
  auto const scanner = small_scanner();
  // [scans]
  ts::SimulatedScans const scans{1, scanner};  // seed 1; LidarOptions{} is close to an HDL-64E
  auto const unseen = scans.held_out();        // for validation: other streets
  ts::PointCloud const scan = scans.load(42);  // positions, intensities, labels
  // [scans]
  expect(scan.has_labels() && unseen.load(42).positions != scan.positions, "held-out scans are others");

  // [augment]
  auto options = ts::AugmentOptions::lidar();  // any rotation, 5 % of scale, flips
  options.jitter = 0.01;
  options.drop = 0.1;
  auto const changed = ts::augment_points(scan, options, 7);
  auto const mixed =
      ts::mix_points(changed, scans.load(43), ts::MixOptions{}, 7);  // a sector of another scan
  // [augment]
  expect(changed.size() < scan.size() && !mixed.empty(), "points are dropped");

  Exec const exec;
  // [augment_space]
  auto const points = ts::upload_points(scan, exec);  // to the execution's space
  auto const turned = ts::augment_points(points, options, 7, exec);
  // [augment_space]
  expect(ts::download_points(turned, exec).positions == changed.positions, "spaces agree");
}

// [transform]
/// What becomes of a scan, on the loader's threads.
ts::PointCloud augmented(ts::PointCloud const& scan, ts::SampleIndex const& at)
{
  return ts::augment_points(scan, ts::AugmentOptions::lidar(), at.seed);
}
// [transform]

void show_loader(int rank, int ranks, std::int64_t steps)
{
  ts::SimulatedScans const scans{1, small_scanner()};
  Exec const exec;
  // [loader]
  auto const order = ts::ScanOrder(1000).shuffle().seed(7).shard(rank, ranks);
  ts::LoaderOptions options;
  options.threads = 4;
  auto loader = ts::make_loader(scans, order, options, augmented);
  // [loader]
  // [batch]
  ts::QuantizeOptions<3> const voxels{0.2F};  // metres
  for (std::int64_t step = 0; step < steps; ++step) {
    auto const batch = ts::upload_batch(loader.next_batch(2), exec);
    auto const quantized = ts::sparse_quantize(batch.view(), voxels, exec);
    auto const labels = ts::vote_labels(quantized, batch.points.labels.data(), -1, exec);
    // forward, loss, backward, step
    expect(labels.size() == quantized.num_voxels(), "each voxel has a label");
  }
  // [batch]
  // [resume]
  ts::LoaderState const state = loader.state();  // into the checkpoint: a seed and a position
  auto resumed = ts::make_loader(scans, order);
  resumed.seek(state);
  // [resume]
  expect(state.position == 2 * steps && resumed.state().position == state.position,
         "it goes on where the other one was");
}

/// The folder of two scans that SemanticKITTI would have.
std::filesystem::path make_kitti()
{
  auto const folder = std::filesystem::temp_directory_path() / "tessera-example-kitti";
  for (char const* const part : {"velodyne", "labels"}) {
    std::filesystem::create_directories(folder / "sequences" / "08" / part);
  }
  ts::SimulatedScans const scans{1, small_scanner()};
  for (int i = 0; i < 2; ++i) {
    auto const scan = scans.load(i);
    auto const sequence = folder / "sequences" / "08";
    ts::write_point_bin((sequence / "velodyne" / ("00000" + std::to_string(i) + ".bin")).string(), scan);
    std::vector<std::uint32_t> const road(static_cast<std::size_t>(scan.size()), 40);
    std::ofstream labels{sequence / "labels" / ("00000" + std::to_string(i) + ".label"), std::ios::binary};
    labels.write(reinterpret_cast<char const*>(road.data()), static_cast<std::streamsize>(4 * road.size()));
  }
  return folder;
}

void show_kitti()
{
  auto const folder = make_kitti().string();
  // [kitti]
  ts::SemanticKitti const valid{folder, ts::SemanticKittiSplit::valid};  // folder/sequences/08/...
  auto loader = ts::make_loader(valid, ts::ScanOrder(valid.size()).even(false), {4, 8, 1});
  while (auto const scan = loader.next()) {
    expect(scan->labels[0] == 8, ts::semantic_kitti_classes[8].name);  // 8 is road; -1 is not evaluated
  }
  // [kitti]
  std::filesystem::remove_all(folder);
}

}  // namespace

int main()
{
  show_scans();
  show_loader(0, 2, 2);
  show_loader(1, 2, 2);
  show_kitti();
  std::printf("%s\n", failures == 0 ? "as expected" : "not as expected");
  return failures == 0 ? 0 : 1;
}
