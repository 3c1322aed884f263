// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace models {

/// One network of the SPVNAS family: the channels of every layer and how many blocks each stage has.
struct SPVNASConfig {
  static constexpr int num_stages = 4;  // down, and as many up
  static constexpr int most_blocks = 2;

  struct Stage {
    int transition = 0;                        ///< channels after the strided or transposed convolution
    int depth = most_blocks;                   ///< residual blocks
    std::array<int, most_blocks> hidden = {};  ///< channels between the two convolutions of a block
    bool has_shortcut = true;                  ///< whether the first block's shortcut is a convolution

    friend bool operator==(Stage const& a, Stage const& b)
    {
      bool const same_first =
          a.transition == b.transition && a.depth == b.depth && a.hidden[0] == b.hidden[0];
      return same_first && a.has_shortcut == b.has_shortcut && (a.depth < 2 || a.hidden[1] == b.hidden[1]);
    }
  };

  int in_channels = 4;
  int num_classes = 19;
  float point_unit = 0.05F;  ///< of the points' positions: `pres`
  float voxel_size = 0.05F;  ///< `vres`
  /// Of the stem, the four stages down, the four up.
  std::array<int, 2 * num_stages + 1> output_channels = {};
  std::array<Stage, num_stages> down = {};
  std::array<Stage, num_stages> up = {};
  /// Channels that the classifier has weights for, at least output_channels.back(): those of the supernet.
  int classifier_channels = 0;

  friend bool operator==(SPVNASConfig const& a, SPVNASConfig const& b)
  {
    return a.in_channels == b.in_channels && a.num_classes == b.num_classes && a.point_unit == b.point_unit &&
           a.voxel_size == b.voxel_size && a.output_channels == b.output_channels && a.down == b.down &&
           a.up == b.up && a.classifier_channels == b.classifier_channels;
  }
};

/// The networks that one supernet holds: `SPVNASSpace(4, 19)` is the published one.
///
/// Channels are multiples of 16, at least 16. Those of a stage's output are between `lower` and `upper`;
/// those of transitions and inside blocks between a quarter of the supernet's and all of them.
/// Source: Tang et al., SPVNAS, ECCV 2020.
struct SPVNASSpace {
  using Channels = std::array<int, 2 * SPVNASConfig::num_stages + 1>;

  SPVNASSpace(int in, int classes) : in_channels{in}, num_classes{classes} {}

  /// The supernet's channels, and the fewest that a subnet has; the stem's are always all of them.
  SPVNASSpace& channels(Channels const& most, Channels const& fewest)
  {
    return upper_ = most, lower_ = fewest, *this;
  }
  [[nodiscard]] Channels const& lower() const noexcept { return lower_; }
  [[nodiscard]] Channels const& upper() const noexcept { return upper_; }
  /// The fewest blocks of a stage.
  SPVNASSpace& min_depth(int value) { return min_depth_ = value, *this; }
  [[nodiscard]] int min_depth() const noexcept { return min_depth_; }
  /// `pres` and `vres`.
  SPVNASSpace& sizes(float points, float voxels) { return point_unit_ = points, voxel_size_ = voxels, *this; }
  [[nodiscard]] float voxel_size() const noexcept { return voxel_size_; }
  [[nodiscard]] float point_unit() const noexcept { return point_unit_; }

  /// The supernet itself.
  /// @throws invalid_argument  channels that are no multiples of 16, or fewer at most than at least
  [[nodiscard]] SPVNASConfig largest() const
  {
    for (std::size_t i = 0; i < upper_.size(); ++i) {
      detail::expects(upper_[i] >= 16 && upper_[i] % 16 == 0 && lower_[i] >= 1 && lower_[i] <= upper_[i],
                      "SPVNAS: ", lower_[i], " to ", upper_[i], " channels of output ", i,
                      "; they must be multiples of 16");
    }
    detail::expects(min_depth_ >= 1 && min_depth_ <= SPVNASConfig::most_blocks, "SPVNAS: stages of at least ",
                    min_depth_, " blocks; 1 or 2");
    SPVNASConfig config;
    config.in_channels = in_channels;
    config.num_classes = num_classes;
    config.point_unit = point_unit_;
    config.voxel_size = voxel_size_;
    config.output_channels = upper_;
    config.classifier_channels = upper_.back();
    for (std::size_t i = 0; i < SPVNASConfig::num_stages; ++i) {
      config.down[i] = {
          upper_[i], SPVNASConfig::most_blocks, {upper_[i + 1], upper_[i + 1]}, upper_[i] != upper_[i + 1]};
      config.up[i] = {upper_[i + 5], SPVNASConfig::most_blocks, {upper_[i + 5], upper_[i + 5]}, true};
    }
    return config;
  }

  int in_channels;
  int num_classes;

 private:
  Channels upper_{32, 48, 96, 192, 384, 384, 192, 128, 128};
  Channels lower_{32, 16, 32, 64, 128, 128, 64, 48, 48};
  int min_depth_ = 1;
  float point_unit_ = 0.05F;
  float voxel_size_ = 0.05F;
};

/// One matrix product of a network: what its parameters, its multiply-adds and its time are counted by.
struct SPVNASLayer {
  enum class Kind : std::uint8_t { block, shortcut, down, up, point };

  Kind kind;
  int level;  ///< of its input: 0 for the finest voxels; of `up` the coarser one. Points: 0
  int in_channels;
  int out_channels;
  bool has_norm = true;  ///< and no bias; else a bias and no norm
  bool has_bias = false;

  /// Offsets of its kernel.
  [[nodiscard]] int volume() const
  {
    return kind == Kind::block ? 27 : kind == Kind::down || kind == Kind::up ? 8 : 1;
  }
  friend bool operator==(SPVNASLayer const& a, SPVNASLayer const& b)
  {
    return a.kind == b.kind && a.level == b.level && a.in_channels == b.in_channels &&
           a.out_channels == b.out_channels;
  }
};

/// Every layer of a network, in the order in which they run.
[[nodiscard]] inline std::vector<SPVNASLayer> layers_of(SPVNASConfig const& config)
{
  using Kind = SPVNASLayer::Kind;
  auto const& c = config.output_channels;
  std::vector<SPVNASLayer> layers{{Kind::block, 0, config.in_channels, c[0]}, {Kind::block, 0, c[0], c[0]}};
  auto const blocks = [&](SPVNASConfig::Stage const& stage, int level, int in, int out) {
    for (int j = 0; j < stage.depth; ++j) {
      auto const hidden = stage.hidden[static_cast<std::size_t>(j)];
      layers.push_back({Kind::block, level, in, hidden});
      layers.push_back({Kind::block, level, hidden, out});
      if (j == 0 && stage.has_shortcut) { layers.push_back({Kind::shortcut, level, in, out}); }
      in = out;
    }
  };
  for (std::size_t i = 0; i < SPVNASConfig::num_stages; ++i) {
    auto const level = static_cast<int>(i);
    layers.push_back({Kind::down, level, c[i], config.down[i].transition});
    blocks(config.down[i], level + 1, config.down[i].transition, c[i + 1]);
  }
  layers.push_back({Kind::point, 0, c[0], c[4], true, true});
  for (std::size_t i = 0; i < SPVNASConfig::num_stages; ++i) {
    auto const level = static_cast<int>(i);
    layers.push_back({Kind::up, 4 - level, c[i + 4], config.up[i].transition});
    blocks(config.up[i], 3 - level, config.up[i].transition + c[3 - i], c[i + 5]);
    if (i % 2 == 1) { layers.push_back({Kind::point, 0, c[i + 3], c[i + 5], true, true}); }
  }
  layers.push_back({Kind::point, 0, c[8], config.num_classes, false, true});
  return layers;
}

/// Values to train: weights, biases, and two for each channel of a norm. Of the classifier those that the
/// network uses.
[[nodiscard]] inline std::int64_t num_parameters(SPVNASConfig const& config)
{
  std::int64_t count = 0;
  for (auto const& layer : layers_of(config)) {
    count += std::int64_t{layer.volume()} * layer.in_channels * layer.out_channels;
    count += layer.out_channels * ((layer.has_norm ? 2 : 0) + (layer.has_bias ? 1 : 0));
  }
  return count;
}

/// How much a scan gives the layers to do: what multiply-adds are counted with.
struct SPVNASWorkload {
  std::int64_t points = 0;
  std::array<std::int64_t, 5> voxels = {};       ///< of each level
  std::array<std::int64_t, 5> block_pairs = {};  ///< pairs of a 3x3x3 convolution on each level
  std::array<std::int64_t, 4> down_pairs =
      {};  ///< pairs of the 2x2x2 convolution from each level down, and back up
};

/// Multiply-adds of a network on a scan: `pairs * in_channels * out_channels` for every layer.
[[nodiscard]] inline std::int64_t num_macs(SPVNASConfig const& config, SPVNASWorkload const& work)
{
  using Kind = SPVNASLayer::Kind;
  std::int64_t count = 0;
  for (auto const& layer : layers_of(config)) {
    auto const level = static_cast<std::size_t>(layer.level);
    std::int64_t pairs = work.points;
    if (layer.kind == Kind::block) { pairs = work.block_pairs[level]; }
    if (layer.kind == Kind::shortcut) { pairs = work.voxels[level]; }
    if (layer.kind == Kind::down) { pairs = work.down_pairs[level]; }
    if (layer.kind == Kind::up) { pairs = work.down_pairs[level - 1]; }
    count += pairs * layer.in_channels * layer.out_channels;
  }
  return count;
}

}  // namespace models
}  // namespace v0
}  // namespace tessera
