// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "checkpoint.hpp"
#include "trained_network.hpp"

#include <tessera/conv/config.hpp>
#include <tessera/coords/quantize.hpp>
#include <tessera/coords/voxel_options.hpp>
#include <tessera/models/minkunet_backbone.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

/// Networks that label every point, as the programs take them.
namespace program::segmentation {

/// What a network is asked to have at most, by an option or by a checkpoint.
inline constexpr int most_channels = 10000;

/// What labels: the voxels, or with SPVCNN the points.
enum class Model : std::uint8_t { minkunet, spvcnn };

/// What the command line says of the network and its voxels.
struct NetworkOptions : CheckpointOptions {
  Model model = Model::minkunet;
  double intensity_scale = 1;
  std::optional<double> voxel_size;           // not given: what the network was trained with, else 0.05
  std::optional<tessera::Rounding> rounding;  // not given: what the network was trained with
  std::optional<double> width;                // not given: the checkpoint's, else 1
  std::optional<int> classes;                 // not given: the checkpoint's, else the caller's default
  tessera::ConvConfig config;
  std::optional<tessera::Compatibility> compat;  // not given: what the network was trained with
};

/// The network to build; from a checkpoint or from the options.
struct NetworkShape {
  int in_channels = 4;  // x, y, z, then features of the points
  int num_classes = 19;
  double width = 1;                                          // of SPVNAS's MinkUNet
  std::optional<tessera::MinkUNetBackboneOptions> backbone;  // or mmdetection3d's instead
  bool has_head = true;                                      // the checkpoint has a classifier
  bool on_points = false;                                    // SPVCNN, which has MinkUNet's shape
  double voxel_size = 0.05;                                  // that it was trained with

  /// Whether it was trained on spconv, where coarser levels end at the largest voxel.
  [[nodiscard]] bool has_range() const
  {
    return backbone && backbone->backend() == tessera::models::SparseBackend::spconv;
  }
};

/// The shape of a MinkUNet of SPVNAS whose kernels the checkpoint has.
[[nodiscard]] inline NetworkShape minkunet_shape(Checkpoint const& checkpoint, NetworkOptions const& options)
{
  auto const extent = [&](std::string const& name, std::size_t from_last, char const* what) {
    bool const matrix = name == "classifier.0.weight";
    return extent_of(checkpoint, options.checkpoint, name, matrix ? 2 : 3, from_last, most_channels, what);
  };
  NetworkShape shape;
  auto const in = extent("stem.0.kernel", 1, "channels");
  if (!in) { throw Failure{options.checkpoint + ": '" + checkpoint.prefix + "stem.0.kernel' is no kernel"}; }
  shape.in_channels = *in;
  shape.num_classes =
      options.classes.value_or(extent("classifier.0.weight", 1, "classes").value_or(shape.num_classes));
  // Channels are base * width, cut to whole numbers; the first width in hundredths that gives the file's.
  std::pair<int, std::optional<int>> const known[] = {{32, extent("stem.0.kernel", 0, "channels")},
                                                      {64, extent("stage2.1.net.0.kernel", 0, "channels")},
                                                      {128, extent("stage3.1.net.0.kernel", 0, "channels")},
                                                      {256, extent("stage4.1.net.0.kernel", 0, "channels")},
                                                      {96, extent("up4.1.0.net.0.kernel", 0, "channels")}};
  auto const fits = [&](double width) {
    return std::all_of(std::begin(known), std::end(known), [&](auto const& k) {
      return !k.second || static_cast<int>(width * k.first) == *k.second;
    });
  };
  int hundredths = 4;
  while (!options.width && hundredths <= 1600 && !fits(hundredths / 100.0)) { ++hundredths; }
  if (!options.width && hundredths > 1600) {
    throw Failure{options.checkpoint + ": its channels are those of no width in hundredths; give --width"};
  }
  shape.width = options.width.value_or(hundredths / 100.0);
  char name[64];
  std::snprintf(name, sizeof(name), "a network of width %g", shape.width);
  expect_values(checkpoint, options.checkpoint, 21.7e6 * shape.width * shape.width, name);
  return shape;
}

/// That of a MinkUNet of mmdetection3d; `head` is the checkpoint's decode_head, if there is one.
[[nodiscard]] inline NetworkShape backbone_shape(Checkpoint const& checkpoint, Checkpoint const* head,
                                                 NetworkOptions const& options)
{
  constexpr int most_parts = 16;  // levels, and blocks of a level
  bool const spconv = checkpoint.kind == NetworkKind::mmdet3d_spconv;
  auto const extent = [&](std::string const& name, bool block, std::size_t from_last) {
    auto const full = name + (!spconv ? ".net.0.kernel" : block ? ".conv1.weight" : ".0.weight");
    return extent_of(checkpoint, options.checkpoint, full, 3, from_last, most_channels, "channels");
  };
  double needed = 0;  // values of the residual blocks, which are nearly all
  auto const blocks = [&](std::string const& name, int first, int& channels) {
    int number = 0;
    while (number < most_parts) {
      auto const out = extent(name + std::to_string(first + number), true, 0);
      if (!out) { break; }
      channels = *out;
      needed += 54.0 * channels * channels;
      ++number;
    }
    return number;
  };
  NetworkShape shape;
  shape.in_channels = extent("conv_input.0", false, 1).value_or(shape.in_channels);
  tessera::MinkUNetBackboneOptions backbone{shape.in_channels};
  backbone.base(extent("conv_input.0", false, 0).value_or(32));
  backbone.backend(spconv ? tessera::models::SparseBackend::spconv
                          : tessera::models::SparseBackend::torchsparse);
  std::vector<int> channels[2];
  std::vector<int> numbers[2];
  for (int side = 0; side < 2; ++side) {
    for (int level = 0; level < most_parts; ++level) {
      auto const name = (side == 0 ? "encoder." : "decoder.") + std::to_string(level) + ".";
      auto const out = extent(name + "0", false, 0);
      if (!out) { break; }
      channels[side].push_back(*out);
      numbers[side].push_back(
          blocks(side == 0 ? name : name + "1.", side == 0 ? 1 : 0, channels[side].back()));
    }
  }
  expect_values(checkpoint, options.checkpoint, needed, "a network of those channels");
  backbone.encoder(channels[0], numbers[0]).decoder(channels[1], numbers[1]);
  shape.backbone = backbone;
  auto const classes = head == nullptr ? std::nullopt
                                       : extent_of(*head, options.checkpoint, "conv_seg.weight", 2, 1,
                                                   most_channels, "classes");
  shape.has_head = classes.has_value();
  shape.num_classes = options.classes.value_or(classes.value_or(shape.num_classes));
  return shape;
}

/// The weights of a network and its shape.
struct Weights {
  Checkpoint network;
  std::optional<Checkpoint> head;  // mmdetection3d's, which is not part of its backbone
  NetworkShape shape;
  std::optional<Description> description;  // of what train_segmentation has trained
};

/// Those in a checkpoint that was read with the options.
/// @throws Failure  there is no network that labels points in it
[[nodiscard]] inline Weights weights_of(NetworkOptions const& options, Checkpoint checkpoint)
{
  Weights weights{std::move(checkpoint), {}, {}, {}};
  auto const& known = known_network(weights.network.kind);
  if (known.runs != std::string{"segment_scan"}) {
    throw Failure{options.checkpoint + " is " + known.name + ", which makes no labels; " + known.runs +
                  " runs it"};
  }
  if (weights.network.kind == NetworkKind::minkunet) {
    weights.description = description_in(weights.network.tensors().metadata(), options.checkpoint);
    auto known_shape = options;
    if (weights.description) {
      known_shape.width = options.width.value_or(weights.description->width);
      if (options.model == Model::spvcnn) {
        throw Failure{"--model spvcnn: " + options.checkpoint + " says that it is a MinkUNet"};
      }
    }
    weights.shape = minkunet_shape(weights.network, known_shape);
    weights.shape.on_points = options.model == Model::spvcnn;
    if (weights.description) {
      weights.shape.voxel_size = weights.description->voxel_size;
      auto const named = static_cast<int>(weights.description->classes.size());
      if (weights.shape.num_classes != named && !options.classes) {
        throw Failure{options.checkpoint + ": it names " + std::to_string(named) + " classes but tells " +
                      std::to_string(weights.shape.num_classes) + " apart"};
      }
    }
    return weights;
  }
  if (options.model == Model::spvcnn) {
    throw program::Failure{"--model spvcnn: " + options.checkpoint + " is " + known.name};
  }
  if (options.width) {
    throw Failure{"--width: the channels of " + std::string{known.name} + " are the checkpoint's"};
  }
  try {
    auto prefix = weights.network.prefix;
    auto const backbone = prefix.rfind("backbone.");
    prefix.erase(backbone == std::string::npos ? prefix.size() : backbone);
    tessera::ConvertOptions how;
    how.spconv_major(options.spconv_major);
    weights.head = {tessera::io::convert_checkpoint(options.checkpoint, how.prefix(prefix + "decode_head.")),
                    weights.network.kind, prefix + "decode_head."};
  } catch (tessera::invalid_argument const&) {  // there is none
  }
  weights.shape = backbone_shape(weights.network, weights.head ? &*weights.head : nullptr, options);
  return weights;
}

[[nodiscard]] inline Weights read_weights(NetworkOptions const& options)
{
  return weights_of(options, read_checkpoint(options));
}

/// The rule by which TorchSparse and spconv differ in voxels at the upper border: the options', else the
/// checkpoint's.
[[nodiscard]] inline tessera::Compatibility compat_of(NetworkOptions const& options, Weights const* weights)
{
  bool const torchsparse =
      weights != nullptr && weights->network.kind != NetworkKind::mmdet3d_spconv && !weights->description;
  return options.compat.value_or(torchsparse ? tessera::Compatibility::torchsparse
                                             : tessera::Compatibility::none);
}

/// How the network was trained to make voxels, unless the options say otherwise.
[[nodiscard]] inline tessera::QuantizeOptions<3> voxels_of(NetworkOptions const& options,
                                                           NetworkShape const& shape)
{
  tessera::QuantizeOptions<3> voxels{0.05F};
  voxels.origin(tessera::GridOrigin::lowest_voxel);
  if (shape.backbone) { voxels = tessera::minkunet_voxel_options(); }
  voxels.voxel_size.fill(static_cast<float>(options.voxel_size.value_or(shape.voxel_size)));
  if (options.rounding) { voxels.rounding(*options.rounding); }
  return voxels;
}

}  // namespace program::segmentation
