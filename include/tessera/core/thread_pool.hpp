// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Threads that share one loop at a time; the calling thread takes part. No call waits for another one's
/// loop.
class ThreadPool {
 public:
  /// Has fewer threads where the system does not give as many.
  explicit ThreadPool(int num_threads)
  {
    workers_.reserve(static_cast<std::size_t>(num_threads - 1));
    try {
      for (int i = 1; i < num_threads; ++i) {
        workers_.emplace_back([this] { work(); });
      }
    } catch (std::system_error const&) {
      // those that started will do
    }
  }

  ThreadPool(ThreadPool const&) = delete;
  ThreadPool& operator=(ThreadPool const&) = delete;

  ~ThreadPool()
  {
    {
      std::lock_guard lock{mutex_};
      stopping_ = true;
    }
    wake_.notify_all();
    for (auto& worker : workers_) { worker.join(); }
  }

  [[nodiscard]] int num_threads() const noexcept { return static_cast<int>(workers_.size()) + 1; }

  /// Calls `body(begin, end)` over pieces of at most `grain` that cover [0, count), on all threads; returns
  /// when all are done and rethrows the first exception. A loop inside a loop runs on the thread that started
  /// it, and so does one that finds the others in the loop of another thread, until they are free: that loop
  /// may be waiting for a lock which this thread holds.
  template <class Body>
  void for_each_piece(std::int64_t count, std::int64_t grain, Body const& body)
  {
    if (count <= 0) { return; }
    if (workers_.empty() || count <= grain || inside_loop()) {
      body(std::int64_t{0}, count);
      return;
    }
    std::int64_t first = 0;
    std::unique_lock one_loop{loop_mutex_, std::defer_lock};
    while (!one_loop.try_lock()) {
      auto const end = std::min(first + grain, count);
      body(first, end);
      if (end == count) { return; }
      first = end;
    }
    Loop loop;
    loop.next = first;
    loop.count = count;
    loop.grain = grain;
    loop.context = &body;
    loop.call = [](void const* context, std::int64_t begin, std::int64_t end) {
      (*static_cast<Body const*>(context))(begin, end);
    };
    {
      std::lock_guard lock{mutex_};
      loop_ = &loop;
      ++generation_;
    }
    wake_.notify_all();
    run(loop);
    std::unique_lock lock{mutex_};
    loop_ = nullptr;  // workers that wake late find nothing
    idle_.wait(lock, [&] { return active_ == 0; });
    if (loop.failure) { std::rethrow_exception(loop.failure); }
  }

 private:
  struct Loop {
    std::int64_t count = 0;
    std::int64_t grain = 1;
    void const* context = nullptr;
    void (*call)(void const*, std::int64_t, std::int64_t) = nullptr;
    std::atomic<std::int64_t> next{0};
    std::mutex failure_mutex;
    std::exception_ptr failure;
  };

  static bool& inside_loop()
  {
    static thread_local bool inside = false;
    return inside;
  }

  static void run(Loop& loop)
  {
    inside_loop() = true;
    for (;;) {
      auto const begin = loop.next.fetch_add(loop.grain);
      if (begin >= loop.count) { break; }
      try {
        loop.call(loop.context, begin, std::min(begin + loop.grain, loop.count));
      } catch (...) {
        std::lock_guard lock{loop.failure_mutex};
        if (!loop.failure) { loop.failure = std::current_exception(); }
        loop.next = loop.count;
      }
    }
    inside_loop() = false;
  }

  void work()
  {
    std::uint64_t seen = 0;
    std::unique_lock lock{mutex_};
    for (;;) {
      wake_.wait(lock, [&] { return stopping_ || generation_ != seen; });
      if (stopping_) { return; }
      seen = generation_;
      if (loop_ == nullptr) { continue; }
      Loop& loop = *loop_;
      ++active_;
      lock.unlock();
      run(loop);
      lock.lock();
      if (--active_ == 0) { idle_.notify_all(); }
    }
  }

  std::vector<std::thread> workers_;
  std::mutex loop_mutex_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable idle_;
  Loop* loop_ = nullptr;
  std::uint64_t generation_ = 0;
  int active_ = 0;
  bool stopping_ = false;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
