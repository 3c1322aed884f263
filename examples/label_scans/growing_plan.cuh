// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/stream.cuh"
#include "growing_plan.hpp"

#include <tessera/tessera.cuh>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <new>
#include <type_traits>

namespace label_scans {

/// Plans of labels, of QuantizeOptions, or of an encoder's map, of VoxelizeOptions.
template <class Model, class Voxelization>
class GrowingPlan<Model, Voxelization, tessera::Device> {
  static constexpr bool labels = std::is_same_v<Voxelization, tessera::QuantizeOptions<3>>;
  using Planned = std::conditional_t<labels, Model, tessera::ForwardBev<Model, float>>;
  using Plan = tessera::Plan<Planned, Voxelization>;

 public:
  GrowingPlan(Model& model, Voxelization const& voxels, std::int64_t max_points, int in_channels)
      : model_{&model}, voxels_{voxels}, max_points_{max_points}, in_channels_{in_channels}
  {}

  template <class Result>
  [[nodiscard]] bool try_run(float const* points, std::int64_t num_points, Result* results,
                             tessera::Execution<> const& exec)
  {
    if (!plan_) { return false; }
    typename Plan::Destination to;
    if constexpr (labels) { to.labels = {results, num_points, 1}; }
    auto const status = plan_->try_run({points, num_points, in_channels_}, to, exec.stream());
    program::check(static_cast<cudaError_t>(status.cuda));
    if (!status.ok()) { return false; }
    if constexpr (!labels) {
      auto const& map = plan_->output();
      program::copy_to(results, map.data(), static_cast<std::size_t>(map.size()), exec);
    }
    exec.wait();
    auto const report = plan_->status();
    plan_->acknowledge();
    program::check(static_cast<cudaError_t>(report.cuda));
    return report.ok();
  }

  template <class Voxels>
  [[nodiscard]] PlanState make_for(Voxels const& voxels, tessera::Execution<> const& exec)
  {
    if (!state_.no_plan.empty()) { return state_; }
    grow(voxels);
    plan_.reset();
    try {
      auto const limits = this->limits();
      if constexpr (labels) {
        plan_ = std::make_unique<Plan>(*model_, limits, exec);
      } else {
        plan_ = std::make_unique<Plan>(
            tessera::forward_bev<float>(*model_, tessera::DenseLayout::channels_first), limits, exec);
      }
      ++state_.times_made;
      state_.bytes = plan_->bytes();
    } catch (tessera::invalid_argument const& error) {
      state_.no_plan = error.what();
    } catch (std::bad_alloc const&) {
      state_.no_plan = "there is not enough memory for it";
    }
    return state_;
  }

 private:
  template <class Voxels>
  void grow(Voxels const& voxels)
  {
    voxels.for_each_in_frame([&](auto const& level) {
      auto& rows = rows_[tessera::max_element(level.tensor_stride())];
      rows = std::max(rows, level.num_rows() + level.num_rows() / 4 + 1);
    });
    // Keys get no longer when a box grows up to a power of two, so scans in it cost nothing.
    auto const power_beyond = [](int extent) {
      int power = 1;
      while (power < extent + extent / 4) { power *= 2; }
      return power;
    };
    box_.batches = 1;
    auto const& box = voxels.box();
    for (int axis = 0; axis < 3; ++axis) {
      if (box.lower[axis] < 0) {
        box_.lower[axis] = std::min(box_.lower[axis], -power_beyond(-box.lower[axis]));
      }
      box_.upper[axis] = std::max(box_.upper[axis], power_beyond(box.upper[axis] + 1) - 1);
    }
  }

  [[nodiscard]] tessera::PointLimits<Voxelization> limits() const
  {
    tessera::PlanLimits limits;
    limits.channels(in_channels_).max_points(max_points_);
    for (auto const& [stride, rows] : rows_) {
      auto const most = std::min(rows, max_points_);
      if (stride > 1) {
        limits.max_voxels_at(stride, most);
      } else if constexpr (labels) {
        limits.max_voxels(most);
      } else {  // a plan of hard voxels has room for all that there may be
        limits.max_voxels(std::min<std::int64_t>(max_points_, voxels_.max_voxels));
      }
    }
    if constexpr (labels) { limits.box(box_); }
    return limits.voxelize(voxels_);
  }

  Model* model_;
  Voxelization voxels_;
  std::int64_t max_points_;
  int in_channels_;
  std::map<int, std::int64_t> rows_;  // by tensor stride
  tessera::CoordinateBox<3> box_{};
  std::unique_ptr<Plan> plan_;
  PlanState state_;
};

}  // namespace label_scans
