// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

//   mpirun -n 3 lost_rank none | hangs | killed | throws
//
// Rank 1 gets lost while the others wait for it; a time limit of two seconds.
#include <tessera/train/mpi_communicator.hpp>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace tessera;

int main(int argc, char** argv)
{
  return train::run_with_mpi(argc, argv, [&] {
    std::string const how = argc > 1 ? argv[1] : "none";
    auto const ranks = train::mpi_communicator(MPI_COMM_WORLD, std::chrono::seconds{2});
    Execution<Host> const exec{1};
    std::vector<float> values(1'000'000, 1.0F);
    ranks.all_reduce_sum(values.data(), 1'000'000, exec);
    if (ranks.rank() == 1) {
      if (how == "hangs") { std::this_thread::sleep_for(std::chrono::minutes{5}); }
      if (how == "killed") { std::raise(SIGKILL); }
      if (how == "throws") { throw std::runtime_error{"scan 17 cannot be read"}; }
    }
    for (int call = 0; call < 2; ++call) {
      try {
        ranks.all_reduce_sum(values.data(), 1'000'000, exec);
      } catch (train::communication_error const& error) {
        std::printf("call %d: %zu missing: %s\n", call, error.ranks().size(), error.what());
        std::fflush(stdout);
        if (call == 1) { throw; }  // the second time it is known at once
      }
    }
    return 0;
  });
}
