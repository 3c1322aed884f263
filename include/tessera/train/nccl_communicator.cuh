// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Needs NCCL 2.14 or newer: link tessera::nccl.

#include <tessera/train/detail/nccl_collectives.cuh>
#include <tessera/train/gradient_reducer.cuh>

#include <chrono>
#include <memory>
#include <nccl.h>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// A communicator that does not wait for ranks that never come, and the time to look after it.
[[nodiscard]] inline train::Communicator<Device> make_nccl_communicator(ncclUniqueId const& id, int rank,
                                                                        int size,
                                                                        Execution<Device> const& exec,
                                                                        std::chrono::milliseconds timeout,
                                                                        std::shared_ptr<RollCall> roll_call)
{
  char const* const who = "nccl_communicator";
  expects(size >= 1 && rank >= 0 && rank < size, who, ": rank ", rank, " of ", size);
  expects(timeout.count() > 0, who, ": a time limit of ", timeout.count(), " ms");
  DeviceGuard const guard{exec.device()};
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  ncclComm_t comm = nullptr;
  auto status = ncclCommInitRankConfig(&comm, size, id, rank, &config);
  auto const begin = std::chrono::steady_clock::now();
  while (status == ncclInProgress || status == ncclSuccess) {
    auto const asked = ncclCommGetAsyncError(comm, &status);
    status = asked != ncclSuccess ? asked : status;
    if (status != ncclInProgress) { break; }
    if (std::chrono::steady_clock::now() - begin > timeout) {
      static_cast<void>(ncclCommAbort(comm));
      throw train::communication_error{concat(who, ": rank ", rank, " of ", size,
                                              ": the other ranks have not all come in ",
                                              static_cast<double>(timeout.count()) / 1000, " s")};
    }
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  }
  nccl_check(status, who);
  return train::Communicator<Device>{
      std::make_shared<NcclCollectives>(comm, true, exec.device(), timeout, std::move(roll_call))};
}

}  // namespace detail

namespace train {

/// The ranks of an NCCL communicator that is the caller's, who keeps it until the result and its copies are
/// gone.
///
/// NCCL does not say which rank is gone; train/nccl_over_mpi.cuh knows it from MPI. After a communication_error
/// `comm` has been aborted and is not to be destroyed.
/// @param exec     an execution of the device that `comm` was made for
/// @param timeout  how long an enqueued collective may take, with the work of the stream before it; beyond it
///                 the communicator is aborted, so that nobody waits for ever, and calls throw
///                 communication_error
/// @throws invalid_argument  the time is not positive
/// @throws std::runtime_error  communication_error: NCCL reports an error
/// Cost: a thread, which looks 50 times a second.
/// Stream: enqueues nothing.
/// Determinism: NCCL's, see Communicator::all_reduce_sum().
[[nodiscard]] inline Communicator<Device> nccl_communicator(
    ncclComm_t comm, Execution<Device> const& exec, std::chrono::milliseconds timeout = default_rank_timeout)
{
  detail::expects(comm != nullptr, "nccl_communicator: a null communicator");
  detail::expects(timeout.count() > 0, "nccl_communicator: a time limit of ", timeout.count(), " ms");
  return Communicator<Device>{
      std::make_shared<detail::NcclCollectives>(comm, false, exec.device(), timeout, nullptr)};
}

/// A new communicator of the ranks that have the same `id` (ncclGetUniqueId() on one of them, sent to the
/// others). Collective: each rank calls it, with a device of its own.
/// @throws invalid_argument  there is no such rank, or the time is not positive
/// @throws std::runtime_error  communication_error: NCCL reports an error, or the others do not come in time
/// Cost: NCCL's set-up, some 0.1 s and more.
/// Stream: waits for all ranks.
/// Determinism: as above.
[[nodiscard]] inline Communicator<Device> nccl_communicator(
    ncclUniqueId const& id, int rank, int size, Execution<Device> const& exec,
    std::chrono::milliseconds timeout = default_rank_timeout)
{
  return detail::make_nccl_communicator(id, rank, size, exec, timeout, nullptr);
}

}  // namespace train
}  // namespace v0
}  // namespace tessera
