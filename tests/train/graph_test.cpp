// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Steps inside a CUDA graph.

#ifdef __CUDACC__

#include "network.hpp"

#include <tessera/core/detail/random.hpp>
#include <tessera/train/moving_average.hpp>
#include <tessera/train/optimizer.hpp>

#include <doctest/doctest.h>

#include <cuda_runtime_api.h>

#include <cstdint>
#include <limits>
#include <vector>

using namespace tessera;

namespace {

/// Another gradient in every call of step(), not finite in every ninth.
struct GradientOfCall {
  std::uint64_t const* calls;
  float const* loss_scale;
  float* to;
  float infinity;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto state = *calls * 1000 + static_cast<std::uint64_t>(i);
    auto const drawn = static_cast<float>(tessera::detail::next_random(state) >> 40) * 0x1p-23F - 1;
    bool const overflows = *calls % 9 == 4 && i == 11;
    to[i] = overflows ? infinity : drawn * *loss_scale;
  }
};

struct Training {
  explicit Training(Execution<Device> const& on)
      : exec{on},
        net{exec},
        arena{net, exec},
        optimizer{arena, train::AdamW{}, train::Schedule::cosine(0.02, 80).warm_up(10),
                  StepOptions{}.clip_norm(4).clip_value(0.5).loss_scaler(
                      train::LossScaler{}.initial(256).interval(5)),
                  exec},
        average{arena, 0.95, exec, true}
  {}

  void step()
  {
    optimizer.zero_grad(exec);
    for_each(arena.gradient_size(),
             GradientOfCall{optimizer.device_calls(), optimizer.loss_gradient().data, arena.gradients().data,
                            std::numeric_limits<float>::infinity()},
             exec);
    optimizer.step(exec);
    average.update(optimizer.device_state(), exec);
  }

  std::vector<float> everything()
  {
    auto all = download(arena.masters(), arena.size(), exec);
    for (auto const* const more : {&optimizer.kept(0), &optimizer.kept(1), &average.values()}) {
      auto const values = download(*more, exec);
      all.insert(all.end(), values.begin(), values.end());
    }
    for (auto const value : download(net.kernel.data(), net.kernel.size(), exec)) {
      all.push_back(__half2float(value));
    }
    return all;
  }

  Execution<Device> exec;
  test::Network<__half, Device> net;
  train::ParameterArena<__half, Device> arena;
  train::Optimizer<train::AdamW, __half, Device> optimizer;
  train::MovingAverage<__half, Device> average;
};

}  // namespace

TEST_CASE("optimizers on the device: 100 replays of a graph are 100 eager steps, overflows included")
{
  if (test::skipped<Device>()) { return; }
  cudaStream_t stream = nullptr;
  REQUIRE(cudaStreamCreate(&stream) == cudaSuccess);
  {
    Execution<Device> const exec{stream};
    Training eager{exec};
    Training replayed{exec};
    for (int i = 0; i < 100; ++i) { eager.step(); }
    exec.wait();
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
    replayed.step();
    REQUIRE(cudaStreamEndCapture(stream, &graph) == cudaSuccess);
    REQUIRE(cudaGraphInstantiate(&executable, graph, 0) == cudaSuccess);
    for (int i = 0; i < 100; ++i) { REQUIRE(cudaGraphLaunch(executable, stream) == cudaSuccess); }
    CHECK(replayed.everything() == eager.everything());
    auto const state = replayed.optimizer.state(exec);
    auto const expected = eager.optimizer.state(exec);
    CHECK(state.calls == 100);
    CHECK(state.skipped == 11);
    CHECK(state.step == expected.step);
    CHECK(state.loss_scale == expected.loss_scale);
    CHECK(state.learning_rate == expected.learning_rate);
    CHECK(cudaGraphExecDestroy(executable) == cudaSuccess);
    CHECK(cudaGraphDestroy(graph) == cudaSuccess);
  }
  CHECK(cudaStreamDestroy(stream) == cudaSuccess);
}

#else

#include "../support/skip.hpp"

#include <doctest/doctest.h>

TEST_CASE("optimizers on the device: 100 replays of a graph are 100 eager steps, overflows included")
{
  test::skip("built without CUDA");
}

#endif
