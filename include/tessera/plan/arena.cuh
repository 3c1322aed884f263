// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/buffer.hpp>
#include <tessera/core/execution.cuh>
#include <tessera/plan/detail/packer.hpp>

#include <cstddef>
#include <map>
#include <mutex>

namespace tessera {
inline namespace v0 {

/// Memory for the intermediates of one plan, or of several that do not run at the same time.
///
/// Runs of plans that share an arena follow one another, on whatever streams they are; what a plan put out is
/// gone when another one runs.
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

 private:
  Buffer<std::byte, Device> memory_;
  cudaEvent_t last_run_ = nullptr;
};

namespace detail {

/// Memory from another resource; measures the arena that the same sequence of calls would need.
class MeasuringMemory final : public MemoryResource {
 public:
  explicit MeasuringMemory(MemoryResource& next) : next_{next} {}

  [[nodiscard]] void* allocate(std::size_t bytes, StreamHandle stream) override
  {
    auto* const pointer = next_.allocate(bytes, stream);
    std::lock_guard lock{mutex_};
    places_[pointer] = packer_.take(bytes);
    return pointer;
  }
  void deallocate(void* pointer, std::size_t bytes, StreamHandle stream) noexcept override
  {
    {
      std::lock_guard lock{mutex_};
      auto const found = places_.find(pointer);
      packer_.give_back(found->second);
      places_.erase(found);
    }
    next_.deallocate(pointer, bytes, stream);
  }
  [[nodiscard]] Packer const& packer() const noexcept { return packer_; }

 private:
  MemoryResource& next_;
  std::mutex mutex_;
  std::map<void*, std::size_t> places_;
  Packer packer_;
};

/// Memory inside an arena.
class ArenaMemory final : public MemoryResource {
 public:
  explicit ArenaMemory(PlanArena& arena) : arena_{arena} {}

  [[nodiscard]] void* allocate(std::size_t bytes, StreamHandle) override
  {
    std::lock_guard lock{mutex_};
    auto const place = packer_.take(bytes);
    expects(packer_.bytes() <= arena_.bytes(), "Plan: the arena has ", arena_.bytes(), " bytes but ",
            packer_.bytes(), " or more are needed");
    return arena_.data() + place;
  }
  void deallocate(void* pointer, std::size_t, StreamHandle) noexcept override
  {
    std::lock_guard lock{mutex_};
    packer_.give_back(static_cast<std::size_t>(static_cast<std::byte*>(pointer) - arena_.data()));
  }

 private:
  PlanArena& arena_;
  std::mutex mutex_;
  Packer packer_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
