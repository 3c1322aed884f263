// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/buffer.hpp>
#include <tessera/core/execution.cuh>
#include <tessera/plan/detail/run_faults.hpp>
#include <tessera/plan/status.hpp>

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Counts a run that has ended, and what was wrong with it: on the device, and where the host looks.
struct NoteRun {
  std::uint32_t const* errors;  // [2] bits of DataError and code of a row
  PlanRecord* counts;           // [1] on the device
  PlanRecord volatile* seen;    // [1] in the host's memory, never read here: that would take a trip there

  __device__ void operator()(std::int64_t) const
  {
    for (int kind = 0; kind < PlanRecord::kinds; ++kind) {
      if ((*errors >> kind & 1U) != 0) { seen->faulty[kind] = ++counts->faulty[kind]; }
    }
    if ((errors[0] & DataError::bad_label) != 0) { seen->row = errors[1]; }
    __threadfence_system();
    seen->runs = ++counts->runs;
  }
};

/// On the device, and in memory that the host sees.
template <>
class RunRecord<Device> {
 public:
  /// Stream: enqueues a fill.
  explicit RunRecord(Execution<Device> const& exec) : counts_{1, exec}
  {
    fill_bytes(counts_, 0, exec);
    void* memory = nullptr;
    cuda_check(cudaHostAlloc(&memory, sizeof(PlanRecord), cudaHostAllocMapped));
    seen_.reset(static_cast<PlanRecord*>(memory));
    *seen_ = {};
  }

  /// Notes that a run with these errors [2] ends; for a graph.
  [[nodiscard]] NoteRun note(std::uint32_t const* errors) noexcept
  {
    return {errors, counts_.data(), seen_.get()};
  }
  [[nodiscard]] PlanReport report() const noexcept { return faults_.report(*seen_); }
  [[nodiscard]] std::uint32_t take_faults() noexcept { return faults_.take(*seen_); }
  /// code_of_row() of the last run with a bad label.
  [[nodiscard]] std::uint32_t bad_row() const noexcept { return load(*seen_).row; }

 private:
  struct FreeHost {
    void operator()(PlanRecord* record) const { static_cast<void>(cudaFreeHost(record)); }
  };

  Buffer<PlanRecord, Device> counts_;
  std::unique_ptr<PlanRecord, FreeHost> seen_;
  RunFaults faults_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
