// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/bev_network.hpp"
#include "../support/command_line.hpp"
#include "../support/machine.hpp"
#include "../support/points.hpp"
#include "../support/segmentation_network.hpp"
#include "scans.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace label_scans {

using program::CommandLine;
using program::parse_number;
using program::UsageError;

/// Of the programs' networks the one that labels points; all others are encoders.
inline constexpr char const* minkunet = "minkunet";

struct Options : program::CheckpointOptions, program::MachineOptions {
  bool help = false;

  std::string source;  // a folder or a list
  Layout layout = Layout::detect;
  bool sweeps = false;
  tessera::PointReadOptions read;
  std::int64_t max_points = 300000;

  std::optional<std::string> shard;  // not given: the environment's, else all
  bool skip_failed = false;
  bool mixed = false;

  std::optional<std::string> network;  // not given: the checkpoint's, else minkunet
  std::optional<double> width;
  std::optional<int> classes;
  std::optional<int> max_voxels;
  std::optional<double> voxel_size;  // not given: what the network was trained with, else 0.05
  std::optional<tessera::Rounding> rounding;
  std::optional<double> intensity_scale;

  std::optional<int> gpu;  // not given: by the local rank
  int readers = 2;
  int writers = 2;
  bool sync = true;

  std::string output;
  bool npy = false;  // labels as npy
  std::string label_ids = "auto";
  bool worker = false;
};

/// The command line as options; `help_text` is filled for `--help`.
/// @throws UsageError
[[nodiscard]] inline Options parse_options(std::vector<std::string> const& arguments, std::string& help_text)
{
  Options options;
  CommandLine line;
  auto const flag = [&](std::string const& name, std::string const& help, bool& to, bool value = true) {
    line.add(name, "", help, [&to, value](std::string const&) { to = value; });
  };

  line.group("The scans");
  line.add_choice(
      "--layout", {"detect", "folder", "semantickitti", "nuscenes", "list"},
      "what SOURCE is (default: detect). folder: .bin, .pcd, .ply and .npy at any depth; semantickitti: "
      "sequences/XX/velodyne/*.bin, labelled in sequences/XX/predictions/; nuscenes: "
      "samples/LIDAR_TOP/*.bin; "
      "list: a text file with a path per line, then optionally a tab and a name for the results",
      [&](std::size_t i) { options.layout = static_cast<Layout>(i); });
  flag("--sweeps", "nuscenes: sweeps/LIDAR_TOP too", options.sweeps);
  program::add_reading_options(line, options.read);
  line.add("--intensity-scale", "FACTOR", "multiplies intensities (default: 1)",
           [&](std::string const& text) {
             options.intensity_scale = parse_number<double>("--intensity-scale", text, 1e-6, 1e6);
           });
  line.add("--max-points", "N", "scans with more points fail (default: 300000); buffers are that large",
           [&](std::string const& text) {
             options.max_points = parse_number<std::int64_t>("--max-points", text, 1, 100000000);
           });

  line.group("Which of them");
  line.add("--shard", "I/N",
           "the share of this process, counted from 0: every N-th of the sorted scans (default: from a "
           "launcher's variables, SLURM_ARRAY_TASK_ID and _COUNT, SLURM_PROCID and SLURM_NTASKS, "
           "OMPI_COMM_WORLD_RANK and _SIZE, PMI_RANK and _SIZE, RANK and WORLD_SIZE; else all scans)",
           [&](std::string const& text) { options.shard = text; });
  flag("--skip-failed", "skip scans that failed before (default: retry them)", options.skip_failed);
  flag("--mixed", "continue in a folder whose results were made with other settings", options.mixed);

  line.group("The network");
  auto networks = program::bev::network_names();
  networks.insert(networks.begin(), minkunet);
  std::string all;
  for (auto const& name : networks) { all += (all.empty() ? "" : ", ") + name; }
  line.add(
      "--network", "NAME",
      "one of " + all +
          " (default: the one that the checkpoint fits, without it minkunet). minkunet labels points, all "
          "others make a bird's-eye view",
      [&options, networks, all](std::string const& text) {
        if (std::find(networks.begin(), networks.end(), text) == networks.end()) {
          throw UsageError{"--network: '" + text + "' is none of " + all};
        }
        options.network = text;
      });
  program::add_checkpoint_options(line, options,
                                  "weights, as segment_scan and encode_bev read them. Without it they are "
                                  "random, and the results mean nothing",
                                  "what the network's names begin with (default: looked for)");
  line.add("--width", "FACTOR", "of random weights: multiplies all channels (default: 1)",
           [&](std::string const& text) { options.width = parse_number<double>("--width", text, 0.04, 16); });
  line.add("--classes", "N", "of random weights: number of classes (default: 19)",
           [&](std::string const& text) {
             options.classes = parse_number("--classes", text, 1, program::segmentation::most_channels);
           });
  line.add("--seed", "N", "of random weights (default: 1)", [&](std::string const& text) {
    options.seed = parse_number<std::uint64_t>("--seed", text, 0, UINT64_MAX);
  });
  line.add("--voxel-size", "METRES",
           "minkunet: edge of a voxel (default: what the network says it was trained with, else 0.05)",
           [&](std::string const& text) {
             options.voxel_size = parse_number<double>("--voxel-size", text, 0.001, 1000);
           });
  line.add_choice("--rounding", {"floor", "nearest"},
                  "minkunet: position to voxel (default: floor, for mmdetection3d's networks nearest)",
                  [&](std::size_t i) { options.rounding = static_cast<tessera::Rounding>(i); });
  line.add("--max-voxels", "N", "encoders: how many voxels there may be (default: the network's)",
           [&](std::string const& text) {
             options.max_voxels = parse_number("--max-voxels", text, 1, 100000000);
           });

  line.group("How it runs");
  program::add_machine_options(line, options, 4);
  line.add(
      "--gpu", "N",
      "which GPU (default: the local rank, SLURM_LOCALID, OMPI_COMM_WORLD_LOCAL_RANK or LOCAL_RANK; else 0)",
      [&](std::string const& text) { options.gpu = parse_number("--gpu", text, 0, 1023); });
  line.add("--readers", "N", "threads that read (default: 2)",
           [&](std::string const& text) { options.readers = parse_number("--readers", text, 1, 64); });
  line.add("--writers", "N", "threads that write (default: 2)",
           [&](std::string const& text) { options.writers = parse_number("--writers", text, 1, 64); });
  flag("--no-sync",
       "do not sync results to the disk: faster, but after a power failure truncated files may count as done",
       options.sync, false);

  line.group("Results");
  line.add("--output", "FOLDER", "where results and the manifest go (required)",
           [&](std::string const& text) { options.output = text; });
  line.add_choice(
      "--write", {"label", "npy"},
      "labels as SemanticKITTI's .label (default, uint32, 0: no class) or as numpy arrays (int32, "
      "-1: no class); maps are always numpy arrays",
      [&](std::size_t i) { options.npy = i == 1; });
  line.add(
      "--label-ids", "auto|raw|train|A,B,...",
      "what a .label has for the classes: raw, SemanticKITTI's own numbers of its 19; train, 1 and on; or a "
      "number for each (default: raw where there are 19, else train)",
      [&](std::string const& text) { options.label_ids = text; });
  flag(
      "--worker",
      "instead of SOURCE: a path, or a path, a tab and a name, on each line of the standard input; a line of "
      "JSON for each on the standard output (docs/scale.md)",
      options.worker);
  line.add("--help", "", "this text", [&](std::string const&) { options.help = true; });

  auto const positional = line.parse(arguments);
  if (options.help) {
    help_text =
        "usage: label_scans SOURCE --output FOLDER [options]\n\n"
        "Labels the points of many LiDAR scans, or writes the bird's-eye view of each. Reading, the network "
        "and\n"
        "writing overlap. A result gets its name when it is complete, so running the same command again "
        "does\n"
        "what is missing; FOLDER/manifest/ records every scan. Several processes share the work through "
        "--shard\n"
        "or the variables of Slurm, mpirun and torchrun.\n" +
        line.help() +
        "\nExamples:\n"
        "  label_scans kitti/dataset --checkpoint minkunet.pt --output predictions\n"
        "  label_scans scans.txt --format kitti --shard 0/8 --output labels\n"
        "  mpirun -n 8 label_scans nuscenes --network centerpoint_0_075 --output maps\n\n"
        "Progress goes to stderr, where anything takes over a second; the last line of the standard output "
        "is "
        "a\n"
        "summary as JSON. Exit status: 0 every scan has its result, 1 some failed, or the program did, 2 "
        "wrong\n"
        "options; Ctrl-C finishes the scans in hand and ends the program as a signal does (130).\n";
    return options;
  }
  if (options.worker ? !positional.empty() : positional.size() != 1) {
    throw UsageError{options.worker
                         ? "--worker reads names of scans on its standard input and takes no SOURCE"
                         : "one SOURCE is needed, a folder or a list; there are " +
                               std::to_string(positional.size())};
  }
  if (!positional.empty()) { options.source = positional[0]; }
  if (options.output.empty()) { throw UsageError{"--output is needed"}; }
  if (options.worker && options.shard) {
    throw UsageError{"--shard is about a SOURCE; a --worker does what it is told"};
  }
  program::check_checkpoint_options(options);
  if (!options.checkpoint.empty() && options.width) {
    throw UsageError{"--width is about random weights, but a checkpoint is given"};
  }
  return options;
}

}  // namespace label_scans
