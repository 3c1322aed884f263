// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/int_array.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

namespace complete_shape {

using Cell = tessera::IntArray<3>;
using Vector = std::array<double, 3>;

enum class ShapeKind : std::uint8_t { sphere, box, torus, combination };

inline constexpr std::size_t num_kinds = 4;
inline constexpr std::array<char const*, num_kinds> kind_names{"sphere", "box", "torus", "combination"};

/// The cells that the surface of a shape passes through, and those of them that somebody has seen; both in
/// lexicographic order.
struct Shape {
  ShapeKind kind = ShapeKind::sphere;
  std::vector<Cell> whole;
  std::vector<Cell> partial;
};

/// Numbers that are the same with every standard library, which those of its distributions are not.
class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_{seed} {}

  [[nodiscard]] double uniform(double low, double high)
  {
    return low + (high - low) * (static_cast<double>(engine_() >> 11) * 0x1p-53);
  }
  /// One of 0 to count - 1.
  [[nodiscard]] std::size_t number(std::size_t count)
  {
    return static_cast<std::size_t>(uniform(0, static_cast<double>(count)));
  }
  /// Evenly on the unit sphere.
  [[nodiscard]] Vector direction()
  {
    for (;;) {
      Vector const v{uniform(-1, 1), uniform(-1, 1), uniform(-1, 1)};
      double const length = std::sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
      if (length > 0.1 && length < 1) { return {v[0] / length, v[1] / length, v[2] / length}; }
    }
  }

 private:
  std::mt19937_64 engine_;
};

[[nodiscard]] inline double dot(Vector const& a, Vector const& b)
{
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

/// A sphere, a box along the axes, or a torus around one of them; lengths are in cells.
class Solid {
 public:
  /// @param scale  of its size, in cells
  Solid(ShapeKind kind, Vector const& centre, double scale, Random& random)
      : kind_{kind}, centre_{centre}, axis_{random.number(3)}
  {
    switch (kind) {
      case ShapeKind::box:
        for (auto& half_side : size_) { half_side = scale * random.uniform(0.14, 0.36); }
        break;
      case ShapeKind::torus:
        size_ = {scale * random.uniform(0.22, 0.3), scale * random.uniform(0.08, 0.13), 0};
        break;
      default: size_[0] = scale * random.uniform(0.22, 0.4);
    }
  }

  /// How far a point is from the surface; negative inside.
  [[nodiscard]] double distance(Vector const& point) const
  {
    Vector const p{point[0] - centre_[0], point[1] - centre_[1], point[2] - centre_[2]};
    if (kind_ == ShapeKind::torus) {
      double const height = p[axis_];
      double const ring = std::sqrt(std::max(0.0, dot(p, p) - height * height)) - size_[0];
      return std::sqrt(ring * ring + height * height) - size_[1];
    }
    if (kind_ == ShapeKind::box) {
      Vector outside{};
      double inside = -1e9;
      for (std::size_t i = 0; i < 3; ++i) {
        double const beyond = std::fabs(p[i]) - size_[i];
        outside[i] = std::max(beyond, 0.0);
        inside = std::max(inside, beyond);
      }
      return std::sqrt(dot(outside, outside)) + std::min(inside, 0.0);
    }
    return std::sqrt(dot(p, p)) - size_[0];
  }

 private:
  ShapeKind kind_;
  Vector centre_;
  std::size_t axis_;  // of a torus
  Vector size_{};     // half sides; radii of ring and tube; radius
};

/// The solids that a shape of this kind consists of; of a combination two of different kinds.
[[nodiscard]] inline std::vector<Solid> solids_of(ShapeKind kind, int grid, Random& random)
{
  auto const centre = [&](Vector const& towards, double by) {
    Vector result{};
    for (std::size_t i = 0; i < 3; ++i) {
      result[i] = grid * (0.5 + by * towards[i] + random.uniform(-0.04, 0.04));
    }
    return result;
  };
  if (kind != ShapeKind::combination) { return {Solid{kind, centre({}, 0), double(grid), random}}; }
  auto const apart = random.direction();
  auto const first = random.number(3);
  auto const second = (first + 1 + random.number(2)) % 3;
  std::vector<Solid> result;
  result.emplace_back(static_cast<ShapeKind>(first), centre(apart, 0.16), 0.65 * grid, random);
  result.emplace_back(static_cast<ShapeKind>(second), centre(apart, -0.16), 0.65 * grid, random);
  return result;
}

/// A shape in a grid of `grid` cells on each axis: cells whose centre is within 0.7 of the surface. Of the
/// partial one everything beyond a plane is missing: a part of 0.4 to 0.6 is left.
[[nodiscard]] inline Shape make_shape(ShapeKind kind, int grid, std::uint64_t seed)
{
  Random random{seed};
  Shape shape{kind, {}, {}};
  auto const solids = solids_of(kind, grid, random);
  auto const normal = random.direction();
  double const part = random.uniform(0.4, 0.6);
  std::vector<double> heights;
  for (int x = 0; x < grid; ++x) {
    for (int y = 0; y < grid; ++y) {
      for (int z = 0; z < grid; ++z) {
        Vector const point{x + 0.5, y + 0.5, z + 0.5};
        double distance = 1e9;
        for (auto const& solid : solids) { distance = std::min(distance, solid.distance(point)); }
        if (std::fabs(distance) > 0.7) { continue; }
        shape.whole.push_back({x, y, z});
        heights.push_back(dot(normal, point));
      }
    }
  }
  auto sorted = heights;
  std::sort(sorted.begin(), sorted.end());
  auto const kept = static_cast<std::size_t>(part * static_cast<double>(sorted.size()));
  for (std::size_t i = 0; i < heights.size(); ++i) {
    if (kept < sorted.size() && heights[i] < sorted[kept]) { shape.partial.push_back(shape.whole[i]); }
  }
  return shape;
}

/// Shape `index` of a training, or of those held out, which no training sees: kinds take turns.
[[nodiscard]] inline Shape shape_of(bool held_out, int grid, std::uint64_t seed, std::uint64_t index)
{
  auto const kind = static_cast<ShapeKind>(index % num_kinds);
  std::seed_seq mixed{std::uint32_t(held_out), std::uint32_t(seed), std::uint32_t(seed >> 32),
                      std::uint32_t(index), std::uint32_t(index >> 32)};
  std::array<std::uint32_t, 2> words{};
  mixed.generate(words.begin(), words.end());
  return make_shape(kind, grid, std::uint64_t{words[0]} << 32 | words[1]);
}

/// Cells of both by cells of either; both sorted.
[[nodiscard]] inline double intersection_over_union(std::vector<Cell> const& a, std::vector<Cell> const& b)
{
  std::size_t both = 0;
  for (auto i = a.begin(), j = b.begin(); i != a.end() && j != b.end();) {
    bool const less = std::lexicographical_compare(i->begin(), i->end(), j->begin(), j->end());
    bool const same = *i == *j;
    both += same ? 1 : 0;
    i += less || same ? 1 : 0;
    j += less ? 0 : 1;
  }
  auto const either = a.size() + b.size() - both;
  return either == 0 ? 1 : static_cast<double>(both) / static_cast<double>(either);
}

}  // namespace complete_shape
