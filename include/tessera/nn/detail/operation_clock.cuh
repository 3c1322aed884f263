// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/launch.cuh>
#include <tessera/nn/detail/operation_clock.hpp>
#include <tessera/nn/detail/tune_backend.cuh>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Events of the stream. A kernel holds the stream until the host has enqueued everything, as far as the time
/// that it took before tells, so that operations follow one another as in a graph.
template <>
class OperationClock<Device> {
 public:
  explicit OperationClock(Execution<Device> const& exec) : exec_{exec.without_recorder()} {}

  /// Stream: waits, and enqueues the kernel that holds it.
  void start()
  {
    DeviceGuard const guard{exec_.device()};
    exec_.wait();
    auto const held = std::min(most_held, held_at_first + 1.5e9 * seconds_to_enqueue_);
    launch(hold_kernel<unsigned long long>, dim3(1), 1, 0, exec_, static_cast<unsigned long long>(held));
    count_ = 0;
    begin_ = std::chrono::steady_clock::now();
    mark();
  }
  /// Stream: records an event.
  void mark()
  {
    DeviceGuard const guard{exec_.device()};
    if (count_ == events_.size()) { events_.push_back(make_event()); }
    cuda_check(cudaEventRecord(events_[count_++].get(), exec_.stream()));
  }
  /// Stream: waits.
  [[nodiscard]] std::vector<double> stop()
  {
    DeviceGuard const guard{exec_.device()};
    seconds_to_enqueue_ = std::chrono::duration<double>{std::chrono::steady_clock::now() - begin_}.count();
    cuda_check(cudaEventSynchronize(events_[count_ - 1].get()));
    std::vector<double> seconds;
    for (std::size_t i = 1; i < count_; ++i) {
      float milliseconds = 0;
      cuda_check(cudaEventElapsedTime(&milliseconds, events_[i - 1].get(), events_[i].get()));
      seconds.push_back(1e-3 * double{milliseconds});
    }
    return seconds;
  }

 private:
  static constexpr double held_at_first = 300e3;  // nanoseconds
  static constexpr double most_held = 50e6;

  using Event = std::unique_ptr<std::remove_pointer_t<cudaEvent_t>, cudaError_t (*)(cudaEvent_t)>;

  [[nodiscard]] static Event make_event()
  {
    cudaEvent_t event = nullptr;
    cuda_check(cudaEventCreate(&event));
    return Event{event, &cudaEventDestroy};
  }

  Execution<Device> exec_;
  std::vector<Event> events_;
  std::size_t count_ = 0;
  double seconds_to_enqueue_ = 0;
  std::chrono::steady_clock::time_point begin_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
