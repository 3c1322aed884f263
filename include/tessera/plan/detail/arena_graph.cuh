// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/detail/work_event.cuh>
#include <tessera/core/execution.cuh>
#include <tessera/plan/arena.cuh>
#include <tessera/plan/detail/capture.cuh>
#include <tessera/plan/detail/measure_plan.cuh>
#include <tessera/plan/detail/steps.cuh>
#include <tessera/plan/status.hpp>

#include <cstddef>
#include <memory>
#include <mutex>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// A captured graph whose intermediates lie in an arena, and its runs in turn with others of the arena.
///
/// To be declared before whatever was allocated while it was captured: the memory and the streams that these
/// give it back on end with this.
class ArenaGraph {
 public:
  /// Stream: makes streams and events on the device.
  explicit ArenaGraph(int device)
      : device_{device},
        stream_{made_on<OwnedStream>(device)},
        done_{made_on<OwnedEvent>(device)},
        map_streams_{made_on<MapStreams>(device, stream_.get())}
  {}
  ArenaGraph(ArenaGraph const&) = delete;
  ArenaGraph& operator=(ArenaGraph const&) = delete;
  /// Waits for the last run.
  ~ArenaGraph() { wait_quietly(); }

  /// Waits for the last run, whatever became of it.
  void wait_quietly() const noexcept { static_cast<void>(cudaStreamSynchronize(stream_.get())); }

  /// Takes memory for what was measured.
  /// @param arena  of others, or null
  /// @throws invalid_argument  an arena that is too small
  /// Stream: allocates in the order of `exec`'s stream.
  void allocate(ArenaParts const& parts, std::shared_ptr<PlanArena> arena, Execution<Device> const& exec)
  {
    bytes_ = total_bytes(parts);
    arena_ = arena != nullptr ? std::move(arena) : std::make_shared<PlanArena>(bytes_, exec);
    expects(arena_->bytes() >= bytes_, "Plan: the arena has ", arena_->bytes(), " bytes but ", bytes_,
            " are needed");
    memory_ = std::make_unique<ArenaMemory>(*arena_, parts, map_streams_);
  }

  /// Makes the graph of what `enqueue(execution)` enqueues.
  /// @param who  see CapturedGraph::capture()
  /// @pre  the arena's memory is there, on every stream
  /// Stream: waits for the upload.
  template <class Enqueue>
  void capture(Enqueue const& enqueue, char const* who)
  {
    auto const own = Execution<Device>{stream_.get(), memory_.get()}.with_map_streams(map_streams_);
    graph_.capture(
        stream_.get(),
        [&] {
          access(map_streams_).wait_for_main();
          enqueue(own);
        },
        who);
    own.wait();
  }

  /// Enqueues a run: `before(stream)`, the graph, `after(stream)`, after the arena's last run and what
  /// `order(stream)` orders it after; inside a graph of the caller's without that order, which is then the
  /// caller's to keep.
  template <class Order, class Before, class After>
  [[nodiscard]] cudaError_t try_run(cudaStream_t stream, Order const& order, Before const& before,
                                    After const& after) noexcept
  {
    CurrentDevice const current{device_};
    std::lock_guard const lock{arena_->mutex()};
    auto capturing = cudaStreamCaptureStatusNone;
    auto status =
        in_order([&] { return current.status(); }, [&] { return cudaStreamIsCapturing(stream, &capturing); });
    bool const ordered = status == cudaSuccess && capturing == cudaStreamCaptureStatusNone;
    if (ordered) {
      status = in_order([&] { return cudaStreamWaitEvent(stream, arena_->last_run(), 0); },
                        [&] { return order(stream); });
    }
    status = in_order([&] { return status; }, [&] { return before(stream); },
                      [&] { return graph_.try_launch(stream); }, [&] { return after(stream); });
    if (ordered) {  // also after a failure: what was enqueued may still run
      auto const recorded = in_order([&] { return cudaEventRecord(arena_->last_run(), stream); },
                                     [&] { return cudaEventRecord(done_.get(), stream); },
                                     [&] { return cudaStreamWaitEvent(stream_.get(), done_.get(), 0); });
      status = status == cudaSuccess ? recorded : status;
    }
    if (status != cudaSuccess) { static_cast<void>(cudaGetLastError()); }
    return status;
  }

  /// Says whether the last run has finished, and what state the device is in.
  void report_to(PlanReport& report) const noexcept
  {
    RelaxedCapture const relaxed;
    auto const done = cudaEventQuery(done_.get());
    report.finished = done == cudaSuccess;
    report.cuda = done == cudaErrorNotReady ? 0 : static_cast<int>(done);
    if (done != cudaSuccess) { static_cast<void>(cudaGetLastError()); }
  }
  /// Waits for the last run.
  void wait() const { cuda_check(cudaEventSynchronize(done_.get())); }

  [[nodiscard]] int device() const noexcept { return device_; }
  [[nodiscard]] PlanArena& arena() const noexcept { return *arena_; }
  /// Bytes of the arena that it uses.
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::size_t num_nodes() const noexcept { return graph_.num_nodes(); }

 private:
  int device_;
  std::size_t bytes_ = 0;
  std::shared_ptr<PlanArena> arena_;
  OwnedStream stream_;  // the graph is made on it; it follows every run
  OwnedEvent done_;     // recorded after each run
  MapStreams map_streams_;
  std::unique_ptr<ArenaMemory> memory_;
  CapturedGraph graph_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
