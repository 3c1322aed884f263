// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// An ordinary thread that labels scans while others measure the next ones, and two ways of working with what
// is there already: a graph of the caller's, and a memory resource of the caller's.

#include "ros_node.cuh"

#include <tessera/tessera.cuh>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <future>
#include <mutex>
#include <new>
#include <thread>
#include <utility>
#include <vector>

namespace deploy {

/// A stream of its own.
class Stream {
 public:
  Stream() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  Stream(Stream const&) = delete;
  Stream& operator=(Stream const&) = delete;
  ~Stream() { static_cast<void>(cudaStreamDestroy(stream_)); }
  [[nodiscard]] cudaStream_t get() const noexcept { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

// [worker]
/// Labels scans one after the other on a thread of its own, which owns a stream.
template <class Net>
class Worker {
 public:
  Worker(Net& net, tessera::PointLimits<tessera::QuantizeOptions<3>> const& limits)
      : thread_{[this, &net, limits] { work(net, limits); }}
  {}
  ~Worker()
  {
    {
      std::lock_guard const lock{mutex_};
      stops_ = true;
    }
    wakes_.notify_one();
    thread_.join();
  }

  /// Labels of points [n, 4]; none for a scan that did not fit. Any thread may call.
  [[nodiscard]] std::future<std::vector<std::int32_t>> label(std::vector<float> points)
  {
    std::lock_guard const lock{mutex_};
    auto& task = tasks_.emplace_back();
    task.points = std::move(points);
    wakes_.notify_one();
    return task.labels.get_future();
  }

 private:
  struct Task {
    std::vector<float> points;
    std::promise<std::vector<std::int32_t>> labels;
  };

  void work(Net& net, tessera::PointLimits<tessera::QuantizeOptions<3>> const& limits)
  {
    Stream const stream;
    tessera::Execution<tessera::Device> const exec{stream.get()};
    tessera::Plan plan{net, limits, exec};
    Pinned<float> const points{static_cast<std::size_t>(4 * limits.points())};
    Pinned<std::int32_t> const labels{static_cast<std::size_t>(limits.points())};
    for (;;) {
      std::unique_lock lock{mutex_};
      wakes_.wait(lock, [&] { return stops_ || !tasks_.empty(); });
      if (tasks_.empty()) { return; }
      auto task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();

      auto const count = static_cast<std::int64_t>(task.points.size() / 4);
      tessera::PlanDestination<__half> to;
      to.labels = {labels.data(), count, 1};
      bool fits = count <= limits.points();
      if (fits) {
        std::copy(task.points.begin(), task.points.end(), points.data());
        fits = plan.try_run({points.data(), count, 4}, to, stream.get()).ok();
        exec.wait();
        fits = fits && plan.status().ok();
        plan.acknowledge();
      }
      task.labels.set_value({labels.data(), labels.data() + (fits ? count : 0)});
    }
  }

  std::mutex mutex_;
  std::condition_variable wakes_;
  std::deque<Task> tasks_;
  bool stops_ = false;
  std::thread thread_;  // the last: it uses the rest
};
// [worker]

// [capture]
/// A graph of the caller's, of which the plan is one part: launched again and again, it reads and writes the
/// same memory.
template <class Plan>
[[nodiscard]] cudaGraphExec_t captured(Plan& plan, Pinned<float> const& points, std::int64_t count,
                                       Pinned<std::int32_t> const& labels, cudaStream_t stream)
{
  tessera::PlanDestination<__half> to;
  to.labels = {labels.data(), count, 1};
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t result = nullptr;
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  auto const status = plan.try_run({points.data(), count, 4}, to, stream);
  check(cudaStreamEndCapture(stream, &graph));
  if (status.ok()) { check(cudaGraphInstantiate(&result, graph, 0)); }
  check(cudaGraphDestroy(graph));
  return result;
}
// [capture]

/// What RMM calls a device memory resource, mocked: it counts, so that the example can see who asks.
struct PoolOfTheirs {
  void* allocate_async(std::size_t bytes, cudaStream_t stream)
  {
    void* pointer = nullptr;
    if (cudaMallocAsync(&pointer, bytes, stream) != cudaSuccess) { throw std::bad_alloc{}; }
    live += static_cast<std::int64_t>(bytes);
    return pointer;
  }
  void deallocate_async(void* pointer, std::size_t bytes, cudaStream_t stream)
  {
    live -= static_cast<std::int64_t>(bytes);
    static_cast<void>(cudaFreeAsync(pointer, stream));
  }
  std::atomic<std::int64_t> live{0};
};

// [memory]
/// Tessera's memory from another library's resource, such as RMM's.
class TheirMemory final : public tessera::MemoryResource {
 public:
  explicit TheirMemory(PoolOfTheirs& pool) : pool_{pool} {}

  [[nodiscard]] void* allocate(std::size_t bytes, tessera::StreamHandle stream) override
  {
    return pool_.allocate_async(bytes, stream);
  }
  void deallocate(void* pointer, std::size_t bytes, tessera::StreamHandle stream) noexcept override
  {
    pool_.deallocate_async(pointer, bytes, stream);
  }

 private:
  PoolOfTheirs& pool_;
};
// [memory]

}  // namespace deploy
