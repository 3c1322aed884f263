// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate_set.hpp>

#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {

/// What a Plan is made for: `PlanLimits().max_voxels(120'000).grid(1, {1440, 1440, 40})`.
class PlanLimits {
 public:
  /// Voxels of an input, at most; must be given.
  PlanLimits& max_voxels(std::int64_t rows) { return max_voxels_ = rows, *this; }

  /// Channels of an input; without it those that the model's options name.
  PlanLimits& channels(int count) { return channels_ = count, *this; }

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
    x.for_each_in_frame([&](auto const& set) {
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
    if (derived_.max_rows == INT_MAX) { options.fixed_capacity->max_rows = max_voxels_; }
    if (is_range_) {
      SpatialRange<Dim> range{batches_, {}};
      for (int i = 0; i < Dim; ++i) { range.extent[i] = box<Dim>().upper[i] + 1; }
      options.spatial_range = range;
    }
    return options;
  }
  [[nodiscard]] std::int64_t voxels() const noexcept { return max_voxels_; }
  [[nodiscard]] int channels() const noexcept { return channels_; }
  /// @}

 private:
  std::int64_t max_voxels_ = 0;
  int channels_ = 0;
  FixedCapacity derived_;
  int batches_ = 1;
  std::vector<int> lower_;
  std::vector<int> upper_;
  bool is_range_ = false;
};

}  // namespace v0
}  // namespace tessera
