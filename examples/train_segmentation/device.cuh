// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "task.hpp"

#include <tessera/core/execution.cuh>

namespace train_segmentation {

using Ranks = tessera::train::Communicator<tessera::Device>;

// One translation unit each, so that they compile side by side.
void run_in_float(Task const& task, Ranks const& ranks, tessera::Execution<> const& exec);
void run_in_half(Task const& task, Ranks const& ranks, tessera::Execution<> const& exec);
void run_in_bfloat16(Task const& task, Ranks const& ranks, tessera::Execution<> const& exec);

}  // namespace train_segmentation
