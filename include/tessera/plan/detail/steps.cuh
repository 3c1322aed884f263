// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/detail/work_event.cuh>
#include <tessera/core/launch.cuh>

#include <cuda_runtime_api.h>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Calls the steps in their order until one of them fails, and returns what that one said.
template <class... Steps>
[[nodiscard]] cudaError_t in_order(Steps const&... steps) noexcept
{
  auto status = cudaSuccess;
  static_cast<void>(((status = steps(), status == cudaSuccess) && ...));
  return status;
}

/// for_each() that throws nothing and allocates nothing.
template <class Body>
[[nodiscard]] cudaError_t try_for_each(std::int64_t count, Body const& body, cudaStream_t stream) noexcept
{
  if (count == 0) { return cudaSuccess; }
  cudaLaunchConfig_t config{};
  config.gridDim = grid_for(count, 256);
  config.blockDim = dim3(256);
  config.stream = stream;
  return cudaLaunchKernelEx(&config, for_each_kernel<Body>, count, body);
}

/// Makes `device` current while it lives; DeviceGuard without exceptions.
class CurrentDevice {
 public:
  explicit CurrentDevice(int device) noexcept
  {
    status_ = cudaGetDevice(&previous_);
    if (status_ == cudaSuccess && device != previous_) {
      status_ = cudaSetDevice(device);
      changed_ = status_ == cudaSuccess;
    }
  }
  CurrentDevice(CurrentDevice const&) = delete;
  CurrentDevice& operator=(CurrentDevice const&) = delete;
  ~CurrentDevice()
  {
    if (changed_) { static_cast<void>(cudaSetDevice(previous_)); }
  }
  [[nodiscard]] cudaError_t status() const noexcept { return status_; }

 private:
  int previous_ = 0;
  bool changed_ = false;
  cudaError_t status_ = cudaSuccess;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
