// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "device.cuh"
#include "engines.hpp"

namespace label_scans {

std::unique_ptr<Engine> engine_in_half(Task const& task, tessera::Execution<> const& exec)
{
  return make_engine<tessera::Device, __half>(task, exec);
}

}  // namespace label_scans
