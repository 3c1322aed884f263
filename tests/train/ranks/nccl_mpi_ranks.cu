// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

//   mpirun -n <GPUs> nccl_mpi_ranks none | hangs | killed | throws
//
// Sums over GPUs, compared with sums over MPI; then the last rank gets lost. Status 77 without two GPUs.
#include <tessera/core/launch.cuh>
#include <tessera/train/nccl_over_mpi.cuh>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace tessera;

namespace {

void compare(train::Communicator<Device> const& gpus, train::Communicator<Host> const& ranks,
             Execution<Device> const& exec)
{
  Execution<Host> const host{2};
  for (std::int64_t const n : {1, 1000, 5'000'001}) {
    std::vector<std::int64_t> values(static_cast<std::size_t>(n));
    for (std::int64_t i = 0; i < n; ++i) {
      values[static_cast<std::size_t>(i)] = (i * 7919 + ranks.rank() * 104'729) % 1'000'003;
    }
    auto data = upload(values, exec);
    gpus.all_reduce_sum(data.data(), n, exec);
    ranks.all_reduce_sum(values.data(), n, host);
    if (download(data, exec) != values) { detail::fail("sums of ", n, " over GPUs and over MPI differ"); }
    std::vector<float> parts(static_cast<std::size_t>(n), 0.1F * static_cast<float>(ranks.rank() + 1));
    std::vector<std::vector<float>> runs;
    for (int run = 0; run < 2; ++run) {
      auto sums = upload(parts, exec);
      gpus.all_reduce_sum(sums.data(), n, exec);
      runs.push_back(download(sums, exec));
    }
    if (runs[0] != runs[1]) { detail::fail("two sums of ", n, " floats have different bits"); }
  }
}

}  // namespace

int main(int argc, char** argv)
{
  return train::run_with_mpi(argc, argv, [&] {
    std::string const how = argc > 1 ? argv[1] : "none";
    auto const ranks = train::mpi_communicator();
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices < 2 || devices < ranks.size()) {
      std::printf("%d GPUs for %d ranks\n", devices, ranks.size());
      return 77;
    }
    detail::cuda_check(cudaSetDevice(train::mpi_local_rank()));
    Execution<Device> const exec{cudaStreamPerThread};
    auto const gpus = train::nccl_communicator(MPI_COMM_WORLD, exec, std::chrono::seconds{4});
    compare(gpus, ranks, exec);
    if (gpus.rank() == gpus.size() - 1) {
      if (how == "hangs") { std::this_thread::sleep_for(std::chrono::minutes{5}); }
      if (how == "killed") { std::raise(SIGKILL); }
      if (how == "throws") { throw std::runtime_error{"scan 17 cannot be read"}; }
    }
    auto data = upload(std::vector<float>(1'000'000, 1.0F), exec);
    gpus.all_reduce_sum(data.data(), data.size(), exec);
    gpus.barrier(exec);
    return 0;
  });
}
