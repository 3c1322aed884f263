// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "api_calls.hpp"
#include "statistics.hpp"

#include <tessera/core/buffer.hpp>
#include <tessera/core/execution.cuh>
#include <tessera/plan/detail/capture.cuh>

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace bench {

namespace ts = tessera;

/// Memory that is kept for the next one who asks for as many bytes: once every size was asked for, nothing is
/// allocated, so that calls can be captured into a graph. For one stream.
class RecyclingMemory final : public ts::MemoryResource {
 public:
  explicit RecyclingMemory(ts::Execution<ts::Device> const& exec) : exec_{exec} {}
  RecyclingMemory(RecyclingMemory const&) = delete;
  RecyclingMemory& operator=(RecyclingMemory const&) = delete;
  ~RecyclingMemory() override
  {
    for (auto const& [bytes, pointer] : free_) { exec_.memory().deallocate(pointer, bytes, exec_.stream()); }
  }

  [[nodiscard]] void* allocate(std::size_t bytes, ts::StreamHandle) override
  {
    auto const found = free_.find(bytes);
    if (found == free_.end()) { return exec_.memory().allocate(bytes, exec_.stream()); }
    auto* const pointer = found->second;
    free_.erase(found);
    return pointer;
  }
  void deallocate(void* pointer, std::size_t bytes, ts::StreamHandle) noexcept override
  {
    free_.emplace(bytes, pointer);
  }

 private:
  ts::Execution<ts::Device> exec_;
  std::multimap<std::size_t, void*> free_;
};

/// Two events on a stream, and the milliseconds between them.
class EventPair {
 public:
  explicit EventPair(cudaStream_t stream) : stream_{stream}
  {
    ts::detail::cuda_check(cudaEventCreate(&begin_));
    ts::detail::cuda_check(cudaEventCreate(&end_));
  }
  EventPair(EventPair const&) = delete;
  EventPair& operator=(EventPair const&) = delete;
  ~EventPair()
  {
    static_cast<void>(cudaEventDestroy(begin_));
    static_cast<void>(cudaEventDestroy(end_));
  }

  /// Milliseconds from before `run()` to the end of what it enqueued. The stream is idle before and after, so
  /// that what the host does in between counts: a user waits for that too.
  template <class Run>
  [[nodiscard]] double time(Run const& run)
  {
    ts::detail::cuda_check(cudaStreamSynchronize(stream_));
    ts::detail::cuda_check(cudaEventRecord(begin_, stream_));
    run();
    ts::detail::cuda_check(cudaEventRecord(end_, stream_));
    ts::detail::cuda_check(cudaEventSynchronize(end_));
    float milliseconds = 0;
    ts::detail::cuda_check(cudaEventElapsedTime(&milliseconds, begin_, end_));
    return milliseconds;
  }

 private:
  cudaStream_t stream_;
  cudaEvent_t begin_ = nullptr;
  cudaEvent_t end_ = nullptr;
};

/// The ways to time `run()`, which enqueues one call on the execution's stream.
class Timer {
 public:
  explicit Timer(ts::Execution<ts::Device> const& exec) : exec_{exec}, events_{exec.stream()}
  {
    int l2_bytes = 0;
    ts::detail::cuda_check(cudaDeviceGetAttribute(&l2_bytes, cudaDevAttrL2CacheSize, exec.device()));
    larger_than_l2_ = ts::Buffer<std::byte, ts::Device>{2 * std::int64_t{l2_bytes} + (1 << 20), exec};
  }

  /// Whole calls, one after the other, each waited for.
  template <class Run>
  [[nodiscard]] Times calls(int count, Run const& run)
  {
    return repeat(
        count, [] {}, run);
  }

  /// The same with an L2 cache that holds none of what a call reads: a buffer twice its size is written
  /// before each.
  template <class Run>
  [[nodiscard]] Times cold(int count, Run const& run)
  {
    return repeat(
        count, [&] { ts::fill_bytes(larger_than_l2_, 0, exec_); }, run);
  }

  /// Calls enqueued without a wait of ours in between, `size` per batch: milliseconds per call.
  template <class Run>
  [[nodiscard]] Times batched(int batches, int size, Run const& run)
  {
    return per_call(repeat(
                        batches, [] {},
                        [&] {
                          for (int i = 0; i < size; ++i) { run(); }
                        }),
                    size);
  }

  struct GraphTimes {
    Times times;  ///< of a call
    int nodes;    ///< kernels, copies and fills of a call
  };

  /// What the device alone needs: ten calls as one CUDA graph, milliseconds per call. `run(exec)` must enqueue
  /// on the execution it is given, and nothing that it makes may live on.
  /// @returns nothing where a call waits for the host, which a graph cannot
  template <class Run>
  [[nodiscard]] std::optional<GraphTimes> graph(int count, Run const& run)
  {
    constexpr int size = 10;
    RecyclingMemory memory{exec_};
    ts::Execution<ts::Device> const recycling{exec_.stream(), &memory};
    run(recycling);  // every size has been asked for
    exec_.wait();
    ts::detail::CapturedGraph graph;
    try {
      graph.capture(exec_.stream(), [&] {
        for (int i = 0; i < size; ++i) { run(recycling); }
      });
    } catch (ts::invalid_argument const&) {
      return std::nullopt;
    }
    auto const times = repeat(
        count, [] {}, [&] { graph.launch(exec_.stream()); });
    return GraphTimes{per_call(times, size), static_cast<int>(graph.num_nodes()) / size};
  }

  /// What one call asks of the CUDA runtime.
  template <class Run>
  [[nodiscard]] ApiCalls count(Run const& run)
  {
    auto const before = api_calls();
    run();
    return api_calls() - before;
  }

 private:
  template <class Before, class Run>
  [[nodiscard]] Times repeat(int count, Before const& before, Run const& run)
  {
    std::vector<double> milliseconds;
    for (int call = -std::clamp(count / 10, 3, 20); call < count; ++call) {
      before();
      auto const elapsed = events_.time(run);
      if (call >= 0) { milliseconds.push_back(elapsed); }  // those before warm up
    }
    return summary(std::move(milliseconds));
  }

  [[nodiscard]] static Times per_call(Times times, int size)
  {
    times.median_ms /= size;
    times.min_ms /= size;
    times.p99_ms /= size;
    return times;
  }

  ts::Execution<ts::Device> exec_;
  EventPair events_;
  ts::Buffer<std::byte, ts::Device> larger_than_l2_;
};

}  // namespace bench
