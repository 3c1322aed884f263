// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/checkpoint.hpp"
#include "options.hpp"

#include <tessera/models/minkunet_backbone.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace segment_scan {

/// The network to build; from a checkpoint or from the options.
struct NetworkShape {
  int in_channels = 4;  // x, y, z, then features of the points
  int num_classes = 19;
  double width = 1;                                                  // of SPVNAS's MinkUNet
  std::optional<tessera::models::MinkUNetBackboneOptions> backbone;  // or mmdetection3d's instead
  bool has_head = true;                                              // the checkpoint has a classifier
  bool on_points = false;                                            // SPVCNN, which has MinkUNet's shape

  /// Whether it was trained on spconv, where coarser levels end at the largest voxel.
  [[nodiscard]] bool has_range() const
  {
    return backbone && backbone->sparse_backend == tessera::models::SparseBackend::spconv;
  }
};

/// The shape of a MinkUNet of SPVNAS whose kernels the checkpoint has.
[[nodiscard]] inline NetworkShape minkunet_shape(program::Checkpoint const& checkpoint,
                                                 Options const& options)
{
  auto const extent = [&](std::string const& name, std::size_t from_last, char const* what) {
    bool const matrix = name == "classifier.0.weight";
    return program::extent_of(checkpoint, options.checkpoint, name, matrix ? 2 : 3, from_last, most_channels,
                              what);
  };
  NetworkShape shape;
  auto const in = extent("stem.0.kernel", 1, "channels");
  if (!in) {
    throw program::Failure{options.checkpoint + ": '" + checkpoint.prefix + "stem.0.kernel' is no kernel"};
  }
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
    throw program::Failure{options.checkpoint +
                           ": its channels are those of no width in hundredths; give --width"};
  }
  shape.width = options.width.value_or(hundredths / 100.0);
  char name[64];
  std::snprintf(name, sizeof(name), "a network of width %g", shape.width);
  program::expect_values(checkpoint, options.checkpoint, 21.7e6 * shape.width * shape.width, name);
  return shape;
}

/// That of a MinkUNet of mmdetection3d; `head` is the checkpoint's decode_head, if there is one.
[[nodiscard]] inline NetworkShape backbone_shape(program::Checkpoint const& checkpoint,
                                                 program::Checkpoint const* head, Options const& options)
{
  constexpr int most_parts = 16;  // levels, and blocks of a level
  bool const spconv = checkpoint.kind == program::NetworkKind::mmdet3d_spconv;
  auto const extent = [&](std::string const& name, bool block, std::size_t from_last) {
    auto const full = name + (!spconv ? ".net.0.kernel" : block ? ".conv1.weight" : ".0.weight");
    return program::extent_of(checkpoint, options.checkpoint, full, 3, from_last, most_channels, "channels");
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
  tessera::models::MinkUNetBackboneOptions backbone{shape.in_channels};
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
  program::expect_values(checkpoint, options.checkpoint, needed, "a network of those channels");
  backbone.encoder(channels[0], numbers[0]).decoder(channels[1], numbers[1]);
  shape.backbone = backbone;
  auto const classes = head == nullptr ? std::nullopt
                                       : program::extent_of(*head, options.checkpoint, "conv_seg.weight", 2,
                                                            1, most_channels, "classes");
  shape.has_head = classes.has_value();
  shape.num_classes = options.classes.value_or(classes.value_or(shape.num_classes));
  return shape;
}

/// The weights of a network and its shape.
struct Weights {
  program::Checkpoint network;
  std::optional<program::Checkpoint> head;  // mmdetection3d's, which is not part of its backbone
  NetworkShape shape;
};

/// @throws Failure  there is no network of this program in the checkpoint
[[nodiscard]] inline Weights read_weights(Options const& options)
{
  using program::NetworkKind;
  tessera::io::ConvertOptions how;
  how.spconv_major(options.spconv_major);
  auto of_network = how;
  if (options.prefix) { of_network.prefix(*options.prefix); }
  Weights weights{program::read_checkpoint(options.checkpoint, of_network), {}, {}};
  auto const& known = program::known_network(weights.network.kind);
  if (known.runs != std::string{"segment_scan"}) {
    throw program::Failure{options.checkpoint + " is " + known.name + ", which makes no labels; " +
                           known.runs + " runs it"};
  }
  if (weights.network.kind == NetworkKind::minkunet) {
    weights.shape = minkunet_shape(weights.network, options);
    weights.shape.on_points = options.model == Model::spvcnn;
    return weights;
  }
  if (options.model == Model::spvcnn) {
    throw program::Failure{"--model spvcnn: " + options.checkpoint + " is " + known.name};
  }
  if (options.width) {
    throw program::Failure{"--width: the channels of " + std::string{known.name} + " are the checkpoint's"};
  }
  try {
    auto prefix = weights.network.prefix;
    auto const backbone = prefix.rfind("backbone.");
    prefix.erase(backbone == std::string::npos ? prefix.size() : backbone);
    weights.head = {tessera::io::convert_checkpoint(options.checkpoint, how.prefix(prefix + "decode_head.")),
                    weights.network.kind, prefix + "decode_head."};
  } catch (tessera::invalid_argument const&) {  // there is none
  }
  weights.shape = backbone_shape(weights.network, weights.head ? &*weights.head : nullptr, options);
  return weights;
}

}  // namespace segment_scan
