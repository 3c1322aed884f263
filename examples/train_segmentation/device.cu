// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/stream.cuh"
#include "device.cuh"

#ifdef TRAIN_WITH_NCCL
#include <tessera/train/nccl_over_mpi.cuh>
#endif

namespace train_segmentation {

void run_on_device(Task const& task)
{
#ifdef TRAIN_WITH_NCCL
  if (task.has_launcher) {  // a GPU for each rank of a machine
    int gpus = 0;
    program::check(cudaGetDeviceCount(&gpus));
    program::check(cudaSetDevice(tessera::train::mpi_local_rank() % gpus));
  }
#else
  if (task.has_launcher) {
    throw program::Failure{"ranks on GPUs need NCCL, which this program was built without"};
  }
#endif
  program::Stream const stream;
  tessera::Execution const exec{stream.get()};
  Ranks ranks;
#ifdef TRAIN_WITH_NCCL
  if (task.has_launcher) { ranks = tessera::train::nccl_communicator(MPI_COMM_WORLD, exec, rank_timeout); }
#endif
  switch (task.machine.precision) {
    case program::Precision::fp16: return run_in_half(task, ranks, exec);
    case program::Precision::bf16: return run_in_bfloat16(task, ranks, exec);
    default: return run_in_float(task, ranks, exec);
  }
}

}  // namespace train_segmentation
