// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/stream.cuh"
#include "device.cuh"

namespace segment_scan {

Segmentation segment_on_device(Task const& task, Precision precision)
{
  program::Stream const stream;
  tessera::Execution const exec{stream.get()};
  switch (precision) {
    case Precision::fp16: return segment_in_half(task, exec);
    case Precision::bf16: return segment_in_bfloat16(task, exec);
    default: return segment_in_float(task, exec);
  }
}

}  // namespace segment_scan
