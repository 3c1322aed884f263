// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/execution.hpp>
#include <tessera/nn/tune_options.hpp>

#include <algorithm>
#include <chrono>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// What tuning asks of a space. Host: below; Device: nn/detail/tune_backend.cuh. Each specialisation has
///   static std::string name(exec); static int compute_capability(exec);
///   Stopwatch{exec, hide_launches}, whose `double operator()(int times, work)` gives the seconds that
///   `work()` takes when it is called `times` times.
template <class Space>
struct TuneBackend {
  static_assert(std::is_void_v<Space>,
                "tune on the device: include <tessera/nn/tune.cuh> and compile with nvcc");
};

template <>
struct TuneBackend<Host> {
  [[nodiscard]] static std::string name(Execution<Host> const&) { return "host"; }
  [[nodiscard]] static int compute_capability(Execution<Host> const&) { return 0; }

  class Stopwatch {
   public:
    Stopwatch(Execution<Host> const&, bool /*hide_launches*/) {}

    template <class Work>
    [[nodiscard]] double operator()(int times, Work const& work)
    {
      auto const begin = std::chrono::steady_clock::now();
      for (int i = 0; i < times; ++i) { work(); }
      return std::chrono::duration<double>{std::chrono::steady_clock::now() - begin}.count() / times;
    }
  };
};

[[nodiscard]] inline double median_of(std::vector<double> values)
{
  auto const middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// The timer where the options have none: the median of several timings, each of enough calls to be long
/// beside the clock's steps.
template <class Space>
[[nodiscard]] nn::TuneTimer make_timer(TuneOptions const& options, Execution<Space> const& exec)
{
  if (options.timer()) { return options.timer(); }
  constexpr double long_enough = 200e-6;  // an event's time is exact to half a microsecond
  constexpr int most_times = 16;          // a stream holds about a thousand launches
  return [exec, stopwatch = typename TuneBackend<Space>::Stopwatch{exec, options.is_for_plan()},
          repetitions = options.repetitions()](nn::TuneTrial const& trial,
                                               std::function<void()> const& work) mutable {
    if (trial.step == nn::TuneStep::first_use) { return stopwatch(1, work); }
    auto const one = stopwatch(1, work);
    auto const times =
        one * most_times <= long_enough ? most_times : std::max(1, static_cast<int>(long_enough / one));
    std::vector<double> timings;
    for (int i = 0; i < repetitions; ++i) { timings.push_back(stopwatch(times, work)); }
    return median_of(std::move(timings));
  };
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
