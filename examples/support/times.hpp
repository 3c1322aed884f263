// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "program.hpp"

#include <cstdio>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace program {

/// How long a program took for what.
struct TimesReport {
  int repeat = 1;
  double read = 0;                                         // milliseconds
  double written = 0;                                      // milliseconds
  std::optional<std::pair<Stage, std::string>> planned{};  // the CUDA graph, and a remark
  std::vector<Stage> stages{};                             // by themselves
};

inline void print_times(TimesReport const& report)
{
  std::printf("\nmilliseconds, %s\n", report.repeat == 1
                                          ? "one run"
                                          : ("median of " + std::to_string(report.repeat) + " runs").c_str());
  auto const line = [](char const* name, double milliseconds, char const* remark) {
    std::printf("  %-10s %10.2f%s\n", name, milliseconds, remark);
  };
  line("read", report.read, "");
  if (report.planned) {
    line(report.planned->first.name, report.planned->first.milliseconds, report.planned->second.c_str());
  }
  for (auto const& stage : report.stages) {
    line(stage.name, stage.milliseconds, report.planned ? "  by itself, without the graph" : "");
  }
  line("write", report.written, "");
}

}  // namespace program
