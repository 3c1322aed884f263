// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/buffer.hpp>
#include <tessera/core/execution.hpp>
#include <tessera/core/memory_resource.hpp>
#include <tessera/plan/detail/run_faults.hpp>
#include <tessera/plan/status.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Memory from another resource, of which it knows how much was in use at most.
class PeakMemory final : public MemoryResource {
 public:
  explicit PeakMemory(MemoryResource& next) : next_{next} {}

  [[nodiscard]] void* allocate(std::size_t bytes, StreamHandle stream) override
  {
    auto* const pointer = next_.allocate(bytes, stream);
    std::lock_guard const lock{mutex_};
    in_use_ += bytes;
    peak_ = std::max(peak_, in_use_);
    return pointer;
  }
  void deallocate(void* pointer, std::size_t bytes, StreamHandle stream) noexcept override
  {
    {
      std::lock_guard const lock{mutex_};
      in_use_ -= bytes;
    }
    next_.deallocate(pointer, bytes, stream);
  }
  [[nodiscard]] std::size_t peak() const
  {
    std::lock_guard const lock{mutex_};
    return peak_;
  }

 private:
  MemoryResource& next_;
  mutable std::mutex mutex_;
  std::size_t in_use_ = 0;
  std::size_t peak_ = 0;
};

/// How a plan of training steps runs them. Device: plan/detail/step_graph.cuh.
template <class Space>
class StepGraph;

/// On the host at once, call by call, in memory that is measured.
template <>
class StepGraph<Host> {
 public:
  /// There is none.
  struct Arena {};

  explicit StepGraph(Execution<Host> const& exec)
      : memory_{std::make_unique<PeakMemory>(exec.memory())}, own_{exec.num_threads(), memory_.get()}
  {}

  /// Calls `trial(execution)`, which shows that a step can run and how much memory it takes.
  template <class Trial, class Enqueue>
  void prepare(Trial const& trial, Enqueue const& /*enqueue*/, std::shared_ptr<Arena> const& /*arena*/,
               Execution<Host> const& /*exec*/)
  {
    trial(own_);
  }
  /// Calls `run(execution)`.
  template <class Run, class Ingest>
  void run(Run const& run, Ingest const& /*ingest*/, Execution<Host> const& /*exec*/)
  {
    run(own_);
  }
  /// Notes that a run ends with these errors [2].
  void note(std::uint32_t const* errors, Execution<Host> const& /*exec*/) noexcept { record_.note(errors); }
  /// Later work on `exec` follows the last run.
  void order(Execution<Host> const& /*exec*/) const noexcept {}
  static void join_map_streams(Execution<Host> const& /*exec*/) noexcept {}

  [[nodiscard]] PlanReport report() const noexcept { return record_.report(); }
  [[nodiscard]] RunRecord<Host>& record() noexcept { return record_; }
  void wait() const noexcept {}
  void wait_quietly() const noexcept {}
  [[nodiscard]] std::size_t bytes() const { return memory_->peak(); }
  [[nodiscard]] std::size_t num_nodes() const noexcept { return 0; }

 private:
  std::unique_ptr<PeakMemory> memory_;
  Execution<Host> own_;
  RunRecord<Host> record_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
