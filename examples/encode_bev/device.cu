// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "device.cuh"

#include <cuda_runtime_api.h>

namespace encode_bev {

namespace {

void check(cudaError_t status)
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

}  // namespace

std::string absence_of_device()
{
  int devices = 0;
  auto const status = cudaGetDeviceCount(&devices);
  if (status == cudaSuccess) { return devices > 0 ? "" : "there is no GPU"; }
  static_cast<void>(cudaGetLastError());
  return std::string{"there is no GPU that can be used: "} + cudaGetErrorString(status);
}

Encoding encode_on_device(Task const& task, Precision precision)
{
  Stream const stream;
  tessera::Execution const exec{stream.get()};
  auto result = precision == Precision::fp16 ? encode_in_half(task, exec) : encode_in_float(task, exec);
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, exec.device()));
  result.device = properties.name;
  return result;
}

}  // namespace encode_bev
