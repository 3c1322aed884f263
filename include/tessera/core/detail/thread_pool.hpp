// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/detail/float_environment.hpp>

#if __has_include(<pthread.h>)
#include <pthread.h>
#endif

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// How many calls of fork() are between this process and the one that asked first. A counter, since asking for
/// the process's number at every loop would be a system call.
class ForkCount {
 public:
  /// @throws std::bad_alloc  no memory to register a handler for forks
  [[nodiscard]] static int watch()
  {
#if __has_include(<pthread.h>)
    static int const failed = pthread_atfork(nullptr, nullptr, [] { ++count(); });
    if (failed != 0) { throw std::bad_alloc{}; }
#endif
    return now();
  }
  [[nodiscard]] static int now() noexcept
  {
    return count().load(std::memory_order_relaxed);
  }

 private:
  [[nodiscard]] static std::atomic<int>& count() noexcept
  {
    static std::atomic<int> forks{0};
    return forks;
  }
};

/// What a loop does with a piece of its indices, by reference and without its type: all that runs loops is
/// compiled once, and a body in one place.
class PieceBody {
 public:
  template <class Body>
  explicit PieceBody(Body const& body)
      : body_{&body}, call_{[](void const* of_type, std::int64_t begin, std::int64_t end) {
          (*static_cast<Body const*>(of_type))(begin, end);
        }}
  {}

  void operator()(std::int64_t begin, std::int64_t end) const { call_(body_, begin, end); }

 private:
  void const* body_;
  void (*call_)(void const*, std::int64_t, std::int64_t);
};

/// Threads that share one loop at a time; the calling thread takes part. No call waits for another one's
/// loop. Belongs to the process that made it: in a child of fork() nothing of it may be touched but
/// num_threads() and is_of_this_process(), since its threads are not there and its locks may be held
/// forever.
class ThreadTeam {
 public:
  /// Has fewer threads where the system does not give as many.
  explicit ThreadTeam(int num_threads)
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

  ThreadTeam(ThreadTeam const&) = delete;
  ThreadTeam& operator=(ThreadTeam const&) = delete;

  ~ThreadTeam()
  {
    {
      std::lock_guard lock{mutex_};
      stopping_ = true;
    }
    wake_.notify_all();
    for (auto& worker : workers_) { worker.join(); }
  }

  [[nodiscard]] bool is_of_this_process() const noexcept { return forks_ == ForkCount::now(); }

  [[nodiscard]] int num_threads() const noexcept { return static_cast<int>(workers_.size()) + 1; }

  /// Whether the calling thread runs a piece of a loop, of any team.
  [[nodiscard]] static bool& inside_loop()
  {
    static thread_local bool inside = false;
    return inside;
  }

  /// See ThreadPool; called where there is more than one thread and one piece.
  void for_each_piece(std::int64_t count, std::int64_t grain, PieceBody const& body)
  {
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
    loop.body = &body;
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

  /// Leaves a team of another process to itself: it can neither be used nor destroyed. Stays reachable, so
  /// that it is no leak.
  static void abandon(ThreadTeam* team) noexcept
  {
    static std::atomic<ThreadTeam*> last{nullptr};
    team->abandoned_before_ = last.exchange(team);
  }

 private:
  struct Loop {
    std::int64_t count = 0;
    std::int64_t grain = 1;
    PieceBody const* body = nullptr;
    FloatEnvironment environment = FloatEnvironment::of_this_thread();  // the caller's, for every piece
    std::atomic<std::int64_t> next{0};
    std::mutex failure_mutex;
    std::exception_ptr failure;
  };

  static void run(Loop& loop)
  {
    inside_loop() = true;
    for (;;) {
      auto const begin = loop.next.fetch_add(loop.grain);
      if (begin >= loop.count) { break; }
      try {
        (*loop.body)(begin, std::min(begin + loop.grain, loop.count));
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
      {
        FloatEnvironmentScope const as_the_caller{loop.environment};
        run(loop);
      }
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
  int forks_ = ForkCount::watch();
  ThreadTeam* abandoned_before_ = nullptr;
};

/// A ThreadTeam of the process that asks: a child of fork() gets one of its own, when it runs its first loop.
class ThreadPool {
 public:
  explicit ThreadPool(int num_threads) : team_{new ThreadTeam{num_threads}} {}
  ThreadPool(ThreadPool const&) = delete;
  ThreadPool& operator=(ThreadPool const&) = delete;
  ~ThreadPool() { retire(team_.load()); }

  [[nodiscard]] int num_threads() const noexcept { return team_.load()->num_threads(); }

  /// Calls `body(begin, end)` over pieces of at most `grain` that cover [0, count), on all threads and in the
  /// floating-point environment of the calling one; returns when all are done and rethrows the first
  /// exception. A loop inside a loop runs on the thread that started it, and so does one that finds the
  /// others in the loop of another thread, until they are free: that loop may be waiting for a lock which
  /// this thread holds.
  void for_each_piece(std::int64_t count, std::int64_t grain, PieceBody const& body)
  {
    if (count <= 0) { return; }
    if (count <= grain || num_threads() == 1 || ThreadTeam::inside_loop()) {
      body(std::int64_t{0}, count);
      return;
    }
    team_of_this_process().for_each_piece(count, grain, body);
  }

 private:
  /// No lock here: the child of a fork() could find it held.
  [[nodiscard]] ThreadTeam& team_of_this_process()
  {
    auto* team = team_.load();
    if (team->is_of_this_process()) { return *team; }
    auto own = std::make_unique<ThreadTeam>(team->num_threads());
    if (!team_.compare_exchange_strong(team, own.get())) {
      return *team;
    }  // another thread's, made meanwhile
    ThreadTeam::abandon(team);
    return *own.release();
  }

  static void retire(ThreadTeam* team) noexcept
  {
    if (team->is_of_this_process()) {
      delete team;
    } else {
      ThreadTeam::abandon(team);
    }
  }

  std::atomic<ThreadTeam*> team_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
