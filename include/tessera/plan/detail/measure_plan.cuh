// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/execution.cuh>
#include <tessera/plan/arena.cuh>
#include <tessera/plan/detail/capture.cuh>

#include <cstddef>
#include <numeric>

namespace tessera {
inline namespace v0 {
namespace detail {

[[nodiscard]] inline std::size_t total_bytes(ArenaParts const& parts)
{
  return std::accumulate(parts.begin(), parts.end(), std::size_t{0});
}

/// What `pass(execution)` needs of an arena, measured in its second call: the first makes what is made once and
/// kept, which must not be in the arena.
/// @param who  begins the sentence of an error
/// @throws invalid_argument  the second call keeps memory
/// Stream: enqueues both calls and waits.
template <class Pass>
[[nodiscard]] ArenaParts measure_arena(Pass const& pass, char const* who, Execution<Device> const& recording)
{
  auto const exec = recording.without_recorder();
  DeviceGuard const guard{exec.device()};
  pass(exec);
  exec.wait();
  OwnedStream const stream;
  MapStreams map_streams{stream.get()};
  MeasuringMemory memory{exec.memory(), map_streams};
  Execution<Device> const own{stream.get(), &memory};
  pass(own.with_map_streams(map_streams));
  map_streams.join();
  own.wait();
  expects(memory.num_blocks() == 0, who, " keeps ", memory.num_blocks(),
          " buffers made in its second call; it may in its first");
  return memory.parts();
}

/// What a plan of `model` needs of its arena.
/// Stream: enqueues two forward passes on no voxels, and waits.
template <class Input, class Model, class Limits>
[[nodiscard]] ArenaParts measure_plan(Model& model, Limits const& limits, int channels,
                                      Execution<Device> const& recording)
{
  return measure_arena(
      [&](Execution<Device> const& exec) {
        Input input{limits, channels, true, exec};
        auto const output = model.forward(input.tensor, exec);
        if (exec.map_streams() != nullptr) { exec.map_streams()->join(); }
        input.label(output, exec);
      },
      "Plan: forward()", recording);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
