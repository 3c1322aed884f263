// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>

#include <cuda_runtime_api.h>

#include <string>

namespace program {

inline void check(cudaError_t status)
{
  if (status == cudaSuccess) { return; }
  throw tessera::cuda_error{static_cast<int>(status), cudaGetErrorString(status)};
}

/// A stream of its own, so that nothing runs on the default one.
class Stream {
 public:
  Stream() { check(cudaStreamCreate(&stream_)); }
  Stream(Stream const&) = delete;
  Stream& operator=(Stream const&) = delete;
  ~Stream() { static_cast<void>(cudaStreamDestroy(stream_)); }

  [[nodiscard]] cudaStream_t get() const noexcept { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

/// Why there is no GPU; empty if there is one.
[[nodiscard]] inline std::string absence_of_gpu()
{
  int devices = 0;
  auto const status = cudaGetDeviceCount(&devices);
  if (status == cudaSuccess) { return devices > 0 ? "" : "there is no GPU"; }
  static_cast<void>(cudaGetLastError());
  return std::string{"there is no GPU that can be used: "} + cudaGetErrorString(status);
}

/// The name of the GPU that is used.
[[nodiscard]] inline std::string gpu_name()
{
  int device = 0;
  check(cudaGetDevice(&device));
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device));
  return properties.name;
}

}  // namespace program
