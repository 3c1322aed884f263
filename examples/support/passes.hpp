// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "interrupt.hpp"
#include "program.hpp"
#include "stopwatch.hpp"

#include <array>
#include <cstddef>
#include <utility>
#include <vector>

namespace program {

/// Passes of `N` stages one after the other, after one that is not counted where there are several.
template <std::size_t N>
class TimedPasses {
 public:
  explicit TimedPasses(int runs) : runs_{runs} {}

  /// The last of what `pass()` returns, whose member `milliseconds` is [N].
  template <class Pass>
  [[nodiscard]] auto run(Pass const& pass)
  {
    if (runs_ > 1) { static_cast<void>(pass()); }
    for (int run = 1;; ++run) {
      auto done = pass();
      for (std::size_t stage = 0; stage < N; ++stage) {
        milliseconds_[stage].push_back(done.milliseconds[stage]);
      }
      if (run >= runs_) { return done; }
    }
  }

  [[nodiscard]] std::vector<Stage> medians(std::array<char const*, N> const& names) const
  {
    std::vector<Stage> stages;
    for (std::size_t stage = 0; stage < N; ++stage) {
      stages.push_back({names[stage], median(milliseconds_[stage])});
    }
    return stages;
  }

 private:
  int runs_;
  std::array<std::vector<double>, N> milliseconds_;
};

/// Calls `run(counted)` so often, after once where there are several, which is not counted. Ctrl-C ends it.
template <class Run>
void repeat_runs(int runs, Run const& run)
{
  for (int i = runs > 1 ? -1 : 0; i < runs; ++i) {
    throw_if_interrupted();
    run(i >= 0);
  }
}

}  // namespace program
