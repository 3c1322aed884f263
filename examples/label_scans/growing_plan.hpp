// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "engine.hpp"

#include <tessera/core/execution.hpp>

#include <cstdint>

namespace label_scans {

/// A plan for scans of any size up to a number of points, which is made anew where a scan outgrows it. On the
/// CPU, which has no CUDA graphs, there is none.
template <class Model, class Voxelization, class Space>
class GrowingPlan {
 public:
  GrowingPlan(Model&, Voxelization const&, std::int64_t /*max_points*/, int /*in_channels*/) {}

  /// Runs the plan; false where there is none yet, or the scan does not fit.
  template <class Result>
  [[nodiscard]] bool try_run(float const*, std::int64_t, Result*, tessera::Execution<Space> const&)
  {
    return false;
  }
  /// Makes a plan for scans up to a quarter larger than those it was called with so far. `voxels` are those of
  /// a scan that went through the model.
  template <class Voxels>
  [[nodiscard]] PlanState make_for(Voxels const&, tessera::Execution<Space> const&)
  {
    return {0, 0, "the CPU has no CUDA graphs"};
  }
};

}  // namespace label_scans
