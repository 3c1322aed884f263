// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "device.cuh"
#include "segment.hpp"

namespace segment_scan {

Segmentation segment_in_half(Task const& task, tessera::Execution<> const& exec)
{
  return segment<tessera::Device, __half>(task, exec);
}

}  // namespace segment_scan
