// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/stream.cuh"
#include "device.cuh"

namespace label_scans {

int pick_gpu(std::optional<int> wanted, std::optional<std::int64_t> local_rank)
{
  int devices = 0;
  program::check(cudaGetDeviceCount(&devices));
  if (wanted && *wanted >= devices) {
    throw program::Failure{"--gpu " + std::to_string(*wanted) + ": there are " + std::to_string(devices)};
  }
  int const device = wanted.value_or(static_cast<int>(local_rank.value_or(0) % devices));
  program::check(cudaSetDevice(device));
  return device;
}

std::unique_ptr<Engine> make_device_engine(Task const& task, program::Precision precision)
{
  static program::Stream const stream;  // outlives the engine
  tessera::Execution const exec{stream.get()};
  switch (precision) {
    case program::Precision::fp16: return engine_in_half(task, exec);
    case program::Precision::bf16: return engine_in_bfloat16(task, exec);
    default: return engine_in_float(task, exec);
  }
}

}  // namespace label_scans
