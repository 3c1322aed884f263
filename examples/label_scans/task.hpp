// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "engine.hpp"
#include "options.hpp"
#include "output.hpp"

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace label_scans {

/// What the options ask for as those of segment_scan.
[[nodiscard]] inline program::segmentation::NetworkOptions segmentation_options(
    Options const& options, program::Machine const& machine)
{
  program::segmentation::NetworkOptions network;
  static_cast<program::CheckpointOptions&>(network) = options;
  network.intensity_scale = options.intensity_scale.value_or(1);
  network.voxel_size = options.voxel_size;
  network.rounding = options.rounding;
  network.width = options.width;
  network.classes = options.classes;
  network.config = tessera::with_conv_mode({}, 1);
  if (machine.precision == program::Precision::tf32) { network.config.math = tessera::MathMode::tf32; }
  return network;
}

/// As those of encode_bev.
[[nodiscard]] inline program::bev::NetworkOptions encoder_options(Options const& options)
{
  program::bev::NetworkOptions network;
  static_cast<program::CheckpointOptions&>(network) = options;
  network.network = options.network;
  network.width = options.width.value_or(1);
  network.max_voxels = options.max_voxels;
  network.intensity_scale = options.intensity_scale;
  return network;
}

/// @throws Failure  the checkpoint cannot be read, or holds another network than was asked for
[[nodiscard]] inline Task make_task(Options const& options, program::Machine const& machine)
{
  namespace segmentation = program::segmentation;
  namespace bev = program::bev;
  Task task;
  task.max_points = options.max_points;
  task.threads = options.threads;

  std::optional<program::Checkpoint> checkpoint;
  bool labels = options.network.value_or(minkunet) == minkunet;
  if (!options.checkpoint.empty()) {
    checkpoint.emplace(program::read_checkpoint(options));
    auto const& known = program::known_network(checkpoint->kind);
    bool const is_segmentation = known.runs == std::string{"segment_scan"};
    if (options.network && is_segmentation != labels) {
      throw Failure{options.checkpoint + " is " + known.name + ", not --network " + *options.network};
    }
    labels = is_segmentation;
  }
  if (labels) {
    auto& of = task.segmentation.emplace();
    of.options = segmentation_options(options, machine);
    if (checkpoint) {
      of.weights.emplace(segmentation::weights_of(of.options, std::move(*checkpoint)));
      of.shape = of.weights->shape;
    } else {
      of.shape.num_classes = options.classes.value_or(19);
      of.shape.width = options.width.value_or(1);
    }
    of.options.config.compat = segmentation::compat_of(of.options, of.weights ? &*of.weights : nullptr);
    if (of.shape.backbone) { of.shape.backbone->config(of.options.config).seed(options.seed); }
    of.voxels = segmentation::voxels_of(of.options, of.shape);
    return task;
  }
  if (machine.precision == program::Precision::bf16) {
    throw Failure{"--precision bf16: encoders run in fp16, tf32 or fp32"};
  }
  auto const of_encoder = encoder_options(options);
  auto shape = bev::random_network(of_encoder);
  std::optional<bev::Weights> weights;
  if (checkpoint) {
    weights.emplace(bev::weights_of(of_encoder, std::move(*checkpoint)));
    shape = weights->shape;
  }
  if (machine.precision == program::Precision::tf32) {
    tessera::ConvConfig config;
    config.math = tessera::MathMode::tf32;
    shape.encoder.config(config);
  }
  auto const voxels = bev::voxels_of(of_encoder, shape.name);
  task.encoder.emplace(EncoderTask{std::move(shape), of_encoder, std::move(weights), voxels});
  return task;
}

/// A number of what is in a file: 64-bit FNV-1a.
[[nodiscard]] inline std::string fingerprint_of(std::string const& path)
{
  std::ifstream file{path, std::ios::binary};
  std::uint64_t hash = 0xcbf29ce484222325;
  std::vector<char> piece(std::size_t{1} << 20);
  while (file.read(piece.data(), static_cast<std::streamsize>(piece.size())), file.gcount() > 0) {
    for (std::streamsize i = 0; i < file.gcount(); ++i) {
      hash = (hash ^ static_cast<unsigned char>(piece[static_cast<std::size_t>(i)])) * 0x100000001b3;
    }
  }
  char text[20];
  std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

/// How files are read, in words.
[[nodiscard]] inline std::string reading_settings(tessera::PointReadOptions const& read)
{
  constexpr char const* formats[] = {"detect", "kitti", "nuscenes", "ply",    "npy",
                                     "pcd",    "xyz",   "xyzrgb",   "columns"};
  std::string text = std::string{"format "} + formats[static_cast<std::size_t>(read.format)];
  for (auto const& column : read.columns) {
    text += " " + column.name + ":" + std::to_string(static_cast<int>(column.type));
  }
  if (read.origin) {
    auto const& [x, y, z] = *read.origin;
    char origin[120];
    std::snprintf(origin, sizeof(origin), ", origin %.17g %.17g %.17g", x, y, z);
    text += origin;
  }
  return text;
}

/// What the bytes of results depend on, in words: results of two settings do not belong into one folder.
/// @param read  how the scans are read, with what their layout says
[[nodiscard]] inline std::string settings_of(Options const& options, Task const& task,
                                             std::vector<std::uint32_t> const& ids,
                                             tessera::PointReadOptions const& read,
                                             program::Precision precision)
{
  char text[400];
  auto weights = options.checkpoint.empty() ? "random, seed " + std::to_string(options.seed)
                                            : "of content " + fingerprint_of(options.checkpoint);
  if (options.prefix) { weights += ", prefix " + *options.prefix; }
  if (options.spconv_major != 0) { weights += ", spconv " + std::to_string(options.spconv_major); }
  auto const how = std::string{", "} + program::name_of(precision) + ", " + reading_settings(read);
  if (task.encoder) {
    auto const& of = *task.encoder;
    std::snprintf(text, sizeof(text), "%s, width %g, at most %d voxels, intensity x %g",
                  of.shape.name.c_str(), of.options.width, of.voxels.voxels(),
                  of.options.intensity_scale.value_or(1));
    return std::string{text} + ", weights " + weights + how;
  }
  auto const& of = *task.segmentation;
  std::snprintf(text, sizeof(text),
                "minkunet, width %g, %d classes, voxels of %g m, rounding %d, intensity x %g", of.shape.width,
                of.shape.num_classes, static_cast<double>(of.voxels.voxel_size[0]),
                static_cast<int>(of.voxels.rounding()), of.options.intensity_scale);
  std::string settings = std::string{text} + ", weights " + weights + (options.npy ? ", npy" : ", ids");
  for (auto const id : ids) { settings += " " + std::to_string(id); }
  auto const compat = static_cast<int>(of.options.config.compat);
  return settings + how + ", compat " + std::to_string(compat);
}

}  // namespace label_scans
