// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/bev_network.hpp"
#include "../support/command_line.hpp"
#include "../support/machine.hpp"
#include "../support/points.hpp"

#include <tessera/models/sparse_encoder_options.hpp>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace encode_bev {

using program::CommandLine;
using program::parse_number;
using program::Precision;
using program::UsageError;

using program::bev::default_network;
using program::bev::network_names;
using program::bev::NetworkShape;
using program::bev::part_a2_name;
using program::bev::Weights;

struct Options : program::bev::NetworkOptions, program::MachineOptions {
  bool help = false;

  std::vector<std::string> scans;  // empty: the built-in scene
  tessera::PointReadOptions read;
  std::uint64_t scene = 1;
  std::int64_t frame = 0;
  int sweeps = 1;  // of the built-in scene
  double sweep_interval = 0.05;

  std::optional<int> repeat;  // not given: 10 on the GPU, 1 on the CPU
  bool stages = false;        // time each stage by itself, without a plan

  bool channels_last = false;
  std::string voxel_features;  // a file, or none
  std::string output;          // a folder, or what file names begin with
};

/// The command line as options; `help_text` is filled for `--help`.
/// @throws UsageError
[[nodiscard]] inline Options parse_options(std::vector<std::string> const& arguments, std::string& help_text)
{
  Options options;
  CommandLine line;
  std::string scene_option;
  bool weights_option = false;

  line.group("The points");
  line.add("--scene", "SEED", "the built-in scene: a simulated street and scanner (default: 1, without SCAN)",
           [&](std::string const& text) {
             options.scene = parse_number<std::uint64_t>("--scene", text, 0, UINT64_MAX);
             scene_option = "--scene";
           });
  line.add("--frame", "N", "which scan of the drive through the built-in scene (default: 0)",
           [&](std::string const& text) {
             options.frame = parse_number<std::int64_t>("--frame", text, -1000000, 1000000);
             scene_option = "--frame";
           });
  line.add("--sweeps", "N",
           "scans of the built-in scene, that one and those before it, in its frame (default: 1)",
           [&](std::string const& text) {
             options.sweeps = parse_number("--sweeps", text, 1, 100);
             scene_option = "--sweeps";
           });
  line.add("--sweep-interval", "SECONDS",
           "between two sweeps: the time lag that nuScenes' networks read as fifth channel (default: 0.05)",
           [&](std::string const& text) {
             options.sweep_interval = parse_number<double>("--sweep-interval", text, 0, 100);
           });
  line.add(
      "--intensity-scale", "FACTOR",
      "multiplies intensities (default: 1); KITTI's and Waymo's networks take 0 to 1, nuScenes' 0 to 255",
      [&](std::string const& text) {
        options.intensity_scale = parse_number<double>("--intensity-scale", text, 1e-6, 1e6);
      });
  program::add_reading_options(line, options.read);
  line.group("The network");
  auto const networks = network_names();
  std::string all;
  for (auto const& name : networks) { all += (all.empty() ? "" : ", ") + name; }
  line.add("--network", "NAME",
           "one of " + all + " (default: the one that the checkpoint fits, without it centerpoint_0_075)",
           [&options, networks, all](std::string const& text) {
             if (std::find(networks.begin(), networks.end(), text) == networks.end()) {
               throw UsageError{"--network: '" + text + "' is none of " + all};
             }
             options.network = text;
           });
  program::add_checkpoint_options(
      line, options,
      "trained weights: a detector's PyTorch checkpoint (.pth, .pt) or safetensors; names, layout and "
      "channels are told from it. Without it weights are random, and the map means nothing",
      "what the encoder's names begin with (default: looked for, e.g. 'pts_middle_encoder.')");
  line.add("--width", "FACTOR", "of random weights: multiplies all channels (default: 1)",
           [&](std::string const& text) {
             options.width = parse_number<double>("--width", text, 0.0625, 16);
             weights_option = true;
           });
  line.add("--seed", "N", "of random weights (default: 1)", [&](std::string const& text) {
    options.seed = parse_number<std::uint64_t>("--seed", text, 0, UINT64_MAX);
    weights_option = true;
  });
  line.add("--max-voxels", "N", "how many voxels there may be (default: the network's)",
           [&](std::string const& text) {
             options.max_voxels = parse_number("--max-voxels", text, 1, 100000000);
           });

  line.group("How it runs");
  program::add_machine_options(line, options, 3);
  line.add("--repeat", "N",
           "times the median of N runs after one that is not counted (default: 10 on the GPU, 1 on the CPU); "
           "1 times the first run",
           [&](std::string const& text) { options.repeat = parse_number("--repeat", text, 1, 100000); });
  line.add(
      "--stages", "",
      "on the GPU: also times each stage by itself, layer by layer; without it the whole way from points "
      "to the map is one CUDA graph, which has no stages",
      [&](std::string const&) { options.stages = true; });

  line.group("Results");
  line.add_choice("--layout", {"nchw", "nhwc"}, "order of the map's axes (default: nchw)",
                  [&](std::size_t i) { options.channels_last = i == 1; });
  line.add(
      "--output", "FOLDER|PREFIX",
      "a folder gets bev.npy and bev.png, any other name PREFIX.npy and PREFIX.png (default: the current "
      "folder)",
      [&](std::string const& text) {
        if (text.empty()) { throw UsageError{"--output needs a value"}; }
        options.output = text;
      });
  line.add(
      "--voxel-features", "FILE",
      "of parta2_kitti: also writes 'coordinates' and 'features' of all voxels, which its decoder makes, as "
      "safetensors",
      [&](std::string const& text) {
        if (text.empty()) { throw UsageError{"--voxel-features needs a value"}; }
        options.voxel_features = text;
      });
  line.add("--help", "", "this text", [&](std::string const&) { options.help = true; });

  options.scans = line.parse(arguments);
  if (options.help) {
    help_text =
        "usage: encode_bev [SCAN...] [options]\n\n"
        "Encodes a LiDAR scan, or several sweeps of one moment, with the sparse encoder of a 3D detector. "
        "Writes\n"
        "the bird's-eye view that the detector's 2D network takes (numpy, float32) and a picture of the norm "
        "of\n"
        "its channels (PNG). Prints how long that takes, and what was left out.\n\n"
        "SCAN is a file of KITTI (.bin), nuScenes (.pcd.bin), PCD, PLY or numpy (.npy). Of several the first "
        "is "
        "the\n"
        "newest, and all are in its frame; without one a built-in scene is used.\n" +
        line.help() +
        "\nExamples:\n"
        "  encode_bev\n"
        "  encode_bev 000000.bin --checkpoint second.pth --output results/\n"
        "  encode_bev s0.pcd.bin s1.pcd.bin s2.pcd.bin --checkpoint centerpoint.pth --device cuda\n"
        "  encode_bev --sweeps 10 --network bevfusion --width 0.5 --device cpu\n\n"
        "Progress goes to stderr, where anything takes over a second. Exit status: 0 all went well, 1\n"
        "something failed (a file, the GPU, memory), 2 wrong options; Ctrl-C ends the program as a signal "
        "does.\n";
    return options;
  }
  for (auto const& scan : options.scans) {
    if (scan.empty()) { throw UsageError{"the scan's name is empty"}; }
  }
  if (!options.scans.empty() && !scene_option.empty()) {
    throw UsageError{scene_option + " is about the built-in scene, but '" + options.scans[0] +
                     "' is given too"};
  }
  program::check_checkpoint_options(options);
  if (!options.checkpoint.empty() && weights_option) {
    throw UsageError{"--width and --seed are about random weights, but a checkpoint is given"};
  }
  return options;
}

}  // namespace encode_bev
