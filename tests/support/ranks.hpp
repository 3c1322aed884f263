// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/parallel.hpp>
#include <tessera/train/communicator.hpp>

#include <condition_variable>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace test {

/// What the ranks of run_ranks() share.
class Meeting {
 public:
  explicit Meeting(int size) : slots(static_cast<std::size_t>(size)), size_{size} {}

  /// Returns when every rank has come.
  void meet()
  {
    std::unique_lock lock{mutex_};
    auto const round = round_;
    if (++arrived_ == size_) {
      arrived_ = 0;
      ++round_;
      all_here_.notify_all();
    } else {
      all_here_.wait(lock, [&] { return round != round_; });
    }
  }

  std::vector<void const*> slots;  // [size]

 private:
  int size_;
  std::mutex mutex_;
  std::condition_variable all_here_;
  int arrived_ = 0;
  long round_ = 0;
};

/// Ranks that are threads of this process: the definition of each collective.
class ThreadCollectives final : public tessera::train::Collectives<tessera::Host> {
 public:
  ThreadCollectives(std::shared_ptr<Meeting> meeting, int rank)
      : meeting_{std::move(meeting)}, rank_{rank}, size_{static_cast<int>(meeting_->slots.size())}
  {}

  [[nodiscard]] int rank() const noexcept override { return rank_; }
  [[nodiscard]] int size() const noexcept override { return size_; }
  void all_reduce_sum(void* data, std::int64_t n, tessera::DType type,
                      tessera::Execution<tessera::Host> const&) override
  {
    if (type == tessera::DType::float32) { return sum(static_cast<float*>(data), n); }
    if (type == tessera::DType::float64) { return sum(static_cast<double*>(data), n); }
    if (type == tessera::DType::int32) { return sum(static_cast<std::int32_t*>(data), n); }
    sum(static_cast<std::int64_t*>(data), n);
  }
  void broadcast(void* data, std::size_t bytes, int root, tessera::Execution<tessera::Host> const&) override
  {
    exchange(data, [&] {
      if (rank_ != root) { std::memcpy(data, slot(root), bytes); }
    });
  }
  void all_gather(void const* mine, void* all, std::size_t bytes,
                  tessera::Execution<tessera::Host> const&) override
  {
    exchange(mine, [&] {
      for (int rank = 0; rank < size_; ++rank) {
        std::memcpy(static_cast<char*>(all) + static_cast<std::size_t>(rank) * bytes, slot(rank), bytes);
      }
    });
  }
  void barrier(tessera::Execution<tessera::Host> const&) override { meeting_->meet(); }
  void check() override {}

 private:
  [[nodiscard]] void const* slot(int rank) const { return meeting_->slots[static_cast<std::size_t>(rank)]; }

  template <class Body>
  void exchange(void const* mine, Body const& body)
  {
    meeting_->slots[static_cast<std::size_t>(rank_)] = mine;
    meeting_->meet();
    body();
    meeting_->meet();
  }

  template <class T>
  void sum(T* data, std::int64_t n)
  {
    std::vector<T> result(static_cast<std::size_t>(n));
    exchange(data, [&] {
      for (std::size_t i = 0; i < result.size(); ++i) {
        T total = static_cast<T const*>(slot(0))[i];
        for (int rank = 1; rank < size_; ++rank) {
          total = tessera::detail::wrapping_sum(total, static_cast<T const*>(slot(rank))[i]);
        }
        result[i] = total;
      }
    });
    std::memcpy(data, result.data(), result.size() * sizeof(T));
  }

  std::shared_ptr<Meeting> meeting_;
  int rank_;
  int size_;
};

/// Calls `body(communicator)` on `size` ranks at once; what the first of them throws is thrown here. A rank that
/// throws while the others wait for it would hang the test: checks come after collectives.
template <class Body>
void run_ranks(int size, Body const& body)
{
  auto const meeting = std::make_shared<Meeting>(size);
  std::vector<std::exception_ptr> errors(static_cast<std::size_t>(size));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        body(tessera::train::Communicator<tessera::Host>{std::make_shared<ThreadCollectives>(meeting, rank)});
      } catch (...) {
        errors[static_cast<std::size_t>(rank)] = std::current_exception();
      }
    });
  }
  for (auto& thread : threads) { thread.join(); }
  for (auto const& error : errors) {
    if (error) { std::rethrow_exception(error); }
  }
}

template <class T>
struct TimesRanks {
  T* data;
  int ranks;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const { data[i] *= static_cast<T>(ranks); }
};

/// As if `size` ranks had the same data as this one, rank 0; notes what it is asked for.
template <class Space>
class SameOnAllRanks final : public tessera::train::Collectives<Space> {
 public:
  struct Call {
    void const* data;
    std::int64_t n;
  };

  explicit SameOnAllRanks(int size) : size_{size} {}

  [[nodiscard]] int rank() const noexcept override { return 0; }
  [[nodiscard]] int size() const noexcept override { return size_; }
  void all_reduce_sum(void* data, std::int64_t n, tessera::DType type,
                      tessera::Execution<Space> const& exec) override
  {
    sums.push_back({data, n});
    if (type == tessera::DType::float32) {
      tessera::for_each(n, TimesRanks<float>{static_cast<float*>(data), size_}, exec);
    } else if (type == tessera::DType::float64) {
      tessera::for_each(n, TimesRanks<double>{static_cast<double*>(data), size_}, exec);
    }
  }
  void broadcast(void*, std::size_t, int, tessera::Execution<Space> const&) override { ++broadcasts; }
  void all_gather(void const* mine, void* all, std::size_t bytes,
                  tessera::Execution<Space> const& exec) override
  {
    for (int rank = 0; rank < size_; ++rank) {
      tessera::detail::Transfer<Space>::copy(static_cast<char*>(all) + static_cast<std::size_t>(rank) * bytes,
                                             mine, bytes, exec);
    }
  }
  void barrier(tessera::Execution<Space> const& exec) override { exec.wait(); }
  void check() override {}

  std::vector<Call> sums;
  int broadcasts = 0;

 private:
  int size_;
};

}  // namespace test
