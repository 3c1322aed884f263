// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// Trains a network that labels LiDAR scans; `train_segmentation --help` says how it is used.
//
//   options.hpp              the command line
//   scans.hpp, batch.hpp     scans, and what a step reads of them
//   trainer.hpp              the network, its optimizer and averages: a step, a checkpoint
//   run.hpp                  a training from beginning to end
//   validation.hpp           the mIoU of held-out scans
//   history.hpp, curve.hpp   loss and mIoU of every step, and their picture
//   export.hpp               the trained network as a file
//   evaluate.hpp             how good such a file is
//   host.cpp, device*.cu     that for the CPU, and for the GPU in each precision

#include "../support/gpu.hpp"
#include "../support/program.hpp"
#include "options.hpp"
#include "task.hpp"

#ifdef TRAIN_WITH_MPI
#include <tessera/train/mpi_communicator.hpp>
#endif

#include <cstdio>
#include <cstdlib>

namespace train_segmentation {
namespace {

void run(Options const& options, bool has_launcher)
{
  Task const task{&options, program::choose_machine(options, program::absence), has_launcher};
#ifdef __CUDACC__
  if (task.machine.on_device) { return run_on_device(task); }
#endif
  run_on_host(task);
}

[[nodiscard]] int run_program(int argc, char** argv, bool has_launcher)
{
  return program::run_program("train_segmentation", argc, argv, parse_options,
                              [&](Options const& options) { run(options, has_launcher); });
}

#ifdef TRAIN_WITH_MPI
/// Whether mpirun or srun started this process: what Open MPI, MPICH and Slurm set for it.
[[nodiscard]] bool is_launched()
{
  for (char const* const name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"}) {
    if (std::getenv(name) != nullptr) { return true; }
  }
  return false;
}
#endif

}  // namespace
}  // namespace train_segmentation

int main(int argc, char** argv)
{
#ifdef TRAIN_WITH_MPI
  if (train_segmentation::is_launched()) {
    return tessera::train::run_with_mpi(argc, argv, [&] {
      int const status = train_segmentation::run_program(argc, argv, true);
      if (status != 0) {  // the others would wait for this rank
        std::fflush(nullptr);
        MPI_Abort(MPI_COMM_WORLD, status);
      }
      return status;
    });
  }
#endif
  return train_segmentation::run_program(argc, argv, false);
}
