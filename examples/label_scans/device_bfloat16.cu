// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "device.cuh"
#include "engines.hpp"

namespace label_scans {

std::unique_ptr<Engine> engine_in_bfloat16(Task const& task, tessera::Execution<> const& exec)
{
  return std::make_unique<SegmentationEngine<tessera::Device, __nv_bfloat16>>(task, exec);  // no encoders
}

}  // namespace label_scans
