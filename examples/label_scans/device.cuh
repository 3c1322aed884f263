// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "engine.hpp"

#include <tessera/core/execution.cuh>

#include <memory>

namespace label_scans {

// One translation unit each, so that they compile side by side.
[[nodiscard]] std::unique_ptr<Engine> engine_in_float(Task const& task, tessera::Execution<> const& exec);
[[nodiscard]] std::unique_ptr<Engine> engine_in_half(Task const& task, tessera::Execution<> const& exec);
[[nodiscard]] std::unique_ptr<Engine> engine_in_bfloat16(Task const& task, tessera::Execution<> const& exec);

}  // namespace label_scans
