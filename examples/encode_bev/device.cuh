// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "encoding.hpp"

#include <tessera/core/execution.cuh>

namespace encode_bev {

// One translation unit each, so that they compile side by side.
[[nodiscard]] Encoding encode_in_float(Task const& task, tessera::Execution<> const& exec);
[[nodiscard]] Encoding encode_in_half(Task const& task, tessera::Execution<> const& exec);

}  // namespace encode_bev
