// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/data/detail/scene.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Where a ray from the origin is inside a solid, and how squarely it came in.
struct Crossing {
  double enter = 0.0;
  double leave = -1.0;   ///< leave < enter: no crossing
  double incidence = 0;  ///< |cosine| between the ray and the surface where it enters
};

/// The part of the ray `t * direction`, t > 0, within [low, high] along one axis.
inline bool clip_ray(double from, double along, double half, double& enter, double& leave, bool& moved)
{
  moved = false;
  if (along == 0.0) { return std::fabs(from) <= half; }
  double near = (-half - from) / along;
  double far = (half - from) / along;
  if (near > far) { std::swap(near, far); }
  if (near > enter) {
    enter = near;
    moved = true;
  }
  if (far < leave) { leave = far; }
  return enter <= leave;
}

/// The crossing of the ray from the origin in `direction` (length 1) with `solid`.
[[nodiscard]] inline Crossing cross_solid(Solid const& solid, Vec3 const& direction)
{
  double const c = solid.cos_yaw;
  double const s = solid.sin_yaw;
  // The ray in the solid's own axes.
  Vec3 const d{c * direction[0] + s * direction[1], c * direction[1] - s * direction[0], direction[2]};
  Vec3 const o{-(c * solid.centre[0] + s * solid.centre[1]), s * solid.centre[0] - c * solid.centre[1],
               -solid.centre[2]};
  Crossing hit{0.0, 1e9, 0.0};
  bool moved = false;
  if (solid.shape == SolidShape::box) {
    for (std::size_t axis = 0; axis < 3; ++axis) {
      if (!clip_ray(o[axis], d[axis], solid.half[axis], hit.enter, hit.leave, moved)) { return {}; }
      if (moved) { hit.incidence = std::fabs(d[axis]); }
    }
    return hit;
  }
  // |o + t d| = 1 in units of the half extents; an upright cylinder leaves z out.
  bool const upright = solid.shape == SolidShape::cylinder;
  double a = 0.0;
  double b = 0.0;
  double e = -1.0;
  for (std::size_t axis = 0; axis < (upright ? 2U : 3U); ++axis) {
    double const oo = o[axis] / solid.half[axis];
    double const dd = d[axis] / solid.half[axis];
    a += dd * dd;
    b += oo * dd;
    e += oo * oo;
  }
  double const root = b * b - a * e;
  if (a <= 0.0 || root <= 0.0) { return {}; }
  hit.enter = (-b - std::sqrt(root)) / a;
  hit.leave = (-b + std::sqrt(root)) / a;
  if (hit.leave <= 0.0) { return {}; }
  hit.incidence = std::min(1.0, std::sqrt(root / a) / std::sqrt(1.0 + std::fabs(e)));
  if (hit.enter < 0.0) { hit.enter = 0.0; }
  if (upright) {
    if (!clip_ray(o[2], d[2], solid.half[2], hit.enter, hit.leave, moved)) { return {}; }
    if (moved) { hit.incidence = std::fabs(d[2]); }
  }
  return hit;
}

/// A solid in the scanner's frame with what culls it.
struct SeenSolid {
  Solid solid;
  double near = 0.0;  ///< no point of it is closer than this
};

/// What a ray meets first; no solid: nothing within the range it was given.
struct Met {
  Solid const* solid = nullptr;
  double range = 0.0;
  double incidence = 0.0;
};

/// For every azimuth column the solids that a ray of it can meet, nearest first.
class AzimuthColumns {
 public:
  AzimuthColumns(std::vector<SeenSolid> solids, int steps)
      : solids_{std::move(solids)}, columns_(static_cast<std::size_t>(steps))
  {
    constexpr double pi = 3.141592653589793;
    std::sort(solids_.begin(), solids_.end(),
              [](SeenSolid const& a, SeenSolid const& b) { return a.near < b.near; });
    for (std::size_t i = 0; i < solids_.size(); ++i) {
      Solid const& solid = solids_[i].solid;
      double const reach = std::hypot(solid.half[0], solid.half[1]);
      double const distance = std::hypot(solid.centre[0], solid.centre[1]);
      int first = 0;
      int count = steps;
      if (distance > reach) {
        double const middle = std::atan2(solid.centre[1], solid.centre[0]);
        double const wide = std::asin(reach / distance);
        // One column more on each side, so that rounding cannot change what is met.
        first = static_cast<int>(std::floor((middle - wide) / (2 * pi) * steps)) - 1;
        count = std::min(steps, static_cast<int>(std::ceil(wide / pi * steps)) + 4);
      }
      for (int k = 0; k < count; ++k) {
        columns_[static_cast<std::size_t>(((first + k) % steps + steps) % steps)].push_back(
            static_cast<std::uint32_t>(i));
      }
    }
  }

  [[nodiscard]] std::vector<std::uint32_t> const& column(int step) const
  {
    return columns_[static_cast<std::size_t>(step)];
  }

  /// What the ray in `direction`, of azimuth step `step`, meets first. Leaves let it pass by chance, or end
  /// it somewhere inside.
  [[nodiscard]] Met nearest(int step, Vec3 const& direction, double range, Random& random) const
  {
    Met met{nullptr, range, 0.0};
    for (auto const index : column(step)) {
      auto const& seen = solids_[index];
      if (seen.near >= met.range) { break; }
      auto const hit = cross_solid(seen.solid, direction);
      if (hit.leave < hit.enter || hit.enter >= met.range) { continue; }
      double t = hit.enter;
      if (seen.solid.shape == SolidShape::ellipsoid) {
        if (random.chance(seen.solid.loss)) { continue; }
        double const depth = random.uniform();
        t += depth * depth * (hit.leave - hit.enter);
        if (t >= met.range) { continue; }
      }
      met = {&seen.solid, t, hit.incidence};
    }
    return met;
  }

  [[nodiscard]] SeenSolid const& operator[](std::uint32_t index) const { return solids_[index]; }

 private:
  std::vector<SeenSolid> solids_;
  std::vector<std::vector<std::uint32_t>> columns_;
};

/// Smallest t <= limit at which `above(t)`, the ray's height over the ground, is no longer positive;
/// a negative number if there is none. Searched on [begin, end], the part near the ground.
template <class Above>
[[nodiscard]] double cross_ground(Above const& above, double begin, double end, double limit)
{
  if (begin >= limit) { return -1.0; }
  end = std::min(end, limit);
  int const steps = std::clamp(static_cast<int>(2.0 * (end - begin)) + 2, 4, 32);
  double low = begin;
  for (int i = 1; i <= steps; ++i) {
    double high = begin + (end - begin) * i / steps;
    if (above(high) > 0.0) {
      low = high;
      continue;
    }
    for (int k = 0; k < 12; ++k) {
      double const middle = 0.5 * (low + high);
      (above(middle) > 0.0 ? low : high) = middle;
    }
    return high;
  }
  return -1.0;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
