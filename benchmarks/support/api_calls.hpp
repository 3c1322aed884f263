// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <cstdint>

namespace bench {

/// Calls into the CUDA runtime that this program has made so far.
///
/// The linker sends each such call through a function of ours that counts it (`--wrap`, see
/// benchmarks/CMakeLists.txt), so nothing is left to a profiler. What the runtime does inside a graph does
/// not count: the nodes of a graph are counted by whoever launches it.
struct ApiCalls {
  std::int64_t kernels = 0;           ///< launches of a kernel
  std::int64_t copies_and_fills = 0;  ///< cudaMemcpyAsync, cudaMemsetAsync, their blocking forms
  std::int64_t graphs = 0;            ///< launches of a graph
  std::int64_t waits = 0;             ///< the host waits: for stream, event, device, or in a blocking copy
  std::int64_t allocations = 0;       ///< asks for memory, in stream order or not
};

/// The counts so far.
[[nodiscard]] ApiCalls api_calls() noexcept;

[[nodiscard]] inline ApiCalls operator-(ApiCalls const& a, ApiCalls const& b)
{
  return {a.kernels - b.kernels, a.copies_and_fills - b.copies_and_fills, a.graphs - b.graphs,
          a.waits - b.waits, a.allocations - b.allocations};
}

}  // namespace bench
