// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/detail/work_event.cuh>
#include <tessera/core/execution.cuh>
#include <tessera/train/communicator.hpp>
#include <tessera/train/detail/nccl_watchdog.cuh>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <nccl.h>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Device collectives over NCCL.
class NcclCollectives final : public train::Collectives<Device> {
 public:
  /// @param is_owned  whether the communicator is destroyed with this
  NcclCollectives(ncclComm_t comm, bool is_owned, int device, std::chrono::milliseconds timeout,
                  std::shared_ptr<RollCall> roll_call)
      : comm_{comm}, is_owned_{is_owned}, device_{device}
  {
    nccl_check(ncclCommUserRank(comm, &rank_), "nccl_communicator");
    nccl_check(ncclCommCount(comm, &size_), "nccl_communicator");
    watchdog_ = std::make_unique<NcclWatchdog>(comm, rank_, size_, device, timeout, std::move(roll_call));
  }
  NcclCollectives(NcclCollectives const&) = delete;
  NcclCollectives& operator=(NcclCollectives const&) = delete;
  ~NcclCollectives() override
  {
    watchdog_->stop();
    if (is_owned_ && !watchdog_->has_failed()) { static_cast<void>(ncclCommDestroy(comm_)); }
  }

  [[nodiscard]] int rank() const noexcept override { return rank_; }
  [[nodiscard]] int size() const noexcept override { return size_; }

  void all_reduce_sum(void* data, std::int64_t n, DType type, Execution<Device> const& exec) override
  {
    enqueue("all_reduce_sum", exec, [&] {
      return ncclAllReduce(data, data, static_cast<std::size_t>(n), nccl_type(type), ncclSum, comm_,
                           exec.stream());
    });
  }

  void broadcast(void* data, std::size_t bytes, int root, Execution<Device> const& exec) override
  {
    enqueue("broadcast", exec,
            [&] { return ncclBroadcast(data, data, bytes, ncclUint8, root, comm_, exec.stream()); });
  }

  void all_gather(void const* mine, void* all, std::size_t bytes, Execution<Device> const& exec) override
  {
    enqueue("all_gather", exec,
            [&] { return ncclAllGather(mine, all, bytes, ncclUint8, comm_, exec.stream()); });
  }

  void barrier(Execution<Device> const& exec) override
  {
    Buffer<std::int32_t, Device> one{1, exec};
    fill_bytes(one, 0, exec);
    all_reduce_sum(one.data(), 1, DType::int32, exec);
    exec.wait();
    check();
  }

  void check() override { watchdog_->check(); }
  [[nodiscard]] bool is_capturable() const noexcept override { return true; }
  void watch(Execution<Device> const& exec) override
  {
    check();
    DeviceGuard const guard{device_};
    watchdog_->watch("graph", exec);
  }

 private:
  [[nodiscard]] static ncclDataType_t nccl_type(DType type)
  {
    switch (type) {
      case DType::float32: return ncclFloat32;
      case DType::float64: return ncclFloat64;
      case DType::int32: return ncclInt32;
      case DType::int64: return ncclInt64;
      default: detail::fail("all_reduce_sum: elements of type ", name_of(type));
    }
  }

  template <class Call>
  void enqueue(char const* who, Execution<Device> const& exec, Call const& call)
  {
    expects(exec.device() == device_, who, ": the communicator is of device ", device_,
            ", the execution of device ", exec.device());
    check();
    DeviceGuard const guard{device_};
    auto const status = call();
    if (status == ncclInProgress) {
      watchdog_->settle(who);
    } else if (status != ncclSuccess) {
      watchdog_->fail(concat(who, ": ", nccl_text(status)));
      check();
    }
    // What is captured runs later, when its end can no longer be asked for.
    if (!WorkEvent<Device>::is_capturing(exec)) { watchdog_->watch(who, exec); }
  }

  ncclComm_t comm_;
  bool is_owned_;
  int device_;
  int rank_ = 0;
  int size_ = 1;
  std::unique_ptr<NcclWatchdog> watchdog_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
