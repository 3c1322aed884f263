// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "spaces.hpp"

#include <tessera/core/execution.hpp>
#include <tessera/core/memory_resource.hpp>
#ifdef __CUDACC__
#include <tessera/core/execution.cuh>
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <new>
#include <type_traits>

namespace test {

/// What a space throws when its memory is used up.
template <class Space>
using OutOfMemory =
    std::conditional_t<std::is_same_v<Space, tessera::Host>, std::bad_alloc, tessera::cuda_error>;

/// Memory of `Space` that is counted, and that is used up once when told.
template <class Space>
class CountedMemory final : public tessera::MemoryResource {
 public:
  CountedMemory() : next_{&tessera::Execution<Space>{}.memory()} {}

  void* allocate(std::size_t bytes, tessera::StreamHandle stream) override
  {
    std::lock_guard const lock{mutex_};
    if (allocations_++ == failing_) {
      if constexpr (std::is_same_v<Space, tessera::Host>) {
        throw std::bad_alloc{};
      } else {
        throw tessera::cuda_error{2, "cudaErrorMemoryAllocation: as the test wants it"};
      }
    }
    auto* const pointer = next_->allocate(bytes, stream);
    bytes_in_use_ += static_cast<std::int64_t>(bytes);
    peak_bytes_ = std::max(peak_bytes_, bytes_in_use_);
    return pointer;
  }
  void deallocate(void* pointer, std::size_t bytes, tessera::StreamHandle stream) noexcept override
  {
    std::lock_guard const lock{mutex_};
    bytes_in_use_ -= static_cast<std::int64_t>(bytes);
    next_->deallocate(pointer, bytes, stream);
  }

  /// From now on allocation number `n`, counted from 0, fails; the others do not. -1: none does.
  void fail_at(std::int64_t n) { failing_ = n < 0 ? -1 : allocations_ + n; }

  [[nodiscard]] std::int64_t allocations() const { return allocations_; }
  [[nodiscard]] std::int64_t bytes_in_use() const { return bytes_in_use_; }
  /// The most that were in use since reset_peak().
  [[nodiscard]] std::int64_t peak_bytes() const { return peak_bytes_; }
  void reset_peak() { peak_bytes_ = bytes_in_use_; }

  /// An execution with this memory, on the host with so many threads.
  [[nodiscard]] tessera::Execution<Space> execution(int num_threads)
  {
    if constexpr (std::is_same_v<Space, tessera::Host>) {
      return tessera::Execution<Space>{num_threads, this};
    } else {
      return tessera::Execution<Space>{nullptr, this};
    }
  }

 private:
  tessera::MemoryResource* next_;
  std::mutex mutex_;
  std::int64_t allocations_ = 0;
  std::int64_t failing_ = -1;
  std::int64_t bytes_in_use_ = 0;
  std::int64_t peak_bytes_ = 0;
};

}  // namespace test
