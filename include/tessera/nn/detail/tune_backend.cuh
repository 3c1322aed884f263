// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/detail/device_attributes.cuh>
#include <tessera/core/launch.cuh>
#include <tessera/nn/detail/tune_backend.hpp>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <type_traits>

namespace tessera {
inline namespace v0 {
namespace detail {

[[nodiscard]] __device__ inline unsigned long long device_nanoseconds()
{
  unsigned long long now = 0;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  return now;
}

/// Keeps the stream busy for so long.
template <class Nanoseconds>
__global__ void hold_kernel(Nanoseconds nanoseconds)
{
  auto const begin = device_nanoseconds();
  while (device_nanoseconds() - begin < nanoseconds) {}
}

template <>
struct TuneBackend<Device> {
  [[nodiscard]] static std::string name(Execution<Device> const& exec)
  {
    cudaDeviceProp properties{};
    cuda_check(cudaGetDeviceProperties(&properties, exec.device()));
    return properties.name;
  }
  [[nodiscard]] static int compute_capability(Execution<Device> const& exec)
  {
    return detail::compute_capability(exec);
  }

  /// Times between two events of the stream. To hide launches, a kernel holds the stream until the host has
  /// enqueued everything, as far as the time it took before tells; then kernels follow each other as in a
  /// graph.
  class Stopwatch {
   public:
    Stopwatch(Execution<Device> const& exec, bool hide_launches)
        : exec_{exec.without_recorder()},
          hide_launches_{hide_launches},
          begin_{make_event(exec)},
          end_{make_event(exec)}
    {}

    template <class Work>
    [[nodiscard]] double operator()(int times, Work const& work)
    {
      DeviceGuard const guard{exec_.device()};
      exec_.wait();
      if (hide_launches_) {
        auto const nanoseconds = std::min(most_held, held_at_first + 1.5e9 * times * seconds_to_enqueue_);
        launch(hold_kernel<unsigned long long>, dim3(1), 1, 0, exec_,
               static_cast<unsigned long long>(nanoseconds));
      }
      cuda_check(cudaEventRecord(begin_.get(), exec_.stream()));
      auto const begin = std::chrono::steady_clock::now();
      for (int i = 0; i < times; ++i) { work(); }
      std::chrono::duration<double> const enqueued = std::chrono::steady_clock::now() - begin;
      cuda_check(cudaEventRecord(end_.get(), exec_.stream()));
      cuda_check(cudaEventSynchronize(end_.get()));
      seconds_to_enqueue_ = enqueued.count() / times;
      float milliseconds = 0;
      cuda_check(cudaEventElapsedTime(&milliseconds, begin_.get(), end_.get()));
      return 1e-3 * double{milliseconds} / times;
    }

   private:
    static constexpr double held_at_first = 300e3;  // nanoseconds; a launch takes the host some five thousand
    static constexpr double most_held = 20e6;

    using Event = std::shared_ptr<std::remove_pointer_t<cudaEvent_t>>;  // shared: a timer is copied

    [[nodiscard]] static Event make_event(Execution<Device> const& exec)
    {
      DeviceGuard const guard{exec.device()};
      cudaEvent_t event = nullptr;
      cuda_check(cudaEventCreate(&event));
      return {event, [](cudaEvent_t made) { static_cast<void>(cudaEventDestroy(made)); }};
    }

    Execution<Device> exec_;
    bool hide_launches_;
    double seconds_to_enqueue_ = 0;
    Event begin_;
    Event end_;
  };
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
