// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Needs MPI: link tessera::mpi, or give the compiler what `mpicxx --showme` prints.

#include <tessera/train/communicator.hpp>
#include <tessera/train/detail/mpi_collectives.hpp>

#include <chrono>
#include <cstdio>
#include <exception>
#include <memory>
#include <mpi.h>

namespace tessera {
inline namespace v0 {
namespace train {

/// The processes of an MPI communicator, with memory of the host.
///
/// Collective: all ranks of `comm` call it. `comm` is duplicated and not used afterwards. MPI must be
/// initialized, and be finalized after the communicator is gone; run_with_mpi() does both.
/// @param timeout  how long a rank may come later than the others, e.g. because it writes a checkpoint;
///                 beyond it, their calls throw communication_error with its number
/// @throws invalid_argument  MPI is not initialized, or the time is not positive
/// Cost: duplicates the communicator.
/// Stream: waits for all ranks.
/// Determinism: sums are in the order of ranks.
[[nodiscard]] inline Communicator<Host> mpi_communicator(
    MPI_Comm comm = MPI_COMM_WORLD, std::chrono::milliseconds timeout = default_rank_timeout)
{
  return Communicator<Host>{std::make_shared<detail::MpiCollectives>(comm, timeout)};
}

/// Number of this process among those of `comm` on the same machine: the GPU it should take.
/// Cost: a collective of `comm`.
/// Stream: waits for all ranks.
/// Determinism: by rank.
[[nodiscard]] inline int mpi_local_rank(MPI_Comm comm = MPI_COMM_WORLD)
{
  MPI_Comm local = MPI_COMM_NULL;
  MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &local);
  int rank = 0;
  MPI_Comm_rank(local, &rank);
  MPI_Comm_free(&local);
  return rank;
}

/// The whole of a program that runs under `mpirun` or `srun`: initializes MPI, returns `body()`, finalizes MPI.
///
/// An exception that leaves `body` is written to stderr behind the number of the rank, and ends all ranks
/// (MPI_Abort), which would else wait for this one. Without a launcher the process is rank 0 of 1.
/// @param argc, argv  those of main(), from which MPI takes its own
/// @returns what `body` returns, the program's exit status
/// Cost: MPI's.
/// Stream: waits for all ranks at both ends.
/// Determinism: that of `body`.
template <class Body>
[[nodiscard]] int run_with_mpi(int& argc, char**& argv, Body const& body)
{
  int provided = 0;
  // A communicator of GPUs asks for missing ranks from a thread of its own.
  MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  int status = 1;
  try {
    status = body();
  } catch (std::exception const& error) {
    std::fprintf(stderr, "rank %d: %s\n", rank, error.what());
    std::fflush(nullptr);
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  MPI_Finalize();
  return status;
}

}  // namespace train
}  // namespace v0
}  // namespace tessera
