// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/stream.cuh"
#include "device.cuh"

namespace encode_bev {

using program::check;

std::string absence_of_device()
{
  return program::absence_of_gpu();
}

Encoding encode_on_device(Task const& task, Precision precision)
{
  program::Stream const stream;
  tessera::Execution const exec{stream.get()};
  auto result = precision == Precision::fp16 ? encode_in_half(task, exec) : encode_in_float(task, exec);
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, exec.device()));
  result.device = properties.name;
  return result;
}

}  // namespace encode_bev
