// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/execution.hpp>

#include <algorithm>
#include <chrono>
#include <vector>

namespace program {

/// Milliseconds between calls, the space's work included.
template <class Space>
class Stopwatch {
 public:
  explicit Stopwatch(tessera::Execution<Space> const& exec) : exec_{&exec} { lap(); }
  double lap()
  {
    exec_->wait();
    auto const now = std::chrono::steady_clock::now();
    std::chrono::duration<double, std::milli> const passed = now - last_;
    last_ = now;
    return passed.count();
  }

 private:
  tessera::Execution<Space> const* exec_;
  std::chrono::steady_clock::time_point last_;
};

[[nodiscard]] inline double median(std::vector<double> values)
{
  std::sort(values.begin(), values.end());
  auto const middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : 0.5 * (values[middle - 1] + values[middle]);
}

}  // namespace program
