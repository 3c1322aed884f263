// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/detail/thread_pool.hpp>
#include <tessera/core/error.hpp>
#include <tessera/core/memory_resource.hpp>
#include <tessera/core/recorder.hpp>
#include <tessera/core/space.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <thread>

namespace tessera {
inline namespace v0 {

/// Where and how work runs: passed last to everything that launches, allocates or copies.
///
/// `Execution<Device>` (core/execution.cuh) is a stream and a stream-ordered memory resource,
/// `Execution<Host>` a set of threads and a memory resource. `Execution exec{stream};` means the device.
/// Copies refer to the same threads, stream and resource; an Execution must not outlive the stream and the
/// resource it was given.
template <class Space = Device>
class Execution {
  static_assert(is_space<Space>::value, "Execution: Space must be Host or Device");
};

/// On the device; core/execution.cuh has the definition and needs the CUDA runtime.
template <>
class Execution<Device>;

/// What executions of both spaces share: the recorder of their operations.
template <class Derived>
class RecordedExecution {
 public:
  /// The same execution, telling `recorder` of every operation. What stores an execution stores it without.
  [[nodiscard]] Derived with_recorder(Recorder& recorder) const { return with(&recorder); }
  [[nodiscard]] Derived without_recorder() const { return with(nullptr); }
  /// The recorder, or null.
  [[nodiscard]] Recorder* recorder() const noexcept { return recorder_; }

 private:
  [[nodiscard]] Derived with(Recorder* recorder) const
  {
    auto result = static_cast<Derived const&>(*this);
    static_cast<RecordedExecution&>(result).recorder_ = recorder;
    return result;
  }

  Recorder* recorder_ = nullptr;
};

/// Host memory from the C++ heap, aligned to 64 bytes.
class HostMemoryResource final : public MemoryResource {
 public:
  [[nodiscard]] void* allocate(std::size_t bytes, StreamHandle) override
  {
    return ::operator new (bytes, std::align_val_t{64});
  }
  void deallocate(void* pointer, std::size_t, StreamHandle) noexcept override
  {
    ::operator delete (pointer, std::align_val_t{64});
  }
};

/// The host: runs at once, on `num_threads` threads, and has finished when a call returns.
///
/// Loops run in the floating-point environment of the thread that calls: its rounding, its flushing of
/// subnormal numbers, on every thread alike. A move is a copy, so a moved-from Execution works on. In a child
/// of fork() it works too, with threads of its own from the first loop on; fork while no other thread is
/// inside a call of the library, whose locks the child would find held.
template <>
class Execution<Host> : public RecordedExecution<Execution<Host>> {
 public:
  using space = Host;

  /// More threads are refused: each takes memory, and no loop gains by them.
  static constexpr int most_threads = 1024;

  /// All hardware threads, `most_threads` at most, and memory from the heap.
  Execution()
      : Execution(static_cast<int>(
            std::min(std::thread::hardware_concurrency(), static_cast<unsigned>(most_threads))))
  {}

  /// @param num_threads  up to most_threads, 1 where it is less; fewer where the system does not give as many.
  ///                     Results do not depend on it
  /// @param memory       a resource of the host, which outlives the Execution; by default the heap
  /// @throws invalid_argument  more than most_threads
  explicit Execution(int num_threads, MemoryResource* memory = nullptr)
      : pool_{make_pool(num_threads)}, memory_{memory != nullptr ? memory : default_memory()}
  {}
  Execution(Execution const&) = default;  // also used to move
  Execution& operator=(Execution const&) = default;
  ~Execution() = default;

  [[nodiscard]] StreamHandle stream() const noexcept { return nullptr; }
  [[nodiscard]] MemoryResource& memory() const noexcept { return *memory_; }
  [[nodiscard]] int num_threads() const noexcept { return pool_->num_threads(); }

  /// Returns at once: host work has finished when the call that did it returned.
  void wait() const noexcept {}

  /// Calls `body(begin, end)` over pieces covering [0, count), in parallel where the threads are free and
  /// there is more than one `grain` of indices. Several threads may call it at once, and `body` may; no call
  /// waits for another one's loop.
  /// @throws invalid_argument  a grain below 1, of which no number of pieces covers anything
  template <class Body>
  void parallel_for(std::int64_t count, std::int64_t grain, Body const& body) const
  {
    detail::expects(grain >= 1, "parallel_for: pieces of ", grain, " indices; at least 1 is needed");
    pool_->for_each_piece(count, grain, detail::PieceBody{body});
  }

 private:
  [[nodiscard]] static std::shared_ptr<detail::ThreadPool> make_pool(int num_threads)
  {
    detail::expects(num_threads <= most_threads, "Execution: ", num_threads, " threads; at most ",
                    most_threads);
    return std::make_shared<detail::ThreadPool>(std::max(num_threads, 1));
  }

  static MemoryResource* default_memory()
  {
    static HostMemoryResource resource;
    return &resource;
  }

  std::shared_ptr<detail::ThreadPool> pool_;
  MemoryResource* memory_;
};

Execution(StreamHandle)->Execution<Device>;
Execution(StreamHandle, MemoryResource*)->Execution<Device>;
Execution(StreamHandle, MemoryResource*, int)->Execution<Device>;

namespace detail {

/// Moves bytes inside a space and between it and the host; specialised for each space.
template <class Space>
struct Transfer;

template <>
struct Transfer<Host> {
  static void copy(void* to, void const* from, std::size_t bytes, Execution<Host> const&)
  {
    if (bytes > 0) { std::memmove(to, from, bytes); }
  }
  static void from_host(void* to, void const* from, std::size_t bytes, Execution<Host> const& exec)
  {
    copy(to, from, bytes, exec);
  }
  static void to_host(void* to, void const* from, std::size_t bytes, Execution<Host> const& exec)
  {
    copy(to, from, bytes, exec);
  }
  static void fill_bytes(void* to, unsigned char value, std::size_t bytes, Execution<Host> const&)
  {
    if (bytes > 0) { std::memset(to, value, bytes); }
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
