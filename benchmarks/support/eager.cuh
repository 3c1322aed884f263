// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "session.cuh"

#include <algorithm>
#include <cstdint>

namespace bench {

/// Times of calls one by one, and ten in a row where `batched`.
enum class CallTimes { single, batched };

/// Counts the launches of `run(exec)`, finds the most memory it has in use, and times it.
/// @param pooled  where it runs: an execution whose memory is `pool`, which is warm after two calls
/// @param work    of a call, or null: not known
template <class Run>
void measure_eager(Session& session, ts::PoolMemoryResource& pool, ts::Execution<ts::Device> const& pooled,
                   Result result, CallTimes times, Work const* work, Run const& run)
{
  auto const call = [&] { run(pooled); };
  run(session.exec());  // makes what layers and parameters keep
  call();
  pooled.wait();
  pool.reset_peak();
  auto const kept = pool.peak_bytes();
  session.count(result, call);
  pooled.wait();
  result.peak_bytes = static_cast<std::int64_t>(pool.peak_bytes() - kept);
  auto const calls = session.options().calls;
  session.add(result, "calls", session.timer().calls(calls, call), work);
  if (times == CallTimes::batched) {
    session.add(result, "batched", session.timer().batched(std::max(1, calls / 10), 10, call), work);
  }
}

}  // namespace bench
