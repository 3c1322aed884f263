// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "device.cuh"

#include <cuda_runtime_api.h>

namespace segment_scan {

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

Segmentation segment_on_device(Task const& task, Precision precision)
{
  Stream const stream;
  tessera::Execution const exec{stream.get()};
  auto result = [&] {
    switch (precision) {
      case Precision::fp16: return segment_in_half(task, exec);
      case Precision::bf16: return segment_in_bfloat16(task, exec);
      default: return segment_in_float(task, exec);
    }
  }();
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, exec.device()));
  result.device = properties.name;
  return result;
}

}  // namespace segment_scan
