// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/buffer.hpp>
#include <tessera/core/execution.cuh>
#include <tessera/plan/detail/packer.hpp>

#include <array>
#include <cstddef>
#include <map>
#include <mutex>
#include <numeric>

namespace tessera {
inline namespace v0 {

/// Memory for the intermediates of one plan, or of several that do not run at the same time.
///
/// Runs of plans that share an arena follow one another, on whatever streams they are and whichever threads
/// call them; what a plan put out is gone when another one runs. So where several threads run plans of one
/// arena, each run writes into memory of its caller's (PlanDestination), which one call does as a whole.
class PlanArena {
 public:
  /// @param bytes  of the largest of the plans: Plan::bytes(), or Plan::measure() before there is one
  /// Stream: allocates in stream order.
  PlanArena(std::size_t bytes, Execution<Device> const& exec)
      : memory_{static_cast<std::int64_t>(bytes), exec}
  {
    fill_bytes(memory_, 0, exec);  // rows that are not in use are read, though nothing comes of it
    detail::cuda_check(cudaEventCreateWithFlags(&last_run_, cudaEventDisableTiming));
  }
  PlanArena(PlanArena const&) = delete;
  PlanArena& operator=(PlanArena const&) = delete;
  /// Waits for the last run.
  ~PlanArena()
  {
    static_cast<void>(cudaEventSynchronize(last_run_));
    static_cast<void>(cudaEventDestroy(last_run_));
  }

  [[nodiscard]] std::byte* data() noexcept { return memory_.data(); }
  [[nodiscard]] std::size_t bytes() const noexcept { return memory_.bytes(); }
  /// Recorded after each run; a run waits for it.
  [[nodiscard]] cudaEvent_t last_run() const noexcept { return last_run_; }
  /// Held while a run is enqueued, from its wait for the last one to its own record.
  [[nodiscard]] std::mutex& mutex() noexcept { return mutex_; }

 private:
  Buffer<std::byte, Device> memory_;
  cudaEvent_t last_run_ = nullptr;
  std::mutex mutex_;
};

namespace detail {

/// What each stream of a plan needs of its arena: those of MapStreams, and the layers' last. A part of its
/// own for each, for what one gives back another may still read.
using ArenaParts = std::array<std::size_t, detail::MapStreamSet::count + 1>;

/// Memory from another resource; measures the arena that the same sequence of calls would need.
class MeasuringMemory final : public MemoryResource {
 public:
  MeasuringMemory(MemoryResource& next, MapStreams const& map_streams)
      : next_{next}, map_streams_{map_streams}
  {}

  [[nodiscard]] void* allocate(std::size_t bytes, StreamHandle stream) override
  {
    auto* const pointer = next_.allocate(bytes, stream);
    std::lock_guard lock{mutex_};
    places_[pointer] = packer_of(stream).take(bytes);
    return pointer;
  }
  void deallocate(void* pointer, std::size_t bytes, StreamHandle stream) noexcept override
  {
    {
      std::lock_guard lock{mutex_};
      auto const found = places_.find(pointer);
      packer_of(stream).give_back(found->second);
      places_.erase(found);
    }
    next_.deallocate(pointer, bytes, stream);
  }
  /// Blocks that live now.
  [[nodiscard]] std::size_t num_blocks() const noexcept { return places_.size(); }
  [[nodiscard]] ArenaParts parts() const noexcept
  {
    ArenaParts result{};
    for (std::size_t i = 0; i < result.size(); ++i) { result[i] = packers_[i].bytes(); }
    return result;
  }

 private:
  [[nodiscard]] Packer& packer_of(StreamHandle stream) noexcept
  {
    return packers_[static_cast<std::size_t>(detail::access(map_streams_).index_of(stream))];
  }

  MemoryResource& next_;
  MapStreams const& map_streams_;
  std::mutex mutex_;
  std::map<void*, std::size_t> places_;
  std::array<Packer, detail::MapStreamSet::count + 1> packers_;
};

/// Memory inside an arena.
class ArenaMemory final : public MemoryResource {
 public:
  ArenaMemory(PlanArena& arena, ArenaParts const& parts, MapStreams const& map_streams)
      : arena_{arena}, parts_{parts}, map_streams_{map_streams}
  {}

  [[nodiscard]] void* allocate(std::size_t bytes, StreamHandle stream) override
  {
    auto const part = static_cast<std::size_t>(detail::access(map_streams_).index_of(stream));
    std::lock_guard lock{mutex_};
    auto const place = packers_[part].take(bytes);
    expects(packers_[part].bytes() <= parts_[part], "Plan: ", packers_[part].bytes(), " bytes or more for ",
            "stream ", part, " where ", parts_[part],
            " were measured; does forward() do the same every time?");
    return begin_of(part) + place;
  }
  void deallocate(void* pointer, std::size_t, StreamHandle stream) noexcept override
  {
    auto const part = static_cast<std::size_t>(detail::access(map_streams_).index_of(stream));
    std::lock_guard lock{mutex_};
    packers_[part].give_back(static_cast<std::size_t>(static_cast<std::byte*>(pointer) - begin_of(part)));
  }

 private:
  [[nodiscard]] std::byte* begin_of(std::size_t part) const noexcept
  {
    return std::accumulate(parts_.begin(), parts_.begin() + static_cast<std::ptrdiff_t>(part), arena_.data());
  }

  PlanArena& arena_;
  ArenaParts parts_;
  MapStreams const& map_streams_;
  std::mutex mutex_;
  std::array<Packer, detail::MapStreamSet::count + 1> packers_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
