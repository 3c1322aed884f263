// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/command_line.hpp"
#include "../support/machine.hpp"
#include "../support/trained_network.hpp"
#include "scans.hpp"

#include <tessera/conv/config.hpp>
#include <tessera/coords/quantize_options.hpp>
#include <tessera/train/schedule.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace train_segmentation {

using program::parse_number;
using program::UsageError;

enum class ScheduleKind : std::uint8_t { one_cycle, cosine };

struct Options : program::MachineOptions {
  bool help = false;

  ScanOptions scans;
  std::optional<std::int64_t> validation_scans;  // not given: some in training, more to evaluate
  int loader_threads = 1;

  double width = 0.25;
  double voxel_size = 0.2;

  std::int64_t steps = 3000;
  int batch = 2;  // scans of a step, of all ranks together
  double learning_rate = 4e-3;
  ScheduleKind schedule = ScheduleKind::one_cycle;
  std::int64_t warm_up = 100;  // steps before the cosine
  double weight_decay = 0.01;
  double clip_norm = 10;
  double average_decay = 0.998;
  double lovasz = 1;  // weight of the loss beside cross entropy's 1

  std::int64_t validate_every = 250;
  std::int64_t checkpoint_every = 100;
  bool resume = false;
  bool restart = false;
  std::optional<std::int64_t> stop_at;
  std::string output;
  std::string export_file;  // empty: network.safetensors beside the checkpoint

  std::string evaluate;  // a file of --export; empty: train

  std::vector<std::string> arguments;  // as they were given

  [[nodiscard]] tessera::QuantizeOptions<3> voxels() const
  {
    return tessera::QuantizeOptions<3>(static_cast<float>(voxel_size))
        .origin(tessera::GridOrigin::lowest_voxel);
  }
  [[nodiscard]] tessera::train::Schedule learning_rates() const
  {
    using tessera::train::Schedule;
    if (schedule == ScheduleKind::one_cycle) { return Schedule::one_cycle(learning_rate, steps); }
    return Schedule::cosine(learning_rate, steps, 0).warm_up(warm_up);
  }
  [[nodiscard]] std::int64_t last_step() const { return std::min(steps, stop_at.value_or(steps)); }
};

/// An option that shapes the weights, as a checkpoint keeps it and as the command line says it.
struct Setting {
  std::string option;  // e.g. --width
  std::string text;    // e.g. 0.25
  std::int64_t number = 0;
};

/// All that the weights follow from, besides the machine.
[[nodiscard]] inline std::vector<Setting> settings_of(Options const& options)
{
  std::vector<Setting> settings;
  auto const whole = [&](char const* name, auto value) {
    settings.push_back({name, std::to_string(value), static_cast<std::int64_t>(value)});
  };
  auto const real = [&](char const* name, double value) {
    std::int64_t bits = 0;
    std::memcpy(&bits, &value, sizeof(bits));
    settings.push_back({name, program::segmentation::short_number(value), bits});
  };
  auto const& scans = options.scans;
  if (scans.kitti.empty()) {
    whole("--training-scenes", std::max<std::int64_t>(0, scans.training_scenes));
    whole("--beams", scans.scanner.beams);
    whole("--azimuth-steps", scans.scanner.azimuth_steps);
  }
  whole("--seed", scans.seed);
  real("--mix", scans.mixed);
  real("--intensity-scale", scans.intensity_scale);
  real("--width", options.width);
  real("--voxel-size", options.voxel_size);
  whole("--steps", options.steps);
  whole("--batch", options.batch);
  real("--learning-rate", options.learning_rate);
  bool const cycle = options.schedule == ScheduleKind::one_cycle;
  settings.push_back({"--schedule", cycle ? "one_cycle" : "cosine", cycle ? 0 : 1});
  if (!cycle) { whole("--warm-up", options.warm_up); }
  real("--weight-decay", options.weight_decay);
  real("--clip", options.clip_norm);
  real("--average", options.average_decay);
  real("--lovasz", options.lovasz);
  return settings;
}

/// A command that trains the same weights; what has no influence on them is left out.
[[nodiscard]] inline std::string command_of(Options const& options, std::int64_t steps_taken,
                                            program::Precision precision)
{
  std::string command = "train_segmentation";
  if (!options.scans.kitti.empty()) { command += " --kitti FOLDER"; }
  Options const defaults;
  auto const usual = settings_of(defaults);
  for (auto const& setting : settings_of(options)) {
    auto const found = std::find_if(usual.begin(), usual.end(),
                                    [&](auto const& other) { return other.option == setting.option; });
    if (found != usual.end() && found->number == setting.number) { continue; }
    command += " " + setting.option + " " + setting.text;
  }
  if (steps_taken < options.steps) { command += " --stop-at " + std::to_string(steps_taken); }
  return command + " --precision " + name_of(precision);
}

/// The command line as options; `help_text` is filled for `--help`.
/// @throws UsageError
[[nodiscard]] inline Options parse_options(std::vector<std::string> const& arguments, std::string& help_text)
{
  Options options;
  options.arguments = arguments;
  program::CommandLine line;
  bool simulator_given = false;
  auto const add_text = [&](char const* name, char const* value, char const* help, std::string& to) {
    line.add(name, value, help, [name, &to](std::string const& text) {
      if (text.empty()) { throw UsageError{std::string{name} + " needs a value"}; }
      to = text;
    });
  };
  auto const add_number = [&](char const* name, char const* value, char const* help, auto& to, auto low,
                              auto high) {
    line.add(name, value, help,
             [name, &to, low, high](std::string const& text) { to = parse_number(name, text, low, high); });
  };
  auto const add_simulator = [&](char const* name, char const* help, auto& to, auto low, auto high) {
    line.add(name, "N", help, [name, &to, &simulator_given, low, high](std::string const& text) {
      to = parse_number(name, text, low, high);
      simulator_given = true;
    });
  };
  constexpr std::int64_t most = 1'000'000'000;

  line.group("Scans");
  add_text("--kitti", "FOLDER",
           "trains on SemanticKITTI, whose folder has sequences/00/velodyne and labels; its splits, its 19 "
           "classes. "
           "Without it: simulated scenes",
           options.scans.kitti);
  add_simulator("--training-scenes",
                "how many simulated scenes there are, kept in memory; 0 (default): a new one each time",
                options.scans.training_scenes, std::int64_t{0}, std::int64_t{1'000'000});
  line.add(
      "--scenes", "N",
      "held-out scans to validate with (default: in training 10 scenes, or 50 scans of SemanticKITTI; for "
      "--evaluate 50 scenes, or all scans)",
      [&](std::string const& text) {
        options.validation_scans = parse_number<std::int64_t>("--scenes", text, 1, 1'000'000);
      });
  add_simulator("--beams", "beams of the simulated scanner (default: 64)", options.scans.scanner.beams, 1,
                1024);
  add_simulator("--azimuth-steps", "rays of a beam in a turn (default: 2083)",
                options.scans.scanner.azimuth_steps, 1, 65536);
  add_number("--mix", "SHARE", "share of training scans that get a sector of another one (default: 0.5)",
             options.scans.mixed, 0.0, 1.0);
  add_number("--intensity-scale", "FACTOR", "multiplies intensities (default: 1)",
             options.scans.intensity_scale, 1e-6, 1e6);
  add_number("--loader-threads", "N", "that load and augment scans ahead (default: 1)",
             options.loader_threads, 0, 256);
  add_number("--seed", "N", "of weights, scenes, order and augmentation (default: 1)", options.scans.seed,
             std::uint64_t{0}, UINT64_MAX);

  line.group("The network, a MinkUNet");
  add_number("--width", "FACTOR", "width of the network (default: 0.25)", options.width, 0.04, 16.0);
  add_number("--voxel-size", "METRES", "edge of a voxel (default: 0.2)", options.voxel_size, 0.001, 1000.0);

  line.group("Training");
  add_number("--steps", "N", "steps of the schedule (default: 3000)", options.steps, std::int64_t{2}, most);
  add_number("--batch", "N", "scans of a step, of all ranks together (default: 2)", options.batch, 1, 4096);
  add_number("--learning-rate", "RATE", "the largest (default: 0.004)", options.learning_rate, 0.0, 1e30);
  line.add_choice("--schedule", {"one_cycle", "cosine"}, "of the learning rate (default: one_cycle)",
                  [&](std::size_t i) { options.schedule = static_cast<ScheduleKind>(i); });
  add_number("--warm-up", "N", "steps before the cosine schedule (default: 100)", options.warm_up,
             std::int64_t{0}, most);
  add_number("--weight-decay", "FACTOR", "of kernels, not of norms and biases (default: 0.01)",
             options.weight_decay, 0.0, 10.0);
  add_number("--clip", "NORM", "the largest norm of the gradient (default: 10)", options.clip_norm, 0.0,
             1e30);
  add_number("--average", "DECAY",
             "of the moving average of the weights, which is validated and exported (default: 0.998)",
             options.average_decay, 0.0, 1.0);
  add_number("--lovasz", "WEIGHT", "of the Lovasz softmax loss beside cross entropy (default: 1)",
             options.lovasz, 0.0, 1e6);
  program::add_machine_options(line, options, 4);

  line.group("Progress");
  add_number("--validate-every", "STEPS", "mIoU of held-out scans (default: 250)", options.validate_every,
             std::int64_t{1}, most);
  add_number("--checkpoint-every", "STEPS", "(default: 100)", options.checkpoint_every, std::int64_t{1},
             most);
  line.add("--resume", "", "goes on from the checkpoint in the folder of --output, with the same options",
           [&](std::string const&) { options.resume = true; });
  line.add("--restart", "", "begins anew although there is a checkpoint",
           [&](std::string const&) { options.restart = true; });
  line.add("--stop-at", "STEP", "ends the training early, after this step", [&](std::string const& text) {
    options.stop_at = parse_number<std::int64_t>("--stop-at", text, 0, most);
  });

  line.group("Results");
  add_text(
      "--output", "FOLDER",
      "gets checkpoint.safetensors, history.csv, curve.png and network.safetensors (default: the current "
      "folder)",
      options.output);
  add_text("--export", "FILE", "writes the trained network here instead", options.export_file);
  add_text("--evaluate", "FILE",
           "does not train: prints the IoU of each class and the mIoU of this network on held-out scans",
           options.evaluate);
  line.add("--help", "", "this text", [&](std::string const&) { options.help = true; });

  auto const positional = line.parse(arguments);
  if (options.help) {
    help_text =
        "usage: train_segmentation [options]\n\n"
        "Trains a MinkUNet that labels the points of LiDAR scans, on simulated street scenes or on "
        "SemanticKITTI.\n"
        "Under mpirun, where it was built with MPI, all ranks train one network. Writes a checkpoint, a "
        "picture of\n"
        "loss and mIoU, and at the end the averaged weights in half precision, which segment_scan "
        "--checkpoint\n"
        "runs.\n" +
        line.help() +
        "\nExamples:\n"
        "  train_segmentation --output run/\n"
        "  train_segmentation --output run/ --resume\n"
        "  train_segmentation --kitti SemanticKITTI/dataset --width 1 --voxel-size 0.05 --steps 50000 "
        "--output run/\n"
        "  mpirun -n 2 train_segmentation --batch 8 --output run/\n"
        "  train_segmentation --evaluate run/network.safetensors --scenes 50\n\n"
        "Ctrl-C saves a checkpoint first. Exit status: 0 all went well, 1 something failed, 2 wrong "
        "options.\n";
    return options;
  }
  if (!positional.empty()) { throw UsageError{"'" + positional[0] + "' is no option; --help lists them"}; }
  if (simulator_given && !options.scans.kitti.empty()) {
    throw UsageError{
        "--training-scenes, --beams and --azimuth-steps are of simulated scenes, but --kitti is given"};
  }
  if (options.resume && options.restart) { throw UsageError{"either --resume or --restart"}; }
  if (!options.evaluate.empty() && (options.resume || options.restart || !options.export_file.empty())) {
    throw UsageError{"--evaluate does not train, so --resume, --restart and --export have no meaning"};
  }
  if (options.schedule == ScheduleKind::cosine && options.warm_up >= options.steps) {
    throw UsageError{"--warm-up: " + std::to_string(options.warm_up) + " steps leave none of --steps " +
                     std::to_string(options.steps)};
  }
  if (options.scans.training_scenes == 0) { options.scans.training_scenes = tessera::endless; }
  return options;
}

}  // namespace train_segmentation
