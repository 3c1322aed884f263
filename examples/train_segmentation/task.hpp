// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "options.hpp"

#include <tessera/core/execution.hpp>
#include <tessera/train/communicator.hpp>

#include <chrono>

namespace train_segmentation {

/// What to run, and where.
struct Task {
  Options const* options = nullptr;
  program::Machine machine;
  bool has_launcher = false;  // mpirun or srun started this process, and MPI is initialized
};

/// How long ranks wait for one that validates, or writes a checkpoint.
inline constexpr std::chrono::minutes rank_timeout{2};

/// Trains or evaluates, as the options say.
void run_on_host(Task const& task);

// Only in builds with CUDA.
void run_on_device(Task const& task);

}  // namespace train_segmentation
