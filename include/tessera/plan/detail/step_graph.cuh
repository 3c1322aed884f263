// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/launch.cuh>
#include <tessera/plan/detail/arena_graph.cuh>
#include <tessera/plan/detail/plan_record.cuh>
#include <tessera/plan/detail/step_graph.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// On the device as one CUDA graph, in an arena.
template <>
class StepGraph<Device> {
 public:
  using Arena = PlanArena;

  /// Stream: enqueues a fill.
  explicit StepGraph(Execution<Device> const& exec) : graph_{exec.device()}, record_{exec} {}

  /// Measures `trial(execution)`, and makes a graph of `enqueue(execution)`, which asks for the same memory.
  /// @param arena  memory shared with other plans, or null
  /// Stream: enqueues the trial twice, and waits.
  template <class Trial, class Enqueue>
  void prepare(Trial const& trial, Enqueue const& enqueue, std::shared_ptr<Arena> arena,
               Execution<Device> const& exec)
  {
    DeviceGuard const guard{exec.device()};
    graph_.allocate(measure_arena(trial, "TrainPlan: a step", exec), std::move(arena), exec);
    exec.wait();  // the arena's memory is there, on every stream
    graph_.capture(enqueue, "TrainPlan: a step");
  }
  /// Copies what is ingested and launches the graph.
  /// Stream: enqueues on `exec`, does not wait.
  template <class Run, class Ingest>
  void run(Run const& /*run*/, Ingest const& ingest, Execution<Device> const& exec)
  {
    expects(exec.device() == graph_.device(), "TrainPlan: made on device ", graph_.device(),
            ", run on device ", exec.device());
    auto const nothing = [](cudaStream_t) { return cudaSuccess; };
    auto const copy = [&](cudaStream_t stream) {
      return in_order([&] { return try_for_each(ingest.rows.count_items(), ingest.rows, stream); },
                      [&] { return try_for_each(ingest.labels.capacity, ingest.labels, stream); });
    };
    cuda_check(graph_.try_run(exec.stream(), nothing, copy, nothing));
  }
  void note(std::uint32_t const* errors, Execution<Device> const& exec)
  {
    for_each(1, record_.note(errors), exec);
  }
  void order(Execution<Device> const& exec) const
  {
    DeviceGuard const guard{graph_.device()};
    cuda_check(cudaStreamWaitEvent(exec.stream(), graph_.arena().last_run(), 0));
  }
  static void join_map_streams(Execution<Device> const& exec)
  {
    if (exec.map_streams() != nullptr) { exec.map_streams()->join(); }
  }

  [[nodiscard]] PlanReport report() const noexcept
  {
    auto report = record_.report();
    graph_.report_to(report);
    return report;
  }
  [[nodiscard]] RunRecord<Device>& record() noexcept { return record_; }
  void wait() const { graph_.wait(); }
  void wait_quietly() const noexcept { graph_.wait_quietly(); }
  [[nodiscard]] std::size_t bytes() const noexcept { return graph_.bytes(); }
  [[nodiscard]] std::size_t num_nodes() const noexcept { return graph_.num_nodes(); }

 private:
  ArenaGraph graph_;
  RunRecord<Device> record_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
