// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "segmentation.hpp"

#include <tessera/core/execution.cuh>

namespace segment_scan {

// One translation unit each, so that they compile side by side.
[[nodiscard]] Segmentation segment_in_float(Task const& task, tessera::Execution<> const& exec);
[[nodiscard]] Segmentation segment_in_half(Task const& task, tessera::Execution<> const& exec);
[[nodiscard]] Segmentation segment_in_bfloat16(Task const& task, tessera::Execution<> const& exec);

}  // namespace segment_scan
