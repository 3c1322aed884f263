// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "checkpoint.hpp"

#include <tessera/coords/voxel_options.hpp>
#include <tessera/models/sparse_encoder_options.hpp>
#include <tessera/models/sparse_unet.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

/// Encoders of detectors, from voxels to a bird's-eye view, as the programs take them.
namespace program::bev {

/// Part-A2's U-Net, whose encoder is SECOND's.
inline constexpr char const* part_a2_name = "parta2_kitti";

/// Without a checkpoint, or where one fits several.
inline constexpr char const* default_network = "centerpoint_0_075";

/// What --network may be.
[[nodiscard]] inline std::vector<std::string> network_names()
{
  auto const encoders = tessera::models::sparse_encoder_names();
  std::vector<std::string> names(encoders.begin(), encoders.end());
  names.emplace_back(part_a2_name);
  return names;
}

/// What a network is asked to have at most, by a checkpoint.
inline constexpr int most_channels = 4096;

/// What the command line says of the network and its voxels.
struct NetworkOptions : CheckpointOptions {
  std::optional<std::string> network;     // not given: the checkpoint's, else centerpoint_0_075
  double width = 1;                       // of random weights
  std::optional<int> max_voxels;          // not given: the network's
  std::optional<double> intensity_scale;  // not given: 1, for the built-in scene the network's range
};

/// The network to build.
struct NetworkShape {
  std::string name;
  tessera::SparseEncoderOptions encoder;
  bool part_a2 = false;  // with a decoder back to the voxels, which makes no difference to the map
  std::vector<std::array<int, 3>> decoder{};  // its channels
};

/// A published network by its name.
[[nodiscard]] inline NetworkShape network_named(std::string const& name)
{
  bool const part_a2 = name == part_a2_name;
  if (!part_a2) { return {name, tessera::models::sparse_encoder_options(name)}; }
  auto const unet = tessera::models::parta2_kitti();
  return {name, unet.encoder, true, unet.decoder()};
}

/// Multiplies the decoder's channels as SparseEncoderOptions::width() does the encoder's.
inline void scale_decoder(NetworkShape& network, double width)
{
  for (auto& level : network.decoder) {
    for (auto& channels : level) { channels = std::max(1, static_cast<int>(width * channels)); }
  }
}

/// What a checkpoint says of the network that it is for.
struct Evidence {
  bool part_a2 = false;
  tessera::models::EncoderBlock block = tessera::models::EncoderBlock::conv_module;
  tessera::models::EncoderNames names = tessera::models::EncoderNames::mmdet3d;
  std::optional<int> height_axis;  // that of the last kernel, if that is known
  int in_channels = 0;
};

[[nodiscard]] inline Evidence evidence_of(Checkpoint const& checkpoint, std::string const& path)
{
  using tessera::models::EncoderBlock;
  using tessera::models::EncoderNames;
  auto const& tensors = checkpoint.tensors();
  Evidence evidence;
  evidence.part_a2 = checkpoint.kind == NetworkKind::part_a2;
  bool const det3d = tensors.contains("extra_conv.0.weight");
  evidence.names = det3d                                  ? EncoderNames::det3d
                   : tensors.contains("conv2.0.0.weight") ? EncoderNames::openpcdet
                                                          : EncoderNames::mmdet3d;
  bool const blocks = tensors.contains("encoder_layers.encoder_layer1.0.conv1.weight") ||
                      tensors.contains("conv1.0.conv1.weight");
  evidence.block = blocks ? EncoderBlock::basicblock : EncoderBlock::conv_module;
  evidence.in_channels =
      extent_of(checkpoint, path, "conv_input.0.weight", 3, 1, most_channels, "channels").value_or(0);
  auto const& metadata = tensors.metadata();
  auto const size = metadata.find(std::string{"tessera.kernel_size."} +
                                  (det3d ? "extra_conv.0.weight" : "conv_out.0.weight"));
  if (size != metadata.end()) {  // [3, 1, 1] or [1, 1, 3]
    auto const three = size->second.find('3');
    auto const comma = size->second.find(',');
    if (three != std::string::npos) { evidence.height_axis = three < comma ? 0 : 2; }
  }
  return evidence;
}

/// Whether the parts of the network are those of the checkpoint; channels may differ.
[[nodiscard]] inline bool fits(NetworkShape const& network, Evidence const& evidence)
{
  bool const same_axis = !evidence.height_axis || network.encoder.axis() == *evidence.height_axis;
  return network.part_a2 == evidence.part_a2 && network.encoder.block() == evidence.block && same_axis;
}

/// Whether names and channels in are its own, too.
[[nodiscard]] inline bool fits_as_published(NetworkShape const& network, Evidence const& evidence)
{
  using tessera::models::EncoderNames;
  bool const det3d = network.encoder.names() == EncoderNames::det3d;
  return fits(network, evidence) && network.encoder.in_channels == evidence.in_channels &&
         det3d == (evidence.names == EncoderNames::det3d);
}

/// The names of the networks that the checkpoint fits, or, if none does as published, those with its parts.
[[nodiscard]] inline std::vector<std::string> fitting_networks(Evidence const& evidence)
{
  std::vector<std::string> published;
  std::vector<std::string> all;
  for (auto const& name : network_names()) {
    auto const network = network_named(name);
    if (fits(network, evidence)) { all.push_back(name); }
    if (fits_as_published(network, evidence)) { published.push_back(name); }
  }
  return published.empty() ? all : published;
}

[[nodiscard]] inline std::string joined(std::vector<std::string> const& names, char const* last = " and ")
{
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    text += (i == 0 ? "" : i + 1 < names.size() ? ", " : last) + names[i];
  }
  return text;
}

/// `network` with the names and channels that the checkpoint's kernels have.
[[nodiscard]] inline NetworkShape with_channels(NetworkShape network, Checkpoint const& checkpoint,
                                                Evidence const& evidence, std::string const& path)
{
  using tessera::models::EncoderNames;
  auto& options = network.encoder;
  auto const& tensors = checkpoint.tensors();
  auto const extent = [&](std::string const& name, std::size_t from_last, int absent) {
    return extent_of(checkpoint, path, name, 3, from_last, most_channels, "channels").value_or(absent);
  };
  bool const blocks = evidence.block == tessera::models::EncoderBlock::basicblock;
  bool const det3d = evidence.names == EncoderNames::det3d;
  options.names(evidence.names);
  options.biased_blocks(tensors.contains("conv1.0.conv1.bias") ||
                        tensors.contains("encoder_layers.encoder_layer1.0.conv1.bias"));
  options.in_channels = evidence.in_channels;
  options.base(extent("conv_input.0.weight", 0, options.base()));
  options.out(extent(det3d ? "extra_conv.0.weight" : "conv_out.0.weight", 0, options.out()));
  int channels = options.base();
  double needed = 0;
  auto stages = options.channels();
  for (std::size_t i = 0; i < stages.size(); ++i) {
    auto& stage = stages[i];
    for (std::size_t j = 0; j < stage.size(); ++j) {
      auto const next = std::to_string(i + 2);
      auto const name = det3d ? "conv" + next
                        : evidence.names == EncoderNames::mmdet3d
                            ? "encoder_layers.encoder_layer" + std::to_string(i + 1) + "." + std::to_string(j)
                        : blocks ? "conv" + next + ".0"
                                 : "conv" + std::to_string(i + 1) + "." + std::to_string(j);
      bool const block = blocks && (j + 1 < stage.size() || i + 1 == stages.size());
      stage[j] = block ? channels : extent(name + ".0.weight", 0, stage[j]);  // blocks keep their channels
      needed += (block ? 54.0 : 27.0) * channels * stage[j];
      channels = stage[j];
    }
  }
  options.channels(std::move(stages));
  for (std::size_t i = 0; i < network.decoder.size(); ++i) {
    auto const number = std::to_string(network.decoder.size() - i);
    auto& [lateral, merged, up] = network.decoder[i];
    lateral = extent("lateral_layer" + number + ".conv1.weight", 0, lateral);
    merged = extent("merge_layer" + number + ".0.weight", 0, merged);
    up = extent("upsample_layer" + number + ".0.weight", 0, up);
    needed += 54.0 * lateral * lateral;
  }
  expect_values(checkpoint, path, needed, "a network of those channels");
  return network;
}

/// The weights of a network, and which network that is.
struct Weights {
  Checkpoint checkpoint;
  NetworkShape shape;
  std::vector<std::string> fitting;  // names of the networks that could have been meant
};

/// Those in a checkpoint that was read with the options.
/// @throws Failure  there is none of these networks in it, or another than was asked for
[[nodiscard]] inline Weights weights_of(NetworkOptions const& options, Checkpoint checkpoint)
{
  auto const& known = known_network(checkpoint.kind);
  if (known.runs != std::string{"encode_bev"}) {
    throw Failure{options.checkpoint + " is " + known.name + ", which makes no bird's-eye view; " +
                  known.runs + " runs it"};
  }
  auto const evidence = evidence_of(checkpoint, options.checkpoint);
  auto fitting = fitting_networks(evidence);
  if (fitting.empty()) {
    throw Failure{options.checkpoint + " is " + known.name + ", but of none of " + joined(network_names())};
  }
  if (options.network && !fits(network_named(*options.network), evidence)) {
    throw Failure{options.checkpoint + " does not fit --network " + *options.network + "; it fits " +
                  joined(fitting, " or ")};
  }
  bool const is_default = std::find(fitting.begin(), fitting.end(), default_network) != fitting.end();
  auto const name = options.network.value_or(is_default ? default_network : fitting.front());
  auto shape = with_channels(network_named(name), checkpoint, evidence, options.checkpoint);
  return {std::move(checkpoint), std::move(shape), std::move(fitting)};
}

[[nodiscard]] inline Weights read_weights(NetworkOptions const& options)
{
  return weights_of(options, read_checkpoint(options));
}

/// The network of random weights that the options describe.
[[nodiscard]] inline NetworkShape random_network(NetworkOptions const& options)
{
  auto network = network_named(options.network.value_or(default_network));
  network.encoder.width(options.width).seed(options.seed);
  scale_decoder(network, options.width);
  return network;
}

/// The voxels that the network was trained with; det3d's are those of NVIDIA's samples, Part-A2's SECOND's.
[[nodiscard]] inline tessera::VoxelizeOptions voxels_of(NetworkOptions const& options,
                                                        std::string const& network)
{
  auto voxels = tessera::voxel_options(network == "det3d_centerpoint" ? "nvidia_0_075"
                                       : network == part_a2_name      ? "second_kitti"
                                                                      : network);
  if (options.max_voxels) { voxels.voxels(*options.max_voxels); }
  return voxels;
}

/// The largest intensity that the network was trained with.
[[nodiscard]] inline double highest_intensity(std::string const& network)
{
  bool const fractions = network == "second_kitti" || network == "second_waymo" || network == part_a2_name;
  return fractions ? 1 : 255;
}

}  // namespace program::bev
