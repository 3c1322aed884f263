// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "device.cuh"
#include "run.hpp"

namespace train_segmentation {

void run_in_half(Task const& task, Ranks const& ranks, tessera::Execution<> const& exec)
{
  run<__half>(task, ranks, exec);
}

}  // namespace train_segmentation
