// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/command_line.hpp"
#include "../support/machine.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace complete_shape {

using program::CommandLine;
using program::parse_number;
using program::UsageError;

struct Options : program::MachineOptions {
  bool help = false;

  int shapes = 32;                // to complete
  int show = 4;                   // of them in picture and PLY
  std::uint64_t shapes_seed = 1;  // of those held out
  int grid = 32;

  bool train = false;
  int steps = 3000;
  int batch = 4;
  double rate = 2e-2;      // largest learning rate
  std::uint64_t seed = 1;  // of the training: initial values and shapes

  std::string weights;  // a file to read, or to write when training; empty until it is known
  std::string output;   // a folder, or what file names begin with
};

/// The command line as options; `help_text` is filled for `--help`.
/// @throws UsageError
[[nodiscard]] inline Options parse_options(std::vector<std::string> const& arguments, std::string& help_text)
{
  Options options;
  CommandLine line;
  std::string training_option;
  auto const add_text = [&](std::string const& name, std::string const& value, std::string const& help,
                            std::string& to) {
    line.add(name, value, help, [name, &to](std::string const& text) {
      if (text.empty()) { throw UsageError{name + " needs a value"}; }
      to = text;
    });
  };

  line.group("The shapes");
  line.add("--shapes", "N", "how many held-out shapes are completed and compared (default: 32)",
           [&](std::string const& text) { options.shapes = parse_number("--shapes", text, 1, 100000); });
  line.add("--show", "N", "how many of them are drawn, the first ones (default: 4, one of each kind)",
           [&](std::string const& text) { options.show = parse_number("--show", text, 1, 16); });
  line.add("--shapes-seed", "N", "which shapes they are (default: 1); no training sees any of them",
           [&](std::string const& text) {
             options.shapes_seed = parse_number<std::uint64_t>("--shapes-seed", text, 0, UINT64_MAX);
           });
  line.group("The network");
  add_text("--weights", "FILE",
           "trained weights, as --train has written them (default: those that come along)", options.weights);
  line.add("--train", "",
           "trains the network anew and writes its weights beside the results; the same seed gives the same "
           "bytes",
           [&](std::string const&) { options.train = true; });
  line.add("--steps", "N", "of the training (default: 3000)", [&](std::string const& text) {
    options.steps = parse_number("--steps", text, 2, 1000000);
    training_option = "--steps";
  });
  line.add("--batch", "N", "shapes of a step (default: 4)", [&](std::string const& text) {
    options.batch = parse_number("--batch", text, 1, 1024);
    training_option = "--batch";
  });
  line.add("--rate", "RATE", "the largest learning rate (default: 0.02)", [&](std::string const& text) {
    options.rate = parse_number<double>("--rate", text, 1e-8, 10);
    training_option = "--rate";
  });
  line.add("--seed", "N", "of initial values and training shapes (default: 1)", [&](std::string const& text) {
    options.seed = parse_number<std::uint64_t>("--seed", text, 0, UINT64_MAX);
    training_option = "--seed";
  });
  line.add("--grid", "CELLS",
           "of the shapes' grid on each axis, 16, 32, 48, 64 (default: 32, which the weights that come along "
           "are for)",
           [&](std::string const& text) {
             options.grid = parse_number("--grid", text, 16, 64);
             if (options.grid % 16 != 0) { throw UsageError{"--grid: " + text + " is no multiple of 16"}; }
           });

  line.group("How it runs");
  program::add_machine_options(line, options, 1);

  line.group("Results");
  add_text("--output", "FOLDER|PREFIX",
           "a folder gets completion.ply and completion.png, any other name PREFIX.ply and PREFIX.png; with "
           "--train also .safetensors (default: the current folder)",
           options.output);
  line.add("--help", "", "this text", [&](std::string const&) { options.help = true; });

  auto const positional = line.parse(arguments);
  if (options.help) {
    help_text =
        "usage: complete_shape [options]\n\n"
        "Completes shapes of which a half is missing, spheres, boxes, tori and two of them together, with a\n"
        "sparse network that makes new voxels and prunes them, level by level. Prints the voxels of each "
        "level and\n"
        "how well held-out shapes are completed (IoU), beside what the partial ones have; writes them as "
        "points\n"
        "(PLY) and as a picture: partial, completed, truth.\n" +
        line.help() +
        "\nExamples:\n"
        "  complete_shape\n"
        "  complete_shape --shapes-seed 7 --show 8 --output results/\n"
        "  complete_shape --train --output results/\n"
        "  complete_shape --weights results/completion.safetensors --shapes 100\n\n"
        "Progress goes to stderr, where anything takes over a second. Exit status: 0 all went well, 1\n"
        "something failed (a file, the GPU, memory), 2 wrong options; Ctrl-C ends the program as a signal "
        "does.\n";
    return options;
  }
  if (!positional.empty()) {
    throw UsageError{"shapes are made, not read, but there is '" + positional[0] + "'"};
  }
  if (options.train && !options.weights.empty()) {
    throw UsageError{"--weights is read, but --train makes new ones"};
  }
  if (!options.train && !training_option.empty()) {
    throw UsageError{training_option + " is about --train, which is not given"};
  }
  return options;
}

}  // namespace complete_shape
