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

/// What a plan of `model` needs of its arena, measured by a second forward pass.
/// Stream: enqueues two forward passes on no voxels, and waits.
template <class Input, class Model, class Limits>
[[nodiscard]] ArenaParts measure_plan(Model& model, Limits const& limits, int channels,
                                      Execution<Device> const& recording)
{
  auto const exec = recording.without_recorder();
  DeviceGuard const guard{exec.device()};
  auto const forward = [&](Execution<Device> const& execution) {
    Input input{limits, channels, true, execution};
    auto const output = model.forward(input.tensor, execution);
    if (execution.map_streams() != nullptr) { execution.map_streams()->join(); }
    input.label(output, execution);
  };
  forward(exec);  // makes what layers make once and keep, which must not be in the arena
  exec.wait();
  OwnedStream const stream;
  MapStreams map_streams{stream.get()};
  MeasuringMemory memory{exec.memory(), map_streams};
  Execution<Device> const own{stream.get(), &memory};
  forward(own.with_map_streams(map_streams));
  map_streams.join();
  own.wait();
  expects(memory.num_blocks() == 0, "Plan: forward() keeps ", memory.num_blocks(),
          " buffers made in its second call; it may in its first");
  return memory.parts();
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
