// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "run.hpp"

#ifdef TRAIN_WITH_MPI
#include <tessera/train/mpi_communicator.hpp>
#endif

namespace train_segmentation {

void run_on_host(Task const& task)
{
  ts::train::Communicator<ts::Host> ranks;
#ifdef TRAIN_WITH_MPI
  if (task.has_launcher) { ranks = ts::train::mpi_communicator(MPI_COMM_WORLD, rank_timeout); }
#endif
  run<float>(task, ranks, program::host_execution(task.options->threads));
}

}  // namespace train_segmentation
