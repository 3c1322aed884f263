// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/module.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace nn {

/// A layer whose random numbers can follow from a number of steps in `Space`: Dropout, and layers of one's own
/// that derive from this besides their module.
template <class Space>
class StepSeeded {
 public:
  StepSeeded() = default;
  StepSeeded(StepSeeded const&) = delete;
  StepSeeded& operator=(StepSeeded const&) = delete;
  virtual ~StepSeeded() = default;

  /// From here on what is drawn follows from the layer's seed and the number of steps [1] in `Space`, which
  /// must outlive the layer's use, no longer from the number of calls: a graph that is launched again draws
  /// other numbers once it has changed. Null: by the number of calls again.
  virtual void step(std::uint64_t const* steps) noexcept = 0;
};

/// Has every layer of a network draw its random numbers by a number of steps, Optimizer::device_calls() for
/// instance; null: by its number of calls again.
/// @returns how many there are
/// Cost: visits the modules.
/// Stream: enqueues nothing.
/// Determinism: what is drawn follows from the layer's seed, or its place where it has none, and the step.
template <class Space>
int seed_by_step(ModuleBase& network, std::uint64_t const* steps)
{
  int layers = 0;
  if (auto* const layer = dynamic_cast<StepSeeded<Space>*>(&network); layer != nullptr) {
    layer->step(steps);
    ++layers;
  }
  for (auto const& [name, child] : network.children()) { layers += seed_by_step<Space>(*child, steps); }
  return layers;
}

}  // namespace nn
}  // namespace v0
}  // namespace tessera
