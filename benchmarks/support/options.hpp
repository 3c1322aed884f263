// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "revision.hpp"

#include <command_line.hpp>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

/// What every benchmark is told.
struct Options {
  bool help = false;
  std::string filter;    ///< only cases whose line contains it
  int calls = 100;       ///< timed, of each case
  std::string out;       ///< file of the results; empty: none
  std::string data;      ///< folder of recorded scans
  std::string revision;  ///< of the source, as the results name it
  std::string precision = "fp16";
};

/// The command line as options; `help_text` is filled for `--help`.
/// @param precisions  that the program knows; none: it has no such option
/// @throws program::UsageError
[[nodiscard]] inline Options parse_options(std::string const& about,
                                           std::vector<std::string> const& precisions,
                                           std::vector<std::string> const& arguments, std::string& help_text)
{
  Options options;
  auto const* const folder = std::getenv("TESSERA_TEST_DATA");
  options.data = folder != nullptr ? folder : "../shared";
  options.revision = source_revision();
  program::CommandLine line;
  line.group("What is measured");
  line.add("--filter", "TEXT", "only cases whose line contains TEXT",
           [&](std::string const& text) { options.filter = text; });
  line.add(
      "--calls", "N", "timed calls of each case, 1 to 100,000; 100 by default",
      [&](std::string const& text) { options.calls = program::parse_number("--calls", text, 1, 100000); });
  line.add("--data", "DIR",
           "folder of recorded scans, or with them in data/; by default that of TESSERA_TEST_DATA, else "
           "../shared. Simulated scans stand in for absent ones",
           [&](std::string const& text) { options.data = text; });
  if (!precisions.empty()) {
    std::string names;
    for (auto const& name : precisions) { names += (names.empty() ? "" : "|") + name; }
    line.add("--precision", names, "of features and weights; fp16 by default",
             [&options, names, precisions](std::string const& text) {
               for (auto const& name : precisions) {
                 if (name == text) { options.precision = text; }
               }
               if (options.precision != text) {
                 throw program::UsageError{"--precision: '" + text + "' is none of " + names};
               }
             });
  }
  line.group("What comes out");
  line.add("--out", "FILE", "results: .json, .csv, or without either ending both FILE.json and FILE.csv",
           [&](std::string const& text) { options.out = text; });
  line.add("--revision", "TEXT",
           "what the results call the source, by default what git said of it when the build was configured",
           [&](std::string const& text) { options.revision = text; });
  line.group("Help");
  line.add("--help", "", "this text", [&](std::string const&) { options.help = true; });
  help_text = about + "\n" + line.help();
  auto const positional = line.parse(arguments);
  if (!positional.empty()) {
    throw program::UsageError{"'" + positional.front() + "' is no option; --help lists them"};
  }
  return options;
}

}  // namespace bench
