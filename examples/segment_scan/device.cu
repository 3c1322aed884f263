// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/stream.cuh"
#include "device.cuh"

namespace segment_scan {

using program::check;

std::string absence_of_device()
{
  return program::absence_of_gpu();
}

Segmentation segment_on_device(Task const& task, Precision precision)
{
  program::Stream const stream;
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
