// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/detail/work_event.cuh>
#include <tessera/core/execution.cuh>
#include <tessera/train/gradient_reducer.hpp>

#include <cuda_runtime_api.h>

namespace tessera {
inline namespace v0 {
namespace detail {

/// A stream of the highest priority: a collective takes few blocks, and others wait for it.
template <>
class ReductionStream<Device> {
 public:
  explicit ReductionStream(Execution<Device> const& home) : exec_{home.on_stream(nullptr)}
  {
    DeviceGuard const guard{home.device()};
    int least = 0;
    int greatest = 0;
    cuda_check(cudaDeviceGetStreamPriorityRange(&least, &greatest));
    cudaStream_t stream = nullptr;
    cuda_check(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, greatest));
    exec_ = home.on_stream(stream);
  }
  ReductionStream(ReductionStream const&) = delete;
  ReductionStream& operator=(ReductionStream const&) = delete;
  ~ReductionStream() { static_cast<void>(cudaStreamDestroy(exec_.stream())); }

  [[nodiscard]] Execution<Device> const& after(Execution<Device> const& exec)
  {
    order(exec, exec_);
    return exec_;
  }
  void join(Execution<Device> const& exec) { order(exec_, exec); }

 private:
  /// Without asking whether the work has ended, so that it can be captured.
  void order(Execution<Device> const& first, Execution<Device> const& second)
  {
    DeviceGuard const guard{exec_.device()};
    cuda_check(cudaEventRecord(event_.get(), first.stream()));
    cuda_check(cudaStreamWaitEvent(second.stream(), event_.get(), 0));
  }

  Execution<Device> exec_;
  OwnedEvent event_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
