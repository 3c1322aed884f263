// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/config.hpp>
#include <tessera/core/int_array.hpp>

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace models {

/// What the stages of an encoder are made of.
enum class EncoderBlock : std::uint8_t {
  conv_module,  ///< convolutions; each stage but the first begins with a strided one (SECOND)
  basicblock,   ///< residual blocks; each stage but the last ends with a strided convolution (CenterPoint)
};

/// What checkpoints call the parts of an encoder.
enum class EncoderNames : std::uint8_t {
  mmdet3d,    ///< conv_input, encoder_layers.encoder_layer1.0, ..., conv_out
  det3d,      ///< conv_input, conv1.0, ..., conv4.4, extra_conv: tianweiy's CenterPoint, basic blocks only
  openpcdet,  ///< conv_input, conv1.0, ..., conv4.2, conv_out: VoxelBackBone8x, VoxelResBackBone8x
};

}  // namespace models

/// Options of a SparseEncoder; the functions below have those of published detectors.
struct SparseEncoderOptions {
  using Channels = std::vector<std::vector<int>>;
  using Paddings = std::vector<std::vector<IntArray<3>>>;

  /// @param shape  extent of the input grid, in the order of the coordinates' axes
  SparseEncoderOptions(int in, IntArray<3> const& shape) : in_channels{in}, sparse_shape{shape} {}

  /// Channels of every layer or block of every stage.
  SparseEncoderOptions& channels(Channels value) { return channels_ = std::move(value), *this; }
  [[nodiscard]] Channels const& channels() const noexcept { return channels_; }
  /// Paddings of the same; they matter to strided convolutions alone.
  SparseEncoderOptions& paddings(Paddings value) { return paddings_ = std::move(value), *this; }
  [[nodiscard]] Paddings const& paddings() const noexcept { return paddings_; }
  SparseEncoderOptions& block(models::EncoderBlock value) { return block_ = value, *this; }
  [[nodiscard]] models::EncoderBlock block() const noexcept { return block_; }
  /// Channels of the first layer, and of the result.
  SparseEncoderOptions& base(int value) { return base_ = value, *this; }
  [[nodiscard]] int base() const noexcept { return base_; }
  SparseEncoderOptions& out(int value) { return out_ = value, *this; }
  [[nodiscard]] int out() const noexcept { return out_; }
  /// The axis that the last layer halves: 0 of (b, z, y, x), 2 of (b, x, y, z).
  SparseEncoderOptions& axis(int value) { return axis_ = value, *this; }
  [[nodiscard]] int axis() const noexcept { return axis_; }
  SparseEncoderOptions& names(models::EncoderNames value) { return names_ = value, *this; }
  [[nodiscard]] models::EncoderNames names() const noexcept { return names_; }
  /// Whether the convolutions of residual blocks have a bias.
  SparseEncoderOptions& biased_blocks(bool value) { return biased_blocks_ = value, *this; }
  [[nodiscard]] bool biased_blocks() const noexcept { return biased_blocks_; }
  /// Of the batch norms.
  SparseEncoderOptions& norm_epsilon(double value) { return norm_epsilon_ = value, *this; }
  [[nodiscard]] double norm_epsilon() const noexcept { return norm_epsilon_; }
  /// Run-time choices of all convolutions; without them those of the calling thread.
  SparseEncoderOptions& config(ConvConfig const& value) { return config_ = value, *this; }
  [[nodiscard]] std::optional<ConvConfig> const& config() const noexcept { return config_; }
  /// Seed of the initial values.
  SparseEncoderOptions& seed(std::uint64_t value) { return seed_ = value, *this; }
  [[nodiscard]] std::uint64_t seed() const noexcept { return seed_; }
  /// Multiplies all channels but those of the input; what is not whole is cut.
  SparseEncoderOptions& width(double factor);

  int in_channels;
  IntArray<3> sparse_shape;

 private:
  int base_ = 16;
  int out_ = 128;
  Channels channels_{{16}, {32, 32, 32}, {64, 64, 64}, {64, 64, 64}};
  Paddings paddings_{{1}, {1, 1, 1}, {1, 1, 1}, {{0, 1, 1}, 1, 1}};
  models::EncoderBlock block_ = models::EncoderBlock::conv_module;
  int axis_ = 0;
  models::EncoderNames names_ = models::EncoderNames::mmdet3d;
  bool biased_blocks_ = false;
  double norm_epsilon_ = 1e-3;
  std::optional<ConvConfig> config_;
  std::uint64_t seed_ = 0;
};

inline SparseEncoderOptions& SparseEncoderOptions::width(double factor)
{
  auto const scale = [factor](int& channels) {
    auto const scaled = factor * channels;
    detail::expects(scaled >= 1 && scaled <= 1 << 20, "SparseEncoder: width ", factor, " makes ", scaled,
                    " channels of ", channels);
    channels = static_cast<int>(scaled);
  };
  scale(base_);
  scale(out_);
  for (auto& stage : channels_) {
    for (auto& channels : stage) { scale(channels); }
  }
  return *this;
}

namespace models {

/// SECOND on KITTI: 4 channels on (z, y, x) = 41 x 1600 x 1408, 128 on 2 x 200 x 176.
/// Source: mmdetection3d's configuration of SECOND.
[[nodiscard]] inline SparseEncoderOptions second_kitti()
{
  return {4, {41, 1600, 1408}};
}

/// SECOND on Waymo: 5 channels on 61 x 1280 x 1920, 128 on 3 x 160 x 240.
[[nodiscard]] inline SparseEncoderOptions second_waymo()
{
  return {5, {61, 1280, 1920}};
}

/// CenterPoint's encoder on a grid of its own: 5 channels, residual blocks, 128 channels on an eighth of it.
/// Source: Yin et al., Center-based 3D Object Detection and Tracking, CVPR 2021; mmdetection3d.
[[nodiscard]] inline SparseEncoderOptions centerpoint(IntArray<3> const& shape)
{
  return SparseEncoderOptions(5, shape)
      .block(EncoderBlock::basicblock)
      .channels({{16, 16, 32}, {32, 32, 64}, {64, 64, 128}, {128, 128}})
      .paddings({{0, 0, 1}, {0, 0, 1}, {0, 0, {0, 1, 1}}, {0, 0}});
}

/// CenterPoint on nuScenes in voxels of 0.1 m: 41 x 1024 x 1024 to 2 x 128 x 128.
[[nodiscard]] inline SparseEncoderOptions centerpoint_0_1()
{
  return centerpoint({41, 1024, 1024});
}

/// CenterPoint on nuScenes in voxels of 0.075 m: 41 x 1440 x 1440 to 2 x 180 x 180.
[[nodiscard]] inline SparseEncoderOptions centerpoint_0_075()
{
  return centerpoint({41, 1440, 1440});
}

/// The same network in det3d, its first home: convolutions of blocks have a bias, parts have other names.
[[nodiscard]] inline SparseEncoderOptions det3d_centerpoint()
{
  return centerpoint_0_075().names(EncoderNames::det3d).biased_blocks(true);
}

/// BEVFusion's LiDAR encoder: CenterPoint's over (x, y, z) = 1440 x 1440 x 41, 128 channels on 180 x 180 x 2;
/// rows of its bird's-eye view are x, columns y. Source: Liu et al., BEVFusion, ICRA 2023.
[[nodiscard]] inline SparseEncoderOptions bevfusion()
{
  return centerpoint({1440, 1440, 41}).paddings({{0, 0, 1}, {0, 0, 1}, {0, 0, {1, 1, 0}}, {0, 0}}).axis(2);
}

/// The names that sparse_encoder_options() knows.
[[nodiscard]] inline std::vector<std::string_view> sparse_encoder_names()
{
  return {"second_kitti",      "second_waymo",      "centerpoint_0_1",
          "centerpoint_0_075", "det3d_centerpoint", "bevfusion"};
}

/// The options of a published encoder by the name of its function above.
/// @throws invalid_argument  no such name
[[nodiscard]] inline SparseEncoderOptions sparse_encoder_options(std::string_view name)
{
  if (name == "second_kitti") { return second_kitti(); }
  if (name == "second_waymo") { return second_waymo(); }
  if (name == "centerpoint_0_1") { return centerpoint_0_1(); }
  if (name == "centerpoint_0_075") { return centerpoint_0_075(); }
  if (name == "det3d_centerpoint") { return det3d_centerpoint(); }
  detail::expects(name == "bevfusion", "sparse_encoder_options: '", name, "' is none of ",
                  detail::list(sparse_encoder_names()));
  return bevfusion();
}

}  // namespace models
}  // namespace v0
}  // namespace tessera
