// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/detail/work_event.cuh>
#include <tessera/core/execution.cuh>
#include <tessera/train/communicator.hpp>
#include <tessera/train/detail/ranks_have.hpp>

#include <cuda_runtime_api.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <nccl.h>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Finds out which ranks are gone; NCCL does not say.
class RollCall {
 public:
  RollCall() = default;
  RollCall(RollCall const&) = delete;
  RollCall& operator=(RollCall const&) = delete;
  virtual ~RollCall() = default;

  /// Whether another rank has begun one; this one then takes part in it.
  [[nodiscard]] virtual bool is_called() = 0;
  /// The ranks that do not answer, ascending.
  [[nodiscard]] virtual std::vector<int> missing() = 0;
};

[[nodiscard]] inline std::string nccl_text(ncclResult_t status)
{
  std::string text = ncclGetErrorString(status);
  char const* const more = ncclGetLastError(nullptr);
  return more != nullptr && *more != '\0' ? text + ": " + more : text;
}

inline void nccl_check(ncclResult_t status, char const* who)
{
  if (status != ncclSuccess) { throw train::communication_error{concat(who, ": ", nccl_text(status))}; }
}

/// A thread that looks after what was enqueued: a kernel of NCCL waits for its peers for ever, and so does who
/// waits for its stream. Where one does not end in time, or NCCL reports an error, the communicator is aborted,
/// which ends its kernels, and whoever asks next is told.
class NcclWatchdog {
 public:
  /// @param roll_call  null where nobody can tell who is gone
  NcclWatchdog(ncclComm_t comm, int rank, int size, int device, std::chrono::milliseconds timeout,
               std::shared_ptr<RollCall> roll_call)
      : comm_{comm},
        rank_{rank},
        size_{size},
        device_{device},
        timeout_{timeout},
        roll_call_{std::move(roll_call)}
  {
    thread_ = std::thread{[this] { run(); }};
  }
  NcclWatchdog(NcclWatchdog const&) = delete;
  NcclWatchdog& operator=(NcclWatchdog const&) = delete;
  ~NcclWatchdog() { stop(); }

  /// Ends the thread; has_failed() then stays as it is.
  void stop()
  {
    {
      std::lock_guard const lock{mutex_};
      is_stopped_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) { thread_.join(); }
  }

  [[nodiscard]] bool has_failed() const noexcept { return has_failed_.load(std::memory_order_acquire); }

  void check()
  {
    if (!has_failed()) { return; }
    std::lock_guard const lock{mutex_};
    throw train::communication_error{failure_, missing_};
  }

  /// What has just been enqueued on `exec` must end in time.
  void watch(char const* who, Execution<Device> const& exec)
  {
    std::unique_ptr<OwnedEvent> event;
    {
      std::lock_guard const lock{mutex_};
      if (!spare_.empty()) {
        event = std::move(spare_.back());
        spare_.pop_back();
      }
    }
    if (!event) { event = std::make_unique<OwnedEvent>(); }
    cuda_check(cudaEventRecord(event->get(), exec.stream()));
    {
      std::lock_guard const lock{mutex_};
      work_.push_back({std::move(event), who, Clock::now()});
    }
    changed_.notify_all();
  }

  /// Waits until a call that was begun (ncclInProgress) has been carried out.
  void settle(char const* who)
  {
    auto const begin = Clock::now();
    auto status = ncclInProgress;
    while (status == ncclInProgress) {
      check();
      auto const asked = ncclCommGetAsyncError(comm_, &status);
      if (asked != ncclSuccess) { status = asked; }
      if (status == ncclInProgress && Clock::now() - begin > timeout_) {
        give_up(who);
        check();
      }
      if (status == ncclInProgress) { std::this_thread::sleep_for(std::chrono::microseconds{20}); }
    }
    if (status != ncclSuccess) {
      fail(concat(who, ": ", nccl_text(status)));
      check();
    }
  }

  /// Aborts the communicator; `failure` is what everybody is told.
  void fail(std::string failure, std::vector<int> missing = {})
  {
    {
      std::lock_guard const lock{mutex_};
      if (!failure_.empty()) { return; }
      failure_ = concat("rank ", rank_, " of ", size_, ": ", failure);
      missing_ = std::move(missing);
      has_failed_.store(true, std::memory_order_release);
    }
    static_cast<void>(ncclCommAbort(comm_));
  }

 private:
  using Clock = std::chrono::steady_clock;
  struct Work {
    std::unique_ptr<OwnedEvent> end;
    char const* who;
    Clock::time_point since;
  };

  [[nodiscard]] std::vector<int> missing() const
  {
    return roll_call_ ? roll_call_->missing() : std::vector<int>{};
  }

  void give_up(std::string const& who)
  {
    auto ranks = missing();
    auto const names = ranks.empty() ? std::string{"a rank has"} : ranks_have(ranks);
    fail(concat(who, ": ", names, " not answered for ", static_cast<double>(timeout_.count()) / 1000,
                " s; it has ended, hangs, or needs a longer time limit"),
         std::move(ranks));
  }

  void run()
  {
    static_cast<void>(cudaSetDevice(device_));
    RelaxedCapture const relaxed;  // others may be capturing meanwhile
    std::unique_lock lock{mutex_};
    while (!is_stopped_ && failure_.empty()) {
      // Only this thread takes from the front, and the others do not move what is there.
      auto status = work_.empty() ? cudaSuccess : cudaEventQuery(work_.front().end->get());
      if (!work_.empty() && status == cudaSuccess) {
        spare_.push_back(std::move(work_.front().end));
        work_.pop_front();
        continue;
      }
      std::string const who = work_.empty() ? "a collective of others" : work_.front().who;
      bool const is_late = !work_.empty() && Clock::now() - work_.front().since > timeout_;
      auto const pause = std::chrono::milliseconds{work_.empty() ? 200 : 20};
      lock.unlock();
      look_after(who, status, is_late);
      lock.lock();
      changed_.wait_for(lock, pause, [this] { return is_stopped_ || !failure_.empty(); });
    }
  }

  void look_after(std::string const& who, cudaError_t status, bool is_late)
  {
    auto error = ncclSuccess;
    bool const is_known = ncclCommGetAsyncError(comm_, &error) == ncclSuccess;
    if (status != cudaSuccess && status != cudaErrorNotReady) {
      fail(concat(who, ": ", cudaGetErrorString(status)));
    } else if (is_known && error != ncclSuccess && error != ncclInProgress) {
      auto ranks = missing();
      auto const names = ranks.empty() ? std::string{} : ranks_have(ranks) + " ended: ";
      fail(concat(who, ": ", names, nccl_text(error)), std::move(ranks));
    } else if (is_late || (roll_call_ && roll_call_->is_called())) {
      give_up(who);
    }
  }

  ncclComm_t comm_;
  int rank_;
  int size_;
  int device_;
  std::chrono::milliseconds timeout_;
  std::shared_ptr<RollCall> roll_call_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Work> work_;  // in the order in which it was enqueued
  std::vector<std::unique_ptr<OwnedEvent>> spare_;
  std::string failure_;
  std::vector<int> missing_;
  std::atomic<bool> has_failed_{false};
  bool is_stopped_ = false;
  std::thread thread_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
