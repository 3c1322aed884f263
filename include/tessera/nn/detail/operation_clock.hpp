// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/execution.hpp>

#include <chrono>
#include <cstddef>
#include <type_traits>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Times of operations that follow one another: start(), mark() after each, then stop() gives the seconds
/// between two marks. Host: below; Device: nn/detail/operation_clock.cuh.
template <class Space>
class OperationClock {
  static_assert(std::is_void_v<Space>,
                "profile on the device: include <tessera/nn/profile.cuh> and compile with nvcc");
};

template <>
class OperationClock<Host> {
 public:
  explicit OperationClock(Execution<Host> const& /*exec*/) {}

  void start()
  {
    times_.clear();
    mark();
  }
  void mark() { times_.push_back(std::chrono::steady_clock::now()); }
  [[nodiscard]] std::vector<double> stop()
  {
    std::vector<double> seconds;
    for (std::size_t i = 1; i < times_.size(); ++i) {
      seconds.push_back(std::chrono::duration<double>{times_[i] - times_[i - 1]}.count());
    }
    return seconds;
  }

 private:
  std::vector<std::chrono::steady_clock::time_point> times_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
