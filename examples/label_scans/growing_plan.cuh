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
  using Plan = tessera::Plan<Model, Voxelization>;

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
    bool const grew = grow(voxels);
    if (plan_ && !grew) { return state_; }  // another plan would not take that scan either
    plan_.reset();
    try {
      plan_ = std::make_unique<Plan>(*model_, this->limits(), exec);
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
  // A box grows to powers of two, since keys get no longer before. A point that is so far away that those of
  // all scans would is not worth it.
  static constexpr int widest = 1 << 17;
  [[nodiscard]] static int power_beyond(int extent)
  {
    int power = 1;
    while (power < extent + extent / 4) { power *= 2; }
    return power;
  }

  /// Makes the limits so large that such a scan fits; false if they stay.
  template <class Voxels>
  [[nodiscard]] bool grow(Voxels const& voxels)
  {
    bool grew = false;
    auto const raise = [&](auto& limit, auto to) {
      grew = grew || to > limit;
      limit = std::max(limit, to);
    };
    voxels.for_each_in_manager([&](auto const& level) {
      int const stride = tessera::max_element(level.tensor_stride());
      bool const has_room = !labels && stride == 1;  // hard voxels have it for all that there may be
      auto& planned = rows_[stride];
      auto const rows = level.num_rows();
      if (rows > planned && !has_room) { raise(planned, std::min(rows + rows / 4 + 1, max_points_)); }
    });
    if constexpr (labels) {  // of an encoder the grid of the voxels is the box
      auto const& box = voxels.box();
      for (int axis = 0; axis < 3; ++axis) {
        int const above = box.upper[axis] + 1;
        int const below = -box.lower[axis];
        if (above > upper_[axis] && above < widest) { raise(upper_[axis], power_beyond(above)); }
        if (below > below_[axis] && below < widest) { raise(below_[axis], power_beyond(below)); }
      }
    }
    return grew;
  }

  [[nodiscard]] tessera::PointLimits<Voxelization> limits() const
  {
    tessera::PlanLimits limits;
    limits.channels(in_channels_).max_points(max_points_);
    for (auto const& [stride, rows] : rows_) {
      if (rows == 0) { continue; }
      stride > 1 ? limits.max_voxels_at(stride, rows) : limits.max_voxels(rows);
    }
    if constexpr (labels) {
      tessera::CoordinateBox<3> box;
      box.batches = 1;
      for (int axis = 0; axis < 3; ++axis) {
        box.lower[axis] = -below_[axis];
        box.upper[axis] = upper_[axis] - 1;
      }
      limits.box(box);
    }
    return limits.voxelize(voxels_);
  }

  Model* model_;
  Voxelization voxels_;
  std::int64_t max_points_;
  int in_channels_;
  std::map<int, std::int64_t> rows_;                      // by tensor stride
  tessera::IntArray<3> upper_ = tessera::IntArray<3>(1);  // positions are below it, in voxels
  tessera::IntArray<3> below_ = tessera::IntArray<3>(0);  // and not below minus this
  std::unique_ptr<Plan> plan_;
  PlanState state_;
};

}  // namespace label_scans
