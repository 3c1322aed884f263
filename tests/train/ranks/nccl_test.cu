// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#include "../../support/small.hpp"
#include "../parallel_cases.hpp"

#include <tessera/train/gradient_reducer.cuh>
#include <tessera/train/nccl_communicator.cuh>

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

using namespace tessera;

template class tessera::train::DataParallel<__half, Device>;  // masters and narrow values are sent

namespace {

/// NCCL begins slowly under a tool that slows kernels.
std::chrono::milliseconds patience()
{
  return test::small_sets() ? std::chrono::minutes{3} : train::default_rank_timeout;
}

/// Everything that a communicator does, of one rank.
void expect_collectives(train::Communicator<Device> const& ranks, Execution<Device> const& exec)
{
  CHECK(ranks.rank() == 0);
  CHECK(ranks.size() == 1);
  std::vector<double> const values{1, 2, 3};
  auto data = upload(values, exec);
  for (int call = 0; call < 100; ++call) { ranks.all_reduce_sum(data.data(), 3, exec); }
  ranks.broadcast(data.data(), 3, 0, exec);
  Buffer<double, Device> all{3, exec};
  ranks.all_gather(data.data(), all.data(), 3, exec);
  ranks.barrier(exec);
  ranks.check();
  CHECK(download(all, exec) == values);
}

}  // namespace

TEST_CASE("NCCL on the device: a communicator made of an id, and one that is borrowed")
{
  if (test::skipped<Device>()) { return; }
  Execution<Device> const exec{cudaStreamPerThread};
  ncclUniqueId id{};
  REQUIRE(ncclGetUniqueId(&id) == ncclSuccess);
  expect_collectives(train::nccl_communicator(id, 0, 1, exec, patience()), exec);

  ncclComm_t comm = nullptr;
  int const device = exec.device();
  REQUIRE(ncclCommInitAll(&comm, 1, &device) == ncclSuccess);
  expect_collectives(train::nccl_communicator(comm, exec), exec);
  expect_collectives(train::nccl_communicator(comm, exec), exec);  // it is still the caller's
  CHECK(ncclCommDestroy(comm) == ncclSuccess);
}

TEST_CASE("NCCL on the device: collectives are captured into a graph, which runs again")
{
  if (test::skipped<Device>()) { return; }
  cudaStream_t stream = nullptr;
  REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess);
  {
    Execution<Device> const exec{stream};
    ncclUniqueId id{};
    REQUIRE(ncclGetUniqueId(&id) == ncclSuccess);
    auto const ranks = train::nccl_communicator(id, 0, 1, exec, patience());
    auto gradients = upload(std::vector<float>(1000, 2.0F), exec);
    train::GradientReducer<float, Device> reducer{ranks, gradients.data(), {{1, 0, 1000}}, exec};
    cudaGraph_t graph = nullptr;
    REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
    reducer.begin();
    reducer.ready(1, exec);
    reducer.finish(exec);
    ranks.all_reduce_sum(gradients.data(), 1000, exec);
    REQUIRE(cudaStreamEndCapture(stream, &graph) == cudaSuccess);
    cudaGraphExec_t run = nullptr;
    REQUIRE(cudaGraphInstantiate(&run, graph, 0) == cudaSuccess);
    for (int i = 0; i < 3; ++i) {
      REQUIRE(cudaGraphLaunch(run, stream) == cudaSuccess);
      ranks.watch(exec);
    }
    exec.wait();
    ranks.check();
    CHECK(download(gradients, exec) == std::vector<float>(1000, 2.0F));
    cudaGraphExecDestroy(run);
    cudaGraphDestroy(graph);
  }
  cudaStreamDestroy(stream);
}

TEST_CASE("NCCL on the device: a rank that reduces over NCCL trains as one without it")
{
  if (test::skipped<Device>()) { return; }
  Execution<Device> const exec{cudaStreamPerThread};
  ncclUniqueId id{};
  REQUIRE(ncclGetUniqueId(&id) == ncclSuccess);
  auto const ranks = train::nccl_communicator(id, 0, 1, exec, patience());
  DataParallelOptions options;
  options.bucket_bytes = 1000;
  auto const over_nccl = test::train_parallel<float, Device>(ranks, 4, 3, options, exec);
  auto const alone = test::train_parallel<float, Device>({}, 4, 3, {}, exec);
  CHECK(test::relative_difference(over_nccl.gradients, alone.gradients) < 1e-5);
  CHECK(test::relative_difference(over_nccl.parameters, alone.parameters) < 1e-5);
  auto const again = test::train_parallel<float, Device>(ranks, 4, 3, options, exec);
  CHECK(over_nccl.parameters == again.parameters);
}

TEST_CASE("NCCL on the device: what does not end in time is given up, and everybody is told")
{
  if (test::skipped<Device>()) { return; }
  Execution<Device> const exec{cudaStreamPerThread};
  ncclUniqueId id{};
  REQUIRE(ncclGetUniqueId(&id) == ncclSuccess);
  // The second of two ranks never comes.
  try {
    auto const ranks = train::nccl_communicator(id, 0, 2, exec, std::chrono::seconds{2});
    FAIL("a rank that is not there has come");
  } catch (train::communication_error const& error) {
    CHECK(std::string{error.what()} ==
          "nccl_communicator: rank 0 of 2: the other ranks have not all come in 2 s");
  }
}
