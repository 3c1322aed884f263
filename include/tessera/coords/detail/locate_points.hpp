// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/detail/bounds_and_count.hpp>
#include <tessera/coords/detail/point_rows.hpp>
#include <tessera/coords/quantize_options.hpp>
#include <tessera/core/detail/lanes.hpp>
#include <tessera/core/parallel.hpp>
#include <tessera/core/scalar.hpp>

#include <cfloat>
#include <climits>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace tessera {
inline namespace v0 {

namespace detail {

// Single precision, rounded after each operation: what numpy computes, whatever flags the kernels are
// compiled with.
[[nodiscard]] TESSERA_HOST_DEVICE inline float rounded_subtract(float a, float b)
{
#if defined(__CUDA_ARCH__)
  return __fsub_rn(a, b);
#else
  return a - b;
#endif
}
[[nodiscard]] TESSERA_HOST_DEVICE inline float rounded_divide(float a, float b)
{
#if defined(__CUDA_ARCH__)
  return __fdiv_rn(a, b);
#elif defined(__FAST_MATH__)
  float const volatile divisor = b;  // else a product with an estimate of 1 / b may take its place
  return a / divisor;
#else
  return a / b;
#endif
}
[[nodiscard]] TESSERA_HOST_DEVICE inline double rounded_divide(double a, double b)
{
  return a / b;
}

/// A float as an integer that compares as the float does, and back.
[[nodiscard]] TESSERA_HOST_DEVICE inline std::int32_t to_ordered(float value)
{
  std::int32_t bits = 0;
  memcpy(&bits, &value, sizeof(bits));
  return bits >= 0 ? bits : bits ^ INT_MAX;
}
[[nodiscard]] TESSERA_HOST_DEVICE inline float from_ordered(std::int32_t ordered)
{
  std::int32_t const bits = ordered >= 0 ? ordered : ordered ^ INT_MAX;
  float value = 0;
  memcpy(&value, &bits, sizeof(value));
  return value;
}

/// Sets to[i] to a value.
template <class T>
struct FillValue {
  T* to;
  T value;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const { to[i] = value; }
};

enum class PointFate : std::uint8_t { kept, dropped, too_far };

/// The rule from a position to a voxel.
template <int Dim>
struct VoxelRule {
  float size[Dim];
  float origin[Dim];
  float lower[Dim];  // points in [lower, upper) are kept
  float upper[Dim];
  IntArray<Dim> extent;  // voxels in [0, extent) are kept, if has_grid
  bool has_grid;
  Rounding rounding;
  GridOrigin grid_origin;

  /// Whether p [Dim] is finite and in the range.
  [[nodiscard]] TESSERA_HOST_DEVICE bool keeps(float const* p) const
  {
    for (int i = 0; i < Dim; ++i) {
      if (!is_finite(p[i]) || p[i] < lower[i] || p[i] >= upper[i]) { return false; }
    }
    return true;
  }

  [[nodiscard]] TESSERA_HOST_DEVICE float cell(float p, float zero, int axis) const
  {
    float const cells = rounded_divide(rounded_subtract(p, zero), size[axis]);
    return rounding == Rounding::floor ? floorf(cells) : rintf(cells);
  }

  /// The voxel of p [Dim], a point that keeps(p), in a cloud whose lowest coordinates are `lowest` [Dim].
  [[nodiscard]] TESSERA_HOST_DEVICE PointFate locate(float const* p, std::int32_t const* lowest,
                                                     IntArray<Dim>& voxel) const
  {
    constexpr float farthest = 1 << 30;
    for (int i = 0; i < Dim; ++i) {
      float const zero = grid_origin == GridOrigin::lowest_point ? from_ordered(lowest[i]) : origin[i];
      float const here = cell(p[i], zero, i);
      bool fits = here >= -farthest && here <= farthest;
      std::int64_t index = fits ? static_cast<std::int64_t>(here) : 0;
      if (grid_origin == GridOrigin::lowest_voxel) {
        // cell() is monotone, so the lowest point has the lowest voxel
        float const first = cell(from_ordered(lowest[i]), origin[i], i);
        fits = fits && first >= -farthest && first <= farthest;
        index = fits ? index - static_cast<std::int64_t>(first) : 0;
        fits = fits && index <= 1 << 30;
      }
      if (has_grid && !(fits && index >= 0 && index < extent[i])) { return PointFate::dropped; }
      if (!fits) { return PointFate::too_far; }
      voxel[i] = static_cast<int>(index);
    }
    return PointFate::kept;
  }
};

/// The position of point i.
template <int Dim>
TESSERA_HOST_DEVICE void load_position(PointRows const& points, std::int64_t i, float (&p)[Dim])
{
  for (int axis = 0; axis < Dim; ++axis) { p[axis] = points.positions(i, axis); }
}

/// lowest[b, axis] = to_ordered(minimum over the kept points of cloud b); worker w takes points w,
/// w + workers, ...
template <int Dim>
struct FindLowest {
  PointRows points;
  VoxelRule<Dim> rule;
  std::int64_t workers;
  std::int32_t* lowest;  // [num_batches, Dim], filled with INT_MAX

  TESSERA_HOST_DEVICE void operator()(std::int64_t worker) const
  {
    std::int32_t part[Dim] = {};
    int current = -1;
    for (auto i = worker; i < points.count; i += workers) {
      float p[Dim];
      load_position(points, i, p);
      int const b = points.batch_of(i);
      if (!points.has_cloud(b) || !rule.keeps(p)) { continue; }
      for (int axis = 0; axis < Dim; ++axis) {
        auto const value = to_ordered(p[axis]);
        if (b != current && current >= 0) {
          atomic_minimum(&lowest[std::int64_t{current} * Dim + axis], part[axis]);
        }
        part[axis] = b != current || value < part[axis] ? value : part[axis];
      }
      current = b;
    }
    merge(current, part);
  }

 private:
  TESSERA_HOST_DEVICE void merge(int cloud, std::int32_t (&part)[Dim]) const
  {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    auto const together = active_mask();  // one address takes one minimum at a time: one per warp
    int const common = __reduce_max_sync(together, cloud);
    if (__all_sync(together, cloud < 0 || cloud == common)) {
      for (int axis = 0; axis < Dim; ++axis) {
        part[axis] = __reduce_min_sync(together, cloud < 0 ? INT_MAX : part[axis]);
      }
      cloud = lane_id() == first_lane(together) ? common : -1;
    }
#endif
    for (int axis = 0; axis < Dim && cloud >= 0; ++axis) {
      atomic_minimum(&lowest[std::int64_t{cloud} * Dim + axis], part[axis]);
    }
  }
};

/// What quantizing found, read by the host.
template <int Dim>
struct PointStatistics {
  BoundsAndCount<Dim> voxels;  // bounds of the kept points' voxels; count: how many different ones
  std::int32_t dropped = 0;
  std::int32_t first_too_far = INT_MAX;  // lowest index of a point whose voxel index does not fit
  PointFaults faults;
};

/// voxels[i] = voxel of point i, batch -1 where it has none; worker w takes points w, w + workers, ...
template <int Dim>
struct LocatePoints {
  PointRows points;
  VoxelRule<Dim> rule;
  std::int64_t workers;
  std::int32_t const* lowest;  // [num_batches, Dim], or null where the rule does not need it
  Coordinate<Dim>* voxels;     // [count]
  PointStatistics<Dim>* statistics;

  TESSERA_HOST_DEVICE void operator()(std::int64_t worker) const
  {
    BoundsAndCount<Dim> bounds;
    std::int32_t dropped = 0;
    for (auto i = worker; i < points.count; i += workers) {
      auto const fate = locate(i);
      if (fate == PointFate::kept) { bounds.include(voxels[i]); }
      if (fate == PointFate::dropped) { ++dropped; }
      if (fate == PointFate::too_far) {
        atomic_minimum(&statistics->first_too_far, static_cast<std::int32_t>(i));
      }
    }
    if (bounds.highest_batch != INT_MIN) { statistics->voxels.merge_atomically(bounds); }
    if (dropped > 0) { atomic_add(&statistics->dropped, dropped); }
  }

 private:
  TESSERA_HOST_DEVICE PointFate locate(std::int64_t i) const
  {
    float p[Dim];
    load_position(points, i, p);
    Coordinate<Dim> voxel;
    voxel.batch = points.batch_of(i);
    auto fate = PointFate::dropped;
    if (!points.has_cloud(voxel.batch)) {
      atomic_minimum(&statistics->faults.first_stray, static_cast<std::int32_t>(i));
    } else if (rule.keeps(p)) {
      auto const* const base = lowest != nullptr ? lowest + std::int64_t{voxel.batch} * Dim : nullptr;
      fate = rule.locate(p, base, voxel.position);
    }
    if (fate != PointFate::kept) { voxel.batch = -1; }
    voxels[i] = voxel;
    return fate;
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
