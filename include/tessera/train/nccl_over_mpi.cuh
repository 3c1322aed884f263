// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Needs NCCL and MPI: link tessera::nccl and tessera::mpi.

#include <tessera/train/mpi_communicator.hpp>
#include <tessera/train/nccl_communicator.cuh>

#include <chrono>
#include <memory>
#include <mpi.h>
#include <string>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Ranks tell each other by MPI that they are there. Its own communicator, and calls from the thread that looks
/// after NCCL, which is there whatever the program does meanwhile.
class MpiRollCall final : public RollCall {
 public:
  explicit MpiRollCall(MPI_Comm comm)
  {
    MPI_Comm_dup(comm, &comm_);
    MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
    MPI_Comm_rank(comm_, &rank_);
    MPI_Comm_size(comm_, &size_);
  }
  MpiRollCall(MpiRollCall const&) = delete;
  MpiRollCall& operator=(MpiRollCall const&) = delete;
  ~MpiRollCall() override
  {
    int finalized = 0;
    MPI_Finalized(&finalized);
    if (finalized == 0 && !was_called_) { MPI_Comm_free(&comm_); }
  }

  [[nodiscard]] bool is_called() override
  {
    int flag = 0;
    MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, comm_, &flag, MPI_STATUS_IGNORE);
    return flag != 0;
  }

  [[nodiscard]] std::vector<int> missing() override
  {
    constexpr std::chrono::seconds limit{4};  // an answer comes within one look of the other's watchdog
    was_called_ = true;
    MpiRequests requests{comm_};
    std::vector<char> answers(static_cast<std::size_t>(size_));
    char const present = 1;
    for (int peer = 0; peer < size_; ++peer) {
      if (peer == rank_) { continue; }
      requests.receive(&answers[static_cast<std::size_t>(peer)], 1, peer);
      requests.send(&present, 1, peer);
    }
    std::string reason;
    return requests.wait(limit, reason);
  }

 private:
  MPI_Comm comm_ = MPI_COMM_NULL;
  int rank_ = 0;
  int size_ = 1;
  bool was_called_ = false;
};

}  // namespace detail

namespace train {

/// The GPUs of the processes of an MPI communicator, connected by NCCL: rank 0 makes the id, MPI_Bcast sends
/// it.
///
/// Collective: all ranks of `comm` call it, each with a device of its own, mostly that of mpi_local_rank().
/// Where a rank is gone, the others find out which one by MPI, if it was initialized with MPI_THREAD_MULTIPLE
/// as run_with_mpi() does.
/// @throws invalid_argument  MPI is not initialized, or the time is not positive
/// @throws std::runtime_error  communication_error: NCCL reports an error, or the others do not come in time
/// Cost: NCCL's set-up; a thread.
/// Stream: waits for all ranks.
/// Determinism: as nccl_communicator().
[[nodiscard]] inline Communicator<Device> nccl_communicator(
    MPI_Comm comm, Execution<Device> const& exec, std::chrono::milliseconds timeout = default_rank_timeout)
{
  int initialized = 0;
  MPI_Initialized(&initialized);
  detail::expects(initialized != 0, "nccl_communicator: MPI is not initialized; run_with_mpi() does that");
  int rank = 0;
  int size = 1;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  ncclUniqueId id{};
  auto const made = rank == 0 ? ncclGetUniqueId(&id) : ncclSuccess;
  MPI_Bcast(&id, sizeof(id), MPI_BYTE, 0, comm);
  detail::nccl_check(made, "nccl_communicator");
  int threads = MPI_THREAD_SINGLE;
  MPI_Query_thread(&threads);
  std::shared_ptr<detail::RollCall> roll_call;
  if (threads == MPI_THREAD_MULTIPLE) { roll_call = std::make_shared<detail::MpiRollCall>(comm); }
  return detail::make_nccl_communicator(id, rank, size, exec, timeout, std::move(roll_call));
}

}  // namespace train
}  // namespace v0
}  // namespace tessera
