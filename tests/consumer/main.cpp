// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// A user's host-only program: it needs threads, and nothing of CUDA.
#ifdef WITH_EVERYTHING
#include <tessera/tessera.hpp>
#else
#include <tessera/core/execution.hpp>
#include <tessera/core/version.hpp>
#endif

#include <atomic>
#include <cstdint>
#include <cstdio>

int main()
{
  tessera::Execution<tessera::Host> const exec{2};
  std::atomic<std::int64_t> sum{0};
  exec.parallel_for(1000, 10, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) { sum += i; }
  });
  std::printf("Tessera %d.%d: %lld\n", TESSERA_VERSION_MAJOR, TESSERA_VERSION_MINOR,
              static_cast<long long>(sum));
  return sum == 499500 ? 0 : 1;
}
