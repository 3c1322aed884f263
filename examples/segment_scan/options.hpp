// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/command_line.hpp"
#include "../support/machine.hpp"
#include "../support/points.hpp"
#include "../support/segmentation_network.hpp"

#include <tessera/conv/config.hpp>
#include <tessera/coords/quantize.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace segment_scan {

using program::CommandLine;
using program::parse_number;
using program::Precision;
using program::UsageError;

using program::segmentation::Model;
using program::segmentation::most_channels;
using program::segmentation::NetworkShape;
using program::segmentation::Weights;

struct Options : program::segmentation::NetworkOptions, program::MachineOptions {
  bool help = false;

  std::string scan;  // empty: the built-in scene
  tessera::PointReadOptions read;
  std::uint64_t scene = 1;
  std::int64_t frame = 0;
  bool random = false;  // weights, though there is a trained network

  std::optional<int> repeat;  // not given: 10 on the GPU, 1 on the CPU
  bool stages = false;        // time each stage by itself, without a plan

  std::string output;  // a folder, or what file names begin with
  std::string logits;  // a file, or none
};

/// The command line as options; `help_text` is filled for `--help`.
/// @throws UsageError
[[nodiscard]] inline Options parse_options(std::vector<std::string> const& arguments, std::string& help_text)
{
  using tessera::Dataflow;
  Options options;
  CommandLine line;
  std::optional<int> conv_mode;
  std::optional<Dataflow> dataflow;
  bool scene_given = false;
  bool seed_given = false;

  auto const add_text = [&](std::string const& name, std::string const& value, std::string const& help,
                            std::string& to) {
    line.add(name, value, help, [name, &to](std::string const& text) {
      if (text.empty()) { throw UsageError{name + " needs a value"}; }
      to = text;
    });
  };

  line.group("The scan");
  line.add("--scene", "SEED", "the built-in scene: a simulated street and scanner (default: 1, without SCAN)",
           [&](std::string const& text) {
             options.scene = parse_number<std::uint64_t>("--scene", text, 0, UINT64_MAX);
             scene_given = true;
           });
  line.add("--frame", "N", "which scan of the drive through the built-in scene (default: 0)",
           [&](std::string const& text) {
             options.frame = parse_number<std::int64_t>("--frame", text, -1000000, 1000000);
           });
  program::add_reading_options(line, options.read);
  line.add("--intensity-scale", "FACTOR",
           "multiplies intensities (default: 1); SemanticKITTI's networks take 0 to 1, so a scan of nuScenes "
           "needs 0.00392",
           [&](std::string const& text) {
             options.intensity_scale = parse_number<double>("--intensity-scale", text, 1e-6, 1e6);
           });
  line.add("--voxel-size", "METRES",
           "edge of a voxel (default: what the network says it was trained with, else 0.05)",
           [&](std::string const& text) {
             options.voxel_size = parse_number<double>("--voxel-size", text, 0.001, 1000);
           });
  line.add_choice(
      "--rounding", {"floor", "nearest"},
      "position to voxel (default: floor, for mmdetection3d's networks nearest); SPVNAS trains with nearest. "
      "The lowest voxel is 0 either way",
      [&](std::size_t i) { options.rounding = static_cast<tessera::Rounding>(i); });

  line.group("The network");
  line.add_choice(
      "--model", {"minkunet", "spvcnn"},
      "minkunet (default) labels voxels, and points as their voxels; spvcnn of SPVNAS labels points. "
      "A checkpoint of one may hold the names of the other, so it is not told from it",
      [&](std::size_t i) { options.model = static_cast<Model>(i); });
  program::add_checkpoint_options(
      line, options,
      "weights: a PyTorch checkpoint (.pth, .pt) or safetensors of SPVNAS's or mmdetection3d's networks, "
      "also one that convert_checkpoint or train_segmentation has written; names, layout and channels are "
      "told "
      "from it. Without it the built-in scene gets the network that comes with the program and was trained "
      "on "
      "such scenes; a file gets random weights, and its labels mean nothing",
      "what the network's names begin with (default: looked for, e.g. 'model.')");
  line.add(
      "--random", "",
      "random weights also for the built-in scene; so do --model, --width, --classes and --seed without a "
      "checkpoint",
      [&](std::string const&) { options.random = true; });
  line.add("--width", "FACTOR", "width of the network (default: the checkpoint's, else 1)",
           [&](std::string const& text) { options.width = parse_number<double>("--width", text, 0.04, 16); });
  line.add(
      "--classes", "N",
      "number of classes (default: the checkpoint's; with random weights 5 for the built-in scene, else 19)",
      [&](std::string const& text) { options.classes = parse_number("--classes", text, 1, most_channels); });
  line.add("--seed", "N", "of random weights (default: 1)", [&](std::string const& text) {
    options.seed = parse_number<std::uint64_t>("--seed", text, 0, UINT64_MAX);
    seed_given = true;
  });

  line.group("How it runs");
  program::add_machine_options(line, options, 4);
  line.add_choice("--dataflow", {"implicit_gemm", "gather_scatter", "fetch_on_demand"},
                  "how a convolution is carried out (default: implicit_gemm)",
                  [&](std::size_t i) { dataflow = static_cast<Dataflow>(i); });
  line.add_choice(
      "--conv-mode", {"0", "1", "2"},
      "implicit_gemm: 0 rows unsorted, 1 sorted by neighbours (default), 2 sorted in three splits",
      [&](std::size_t i) { conv_mode = static_cast<int>(i); });
  line.add_choice("--kmap", {"hashmap_on_the_fly", "hashmap"},
                  "where kernels sit: spconv's geometry (default) or MinkowskiEngine's",
                  [&](std::size_t i) { options.config.kmap = static_cast<tessera::KmapMode>(i); });
  line.add_choice(
      "--downsample", {"spconv", "minkowski"}, "which voxels a coarser level has (default: spconv)",
      [&](std::size_t i) { options.config.downsample = static_cast<tessera::DownsampleMode>(i); });
  line.add_choice(
      "--compat", {"none", "torchsparse"},
      "torchsparse: drop voxels at the upper border as TorchSparse does, which its checkpoints were "
      "trained with (default with such a checkpoint); none: keep every voxel (default otherwise)",
      [&](std::size_t i) { options.compat = static_cast<tessera::Compatibility>(i); });
  line.add("--repeat", "N",
           "times the median of N runs after one that is not counted (default: 10 on the GPU, 1 on the CPU); "
           "1 times the first run",
           [&](std::string const& text) { options.repeat = parse_number("--repeat", text, 1, 100000); });
  line.add(
      "--stages", "",
      "on the GPU: also times each stage by itself, layer by layer; without it the whole way from points "
      "to labels is one CUDA graph, which has no stages",
      [&](std::string const&) { options.stages = true; });

  line.group("Results");
  add_text("--output", "FOLDER|PREFIX",
           "a folder gets segmentation.ply and segmentation.png, any other name PREFIX.ply and PREFIX.png "
           "(default: the current folder)",
           options.output);
  add_text(
      "--logits", "FILE",
      "also writes 'coordinates' and 'logits' of all voxels as safetensors; of spvcnn 'logits' of all points",
      options.logits);
  line.add("--help", "", "this text", [&](std::string const&) { options.help = true; });

  auto const positional = line.parse(arguments);
  if (options.help) {
    help_text =
        "usage: segment_scan [SCAN] [options]\n\n"
        "Labels every point of a LiDAR scan with a sparse 3D network. Prints voxels per level, milliseconds\n"
        "and how many points each class got; writes the points coloured by class (PLY) and a picture from\n"
        "above (PNG). Where true labels are known, as in the built-in scene, the picture shows them too, "
        "and\n"
        "the mean IoU is printed.\n\n"
        "SCAN is a file of KITTI (.bin), nuScenes (.pcd.bin), PCD, PLY or numpy (.npy); without it a "
        "built-in "
        "scene\n"
        "is used.\n" +
        line.help() +
        "\nExamples:\n"
        "  segment_scan\n"
        "  segment_scan 000000.bin --checkpoint minkunet.pt --output results/\n"
        "  segment_scan --scene 7 --device cpu --width 0.5 --voxel-size 0.1\n"
        "  segment_scan 000000.bin --device cuda --precision fp16 --conv-mode 2 --repeat 100\n"
        "  segment_scan 000000.bin --model spvcnn --width 0.5\n"
        "  segment_scan sweep.pcd.bin --kmap hashmap --downsample minkowski\n\n"
        "Progress goes to stderr, where anything takes over a second. Exit status: 0 all went well, 1\n"
        "something failed (a file, the GPU, memory), 2 wrong options; Ctrl-C ends the program as a signal "
        "does.\n";
    return options;
  }
  if (positional.size() > 1) {
    throw UsageError{"one scan at a time, but there are '" + positional[0] + "' and '" + positional[1] + "'"};
  }
  if (!positional.empty()) {
    options.scan = positional[0];
    if (options.scan.empty()) { throw UsageError{"the scan's name is empty"}; }
    if (scene_given) {
      throw UsageError{"--scene is the built-in scene, but '" + options.scan + "' is given too"};
    }
  }
  if (conv_mode && dataflow.value_or(Dataflow::implicit_gemm) != Dataflow::implicit_gemm) {
    throw UsageError{"--conv-mode belongs to --dataflow implicit_gemm"};
  }
  program::check_checkpoint_options(options);
  if (options.random && !options.checkpoint.empty()) {
    throw UsageError{"--random is without weights, but --checkpoint is given"};
  }
  if (seed_given || options.width || options.classes || options.model != Model::minkunet) {
    options.random = options.checkpoint.empty();  // they are about the network that is made
  }
  options.config = tessera::with_conv_mode(options.config, conv_mode.value_or(1));
  options.config.dataflow = dataflow.value_or(Dataflow::implicit_gemm);
  if (options.precision == Precision::tf32) { options.config.math = tessera::MathMode::tf32; }
  return options;
}

}  // namespace segment_scan
