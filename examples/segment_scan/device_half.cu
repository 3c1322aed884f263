// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "device.cuh"
#include "segment_points.hpp"

namespace segment_scan {

Segmentation segment_in_half(Task const& task, tessera::Execution<> const& exec)
{
  return segment_any<tessera::Device, __half>(task, exec);
}

}  // namespace segment_scan
