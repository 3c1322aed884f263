// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate_set.hpp>
#include <tessera/coords/fixed_quantize.hpp>
#include <tessera/coords/voxelize.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {

template <class Voxelization>
class PointLimits;

/// Of plans whose model takes points and makes voxels of them itself: PlanLimits::model_voxelizes().
struct ModelVoxelizes {};

/// What a Plan is made for: `PlanLimits().max_voxels(120'000).grid(1, {1440, 1440, 40})`.
class PlanLimits {
 public:
  /// Voxels of an input, at most; must be given.
  PlanLimits& max_voxels(std::int64_t rows) { return max_voxels_ = rows, *this; }

  /// Points of a scan, at most, of a plan that makes the voxels itself; then max_voxels() is as much without
  /// being told.
  PlanLimits& max_points(std::int64_t count) { return max_points_ = count, *this; }

  /// Numbers of a point: its position, then whatever else. The network's features are the last channels() of
  /// them; without it a point has as many columns as channels.
  PlanLimits& point_columns(int count) { return point_columns_ = count, *this; }

  /// The plan takes points and makes voxels of them, as sparse_quantize() of these QuantizeOptions or
  /// hard_voxelize() of these VoxelizeOptions does: to be said last.
  template <class Options>
  [[nodiscard]] PointLimits<Options> voxelize(Options const& options) const
  {
    return {*this, options};
  }

  /// The plan takes points and gives them to the model as a PointTensor of batch entry 0, as
  /// models::SPVCNN and models::SPVNAS take them; max_voxels() is the room for the voxels that it makes of
  /// them with initial_voxelize(), box() or grid() where they may be, in voxels: to be said last.
  [[nodiscard]] PointLimits<ModelVoxelizes> model_voxelizes() const;

  /// Channels of an input; without it those that the model's options name.
  PlanLimits& channels(int count) { return channels_ = count, *this; }

  /// The plan runs what nn::fuse() makes of the model: norms, activations and sums inside the convolutions.
  /// The model stays as it is.
  PlanLimits& fuse(bool value = true) { return fuses_ = value, *this; }

  /// Voxels of every set that layers derive, at most; without it as many as the input may have.
  PlanLimits& max_derived_voxels(std::int64_t rows) { return derived_.max_rows = rows, *this; }

  /// Voxels of derived sets of this tensor stride (the largest of any axis), at most. Room that is not used
  /// costs memory and a little time.
  PlanLimits& max_voxels_at(int tensor_stride, std::int64_t rows)
  {
    derived_.max_rows_at.emplace_back(tensor_stride, rows);
    return *this;
  }

  /// The same for the sets that layers have derived from `x` so far, and max_voxels() from `x` itself:
  /// `slack` times the rows they have.
  /// Stream: waits where the host does not know the numbers of rows yet.
  template <int Dim, class Space>
  PlanLimits& like(CoordinateSet<Dim, Space> const& x, double slack)
  {
    x.for_each_in_manager([&](auto const& set) {
      auto const rows = static_cast<std::int64_t>(std::ceil(slack * static_cast<double>(set.num_rows()))) + 1;
      if (max_voxels_ == 0) {
        max_voxels(rows);
      } else {
        max_voxels_at(max_element(set.tensor_stride()), rows);
      }
    });
    return *this;
  }

  /// The grid: batch entries [0, batches), positions [0, extent) on every axis. It becomes the input's
  /// spatial range, so that outputs are those of a dense convolution over it; and the smaller it is, the
  /// faster maps are made.
  template <int Dim>
  PlanLimits& grid(SpatialRange<Dim> const& range)
  {
    batches_ = range.batches;
    lower_.assign(static_cast<std::size_t>(Dim), 0);
    upper_.clear();
    for (int i = 0; i < Dim; ++i) { upper_.push_back(range.extent[i] - 1); }
    is_range_ = true;
    return *this;
  }

  /// Inclusive bounds of the positions, where networks run without a spatial range. Without grid() and box()
  /// positions are [-2^16, 2^16) in up to three dimensions, of one batch entry.
  template <int Dim>
  PlanLimits& box(CoordinateBox<Dim> const& bounds)
  {
    batches_ = bounds.batches;
    lower_.assign(bounds.lower.begin(), bounds.lower.end());
    upper_.assign(bounds.upper.begin(), bounds.upper.end());
    is_range_ = false;
    return *this;
  }

  /// @name For Plan
  /// @{

  /// @throws invalid_argument  max_voxels() below 1, bounds of other dimensions or without any cell
  template <int Dim>
  [[nodiscard]] CoordinateBox<Dim> box() const
  {
    detail::expects(max_voxels_ >= 1, "Plan: limits of ", max_voxels_,
                    " voxels; PlanLimits::max_voxels() must be at least 1");
    CoordinateBox<Dim> result;
    result.batches = batches_;
    if (lower_.empty()) {
      int const bits = Dim <= 3 ? 17 : 60 / Dim;
      result.lower = -(1 << (bits - 1));
      result.upper = (1 << (bits - 1)) - 1;
      return result;
    }
    detail::expects(lower_.size() == Dim, "Plan: limits of ", lower_.size(), " axes for a network of ", Dim);
    for (int i = 0; i < Dim; ++i) {
      result.lower[i] = lower_[static_cast<std::size_t>(i)];
      result.upper[i] = upper_[static_cast<std::size_t>(i)];
    }
    detail::expects(!result.empty(), "Plan: limits that leave no cell: ", batches_, " batch entries, ",
                    detail::list(result.lower), " to ", detail::list(result.upper));
    return result;
  }

  /// Options of the input's coordinate set.
  template <int Dim>
  [[nodiscard]] CoordinateSetOptions<Dim> set_options() const
  {
    CoordinateSetOptions<Dim> options;
    options.fixed_capacity = derived_;
    options.fixed_capacity->releases_maps = true;
    if (derived_.max_rows == INT_MAX) { options.fixed_capacity->max_rows = max_voxels_; }
    if (is_range_) {
      SpatialRange<Dim> range{batches_, {}};
      for (int i = 0; i < Dim; ++i) { range.extent[i] = box<Dim>().upper[i] + 1; }
      options.spatial_range = range;
    }
    return options;
  }
  [[nodiscard]] std::int64_t voxels() const noexcept { return max_voxels_; }
  [[nodiscard]] std::int64_t points() const noexcept { return max_points_; }
  [[nodiscard]] int columns() const noexcept { return point_columns_; }
  [[nodiscard]] bool is_bounded() const noexcept { return !lower_.empty(); }
  [[nodiscard]] int channels() const noexcept { return channels_; }
  [[nodiscard]] bool fuses() const noexcept { return fuses_; }
  /// @}

 private:
  std::int64_t max_voxels_ = 0;
  std::int64_t max_points_ = 0;
  int point_columns_ = 0;
  int channels_ = 0;
  FixedCapacity derived_;
  int batches_ = 1;
  std::vector<int> lower_;
  std::vector<int> upper_;
  bool is_range_ = false;
  bool fuses_ = false;
};

/// Limits of a plan that takes points: PlanLimits::voxelize().
template <class Voxelization>
class PointLimits : public PlanLimits {
 public:
  PointLimits(PlanLimits const& limits, Voxelization const& options)
      : PlanLimits{limits}, voxelization_{options}
  {}
  [[nodiscard]] Voxelization const& voxelization() const noexcept { return voxelization_; }

 private:
  Voxelization voxelization_;
};

inline PointLimits<ModelVoxelizes> PlanLimits::model_voxelizes() const
{
  return {*this, ModelVoxelizes{}};
}

namespace detail {

/// `limits` with everything said that follows from what they say.
[[nodiscard]] inline PlanLimits const& resolved(PlanLimits const& limits)
{
  return limits;
}

template <int Dim>
[[nodiscard]] PointLimits<QuantizeOptions<Dim>> resolved(PointLimits<QuantizeOptions<Dim>> limits)
{
  expects(limits.points() >= 1, "Plan: limits of ", limits.points(),
          " points; PlanLimits::max_points() must be at least 1");
  if (limits.voxels() == 0) { limits.max_voxels(limits.points()); }
  auto const& options = limits.voxelization();
  auto const box = voxel_box(options);
  if (options.grid()) {
    SpatialRange<Dim> const grid{1, *options.grid()};
    expects(!limits.is_bounded() || limits.template set_options<Dim>().spatial_range == grid,
            "Plan: PlanLimits::grid() or box() is not the grid of the QuantizeOptions, ", list(grid.extent));
    limits.grid(grid);
  } else if (!limits.is_bounded() && box) {
    limits.box(*box);
  }
  return limits;
}

[[nodiscard]] inline PointLimits<ModelVoxelizes> resolved(PointLimits<ModelVoxelizes> limits)
{
  expects(limits.points() >= 1, "Plan: limits of ", limits.points(),
          " points; PlanLimits::max_points() must be at least 1");
  if (limits.voxels() == 0) { limits.max_voxels(limits.points()); }
  return limits;
}

[[nodiscard]] inline PointLimits<VoxelizeOptions> resolved(PointLimits<VoxelizeOptions> limits)
{
  expects(limits.points() >= 1, "Plan: limits of ", limits.points(),
          " points; PlanLimits::max_points() must be at least 1");
  auto const& options = limits.voxelization();
  auto const most = std::min<std::int64_t>(limits.points(), options.voxels());
  expects(limits.voxels() == 0 || limits.voxels() >= most, "Plan: limits of ", limits.voxels(),
          " voxels where ", limits.points(), " points and the VoxelizeOptions may make ", most);
  limits.max_voxels(most);
  auto const range = voxel_range(options, 1);
  expects(!limits.is_bounded() || limits.template set_options<3>().spatial_range == range,
          "Plan: PlanLimits::grid() or box() is not the grid of the VoxelizeOptions, ", list(range.extent));
  limits.grid(range);
  return limits;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
