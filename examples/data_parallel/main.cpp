// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
//   mpirun -n 2 data_parallel
//
// Trains a small network on the processors of several ranks, over MPI.

#include "training.hpp"

#include <tessera/train/mpi_communicator.hpp>

namespace ts = tessera;

int main(int argc, char** argv)
{
  // [ranks]
  return ts::train::run_with_mpi(argc, argv, [] {
    auto const ranks = ts::train::mpi_communicator();
    ts::Execution<ts::Host> const exec{1};  // threads of each rank
    auto const losses = data_parallel::train(ranks, 8, exec);
    return !losses.empty() && losses.back() < losses.front() ? 0 : 1;
  });
  // [ranks]
}
