// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Labelled scans for training and validation, simulated ones or those of a SemanticKITTI folder, as the network
// takes them: x, y, z and intensity of each point.

#include "../support/network_input.hpp"

#include <tessera/data/augmentation.hpp>
#include <tessera/data/loader.hpp>
#include <tessera/data/mix_points.hpp>
#include <tessera/data/simulated_scans.hpp>
#include <tessera/io/semantic_kitti.hpp>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace train_segmentation {

namespace ts = tessera;

/// Where scans come from, and what is made of them.
struct ScanOptions {
  std::string kitti;                           ///< a folder of SemanticKITTI; empty: the simulator
  ts::LidarOptions scanner;                    ///< of the simulator
  std::uint64_t seed = 1;                      ///< of simulated scans, of the order and of augmentation
  std::int64_t training_scenes = ts::endless;  ///< simulated ones, kept in memory; endless: each is new
  std::optional<std::int64_t> held_out;  ///< scans for validation; none: 50 simulated ones, all of KITTI's
  ts::AugmentOptions augment = ts::AugmentOptions::lidar();
  double mixed = 0.5;          ///< share of training scans that get a sector of another one
  double intensity_scale = 1;  ///< multiplies intensities
};

/// The channels that the network takes of a cloud.
inline constexpr int in_channels = 4;

/// Scans of one source for one purpose.
class ScanSet {
 public:
  using Sample = ts::PointCloud;

  ScanSet(ScanOptions const& options, bool is_training)
  {
    if (options.kitti.empty()) {
      ts::SimulatedScans const scans{options.seed, options.scanner};
      auto const own = is_training ? scans : scans.held_out();
      size_ = is_training ? options.training_scenes : options.held_out.value_or(50);
      load_ = [own](std::int64_t index) { return own.load(index); };
      if (size_ != ts::endless) { kept_ = std::make_shared<Kept>(static_cast<std::size_t>(size_)); }
      for (int c = 0; c < ts::num_scene_classes; ++c) {
        classes_.emplace_back(name_of(static_cast<ts::SceneClass>(c)));
      }
    } else {
      auto const split = is_training ? ts::SemanticKittiSplit::train : ts::SemanticKittiSplit::valid;
      auto const scans = std::make_shared<ts::SemanticKitti const>(options.kitti, split);
      size_ = scans->size();
      std::int64_t every = 1;  // scans next to each other are nearly the same
      if (!is_training && options.held_out && *options.held_out < size_) {
        every = size_ / *options.held_out;
        size_ = *options.held_out;
      }
      load_ = [scans, every](std::int64_t index) { return scans->load(index * every); };
      for (auto const& known : ts::semantic_kitti_classes) { classes_.emplace_back(known.name); }
    }
  }

  /// Number of scans, or ts::endless.
  [[nodiscard]] std::int64_t size() const noexcept { return size_; }
  [[nodiscard]] std::vector<std::string> const& classes() const noexcept { return classes_; }
  /// From several threads at once.
  [[nodiscard]] ts::PointCloud load(std::int64_t index) const
  {
    if (!kept_) { return load_(index); }
    auto& place = kept_->at(static_cast<std::size_t>(index));
    std::call_once(place.loaded, [&] { place.scan = load_(index); });
    return place.scan;
  }

 private:
  /// A simulated scan that is asked for again.
  struct Place {
    std::once_flag loaded;
    ts::PointCloud scan;
  };
  using Kept = std::vector<Place>;

  std::int64_t size_ = 0;
  std::function<ts::PointCloud(std::int64_t)> load_;
  std::vector<std::string> classes_;
  std::shared_ptr<Kept> kept_;  // null: scans are loaded each time
};

/// `cloud` with the network's channels in place of its features.
[[nodiscard]] inline ts::PointCloud with_input(ts::PointCloud cloud, double intensity_scale)
{
  std::vector<float> input;
  program::append_input(program::segmentation_channels(cloud, in_channels, intensity_scale), cloud, input);
  cloud.features = std::move(input);
  cloud.channels = in_channels;
  cloud.feature_names.clear();
  return cloud;
}

/// Training scans in the order of `options.seed`, of which process `rank` of `ranks` takes its share: augmented, some
/// of them mixed with the scan after, as the network takes them.
/// @param scans  outlives the loader
[[nodiscard]] inline ts::DataLoader<ts::PointCloud> training_loader(ScanSet const& scans,
                                                                    ScanOptions const& options, int rank,
                                                                    int ranks,
                                                                    ts::LoaderOptions const& loading)
{
  auto const order = ts::ScanOrder(scans.size()).shuffle().seed(options.seed).shard(rank, ranks);
  return {order, loading, [&scans, options](ts::SampleIndex const& at) {
            auto cloud = ts::augment_points(scans.load(at.index), options.augment, at.seed);
            // a share of 2^53, of bits that augmentation does not use
            auto const drawn = static_cast<double>((at.seed * 0x9e3779b97f4a7c15ULL) >> 11U) * 0x1p-53;
            if (drawn < options.mixed) {
              auto const next = scans.size() == ts::endless ? at.index + (std::int64_t{1} << 40)
                                                            : (at.index + scans.size() / 2) % scans.size();
              auto const other = ts::augment_points(scans.load(next), options.augment, ~at.seed);
              cloud = ts::mix_points(cloud, other, ts::MixOptions{}, at.seed);
            }
            return with_input(std::move(cloud), options.intensity_scale);
          }};
}

/// Every validation scan once, each by one process, as it is.
/// @param scans  outlives the loader
[[nodiscard]] inline ts::DataLoader<ts::PointCloud> validation_loader(ScanSet const& scans,
                                                                      ScanOptions const& options, int rank,
                                                                      int ranks, ts::LoaderOptions loading)
{
  loading.epochs = 1;
  auto const order = ts::ScanOrder(scans.size()).shard(rank, ranks).even(false);
  return {order, loading, [&scans, options](ts::SampleIndex const& at) {
            return with_input(scans.load(at.index), options.intensity_scale);
          }};
}

}  // namespace train_segmentation
