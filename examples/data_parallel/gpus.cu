// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
//   mpirun -n 2 data_parallel_gpus
//
// The same on several GPUs, over NCCL; MPI starts it and sends NCCL's id.

#include "training.hpp"

#include <tessera/tessera.cuh>
#include <tessera/train/nccl_over_mpi.cuh>

#include <cstdio>

namespace ts = tessera;

int main(int argc, char** argv)
{
  int gpus = 0;
  bool const has_gpu = cudaGetDeviceCount(&gpus) == cudaSuccess && gpus > 0;
  return ts::train::run_with_mpi(argc, argv, [&] {
    if (!has_gpu) {
      std::printf("no CUDA device\n");
      return 77;
    }
    // [gpus]
    cudaSetDevice(ts::train::mpi_local_rank());  // a GPU for each rank of a machine
    ts::Execution<ts::Device> const exec{cudaStreamPerThread};
    auto const ranks = ts::train::nccl_communicator(MPI_COMM_WORLD, exec);
    auto const losses = data_parallel::train(ranks, 8, exec);
    // [gpus]
    return !losses.empty() && losses.back() < losses.front() ? 0 : 1;
  });
}
