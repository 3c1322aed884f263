// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "device.cuh"
#include "segment_points.hpp"

namespace segment_scan {

Segmentation segment_in_bfloat16(Task const& task, tessera::Execution<> const& exec)
{
  return segment_any<tessera::Device, __nv_bfloat16>(task, exec);
}

}  // namespace segment_scan
