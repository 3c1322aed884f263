// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/stream.cuh"
#include "device.cuh"

namespace encode_bev {

Encoding encode_on_device(Task const& task, Precision precision)
{
  program::Stream const stream;
  tessera::Execution const exec{stream.get()};
  return precision == Precision::fp16 ? encode_in_half(task, exec) : encode_in_float(task, exec);
}

}  // namespace encode_bev
