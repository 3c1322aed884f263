// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/data/detail/random.hpp>

#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

using Vec3 = std::array<double, 3>;

enum class SolidShape : std::uint8_t { box, cylinder, ellipsoid };

/// A solid of the scene. `half` are its half extents along its own axes, which are turned by the
/// yaw about z; a cylinder stands upright with radius half[0].
struct Solid {
  SolidShape shape = SolidShape::box;
  Vec3 centre{};
  Vec3 half{};
  double cos_yaw = 1.0;
  double sin_yaw = 0.0;
  std::int32_t label = 0;
  double reflectivity = 0.5;
  double loss = 0.0;  ///< share of the rays that give no return (glass) or pass through (leaves)
};

/// The labels of the scene, by the order of SceneClass.
struct SceneLabels {
  std::int32_t ground, car, building, pole, vegetation;
};

/// The street runs along x; its middle is y = 0, the carriageway ends at a kerb.
class Street {
 public:
  static constexpr double block = 20.0;   ///< metres of street generated at a time
  static constexpr double kerb = 5.4;     ///< |y| at which the pavement begins
  static constexpr double lowest = -0.1;  ///< bounds of the ground's height
  static constexpr double highest = 0.26;

  Street(std::uint64_t seed, std::int64_t num_blocks, SceneLabels labels) noexcept
      : seed_{seed}, num_blocks_{num_blocks}, labels_{labels}
  {
    Random random{seed, 0x67726f756e64};
    for (double& phase : phases_) { phase = random.uniform(0.0, 6.283185307179586); }
  }

  /// Height of the ground: long waves, a kerb of 13 cm, and tufts beyond the pavement.
  [[nodiscard]] double height(double x, double y) const noexcept
  {
    double const side = std::fabs(y);
    double z = 0.05 * std::sin(0.11 * x + phases_[0]) + 0.03 * std::sin(0.23 * y + 0.07 * x + phases_[1]);
    double const step = (side - kerb) / 0.08;
    if (step > 0.0) { z += 0.13 * (step < 1.0 ? step : 1.0); }
    if (side > 8.5) { z += 0.04 * std::sin(2.1 * x + phases_[2]) * std::sin(1.7 * y + phases_[3]); }
    return z;
  }

  /// Appends what stands on block `index`, i.e. on [index, index + 1) * block metres along x.
  void append_block(std::int64_t index, std::vector<Solid>& solids) const
  {
    auto const kind = ((index % num_blocks_) + num_blocks_) % num_blocks_;
    double const x0 = static_cast<double>(index) * block;
    for (double const side : {-1.0, 1.0}) {
      Random random{seed_, side < 0.0 ? 1U : 2U, static_cast<std::uint64_t>(kind)};
      append_cars(x0, side, random, solids);
      append_poles(x0, side, random, solids);
      append_pavement_tree(x0, side, random, solids);
      if (random.chance(0.7)) {
        append_building(x0, side, random, solids);
      } else {
        append_garden(x0, side, random, solids);
      }
    }
  }

 private:
  // No two random numbers are drawn in one expression: the order of evaluation is the compiler's.
  void append_box(double x, double y, double z0, Vec3 size, double yaw, std::int32_t label,
                  double reflectivity, std::vector<Solid>& solids, double loss = 0.0) const
  {
    solids.push_back({SolidShape::box,
                      {x, y, z0 + size[2] / 2},
                      {size[0] / 2, size[1] / 2, size[2] / 2},
                      std::cos(yaw),
                      std::sin(yaw),
                      label,
                      reflectivity,
                      loss});
  }

  void append_cylinder(double x, double y, double radius, double tall, std::int32_t label,
                       double reflectivity, std::vector<Solid>& solids) const
  {
    double const z0 = height(x, y) - 0.1;
    solids.push_back({SolidShape::cylinder,
                      {x, y, z0 + tall / 2},
                      {radius, radius, tall / 2},
                      1.0,
                      0.0,
                      label,
                      reflectivity,
                      0.0});
  }

  void append_leaves(double x, double y, double z, Vec3 half, Random& random,
                     std::vector<Solid>& solids) const
  {
    double const yaw = random.uniform(0.0, 3.0);
    solids.push_back({SolidShape::ellipsoid,
                      {x, y, z},
                      half,
                      std::cos(yaw),
                      std::sin(yaw),
                      labels_.vegetation,
                      random.uniform(0.25, 0.5),
                      0.15});
  }

  /// Body, cabin and the two axles with their wheels.
  void append_car(double x, double y, double yaw, Random& random, std::vector<Solid>& solids) const
  {
    double const z = height(x, y);
    double const length = random.uniform(3.6, 4.8);
    double const width = random.uniform(1.65, 1.9);
    double const waist = random.uniform(0.5, 0.7);
    double const roof = random.uniform(0.45, 0.65);
    double const paint = random.uniform(0.1, 0.9);
    double const cx = std::cos(yaw);
    double const sx = std::sin(yaw);
    append_box(x, y, z + 0.3, {length, width, waist}, yaw, labels_.car, paint, solids);
    double const back = -0.06 * length;
    append_box(x + back * cx, y + back * sx, z + 0.3 + waist, {0.55 * length, 0.88 * width, roof}, yaw,
               labels_.car, paint, solids, 0.35);
    for (double const axle : {-0.31, 0.31}) {
      append_box(x + axle * length * cx, y + axle * length * sx, z, {0.62, width - 0.06, 0.32}, yaw,
                 labels_.car, 0.08, solids);
    }
  }

  void append_cars(double x0, double side, Random& random, std::vector<Solid>& solids) const
  {
    double const slot = block / 3;
    for (int i = 0; i < 3; ++i) {
      if (!random.chance(0.45)) { continue; }
      double const x = x0 + slot * (i + 0.5) + random.uniform(-0.5, 0.5);
      double const y = side * random.uniform(4.15, 4.4);
      double const yaw = random.uniform(-0.04, 0.04) + (side > 0.0 ? half_turn : 0.0);
      append_car(x, y, yaw, random, solids);
    }
    if (side > 0.0 && random.chance(0.2)) {  // oncoming; the lane at y < 0 is the scanner's
      double const x = x0 + random.uniform(3.0, 17.0);
      double const y = random.uniform(1.6, 1.9);
      append_car(x, y, half_turn, random, solids);
    }
  }

  void append_poles(double x0, double side, Random& random, std::vector<Solid>& solids) const
  {
    if (random.chance(0.75)) {  // a lamp with its arm over the street
      double const x = x0 + random.uniform(1.0, 4.0);
      double const y = side * 6.1;
      double const tall = random.uniform(5.0, 8.0);
      double const radius = random.uniform(0.07, 0.12);
      append_cylinder(x, y, radius, tall, labels_.pole, 0.45, solids);
      append_box(x, y - side * 0.7, height(x, y) + tall - 0.25, {0.12, 1.4, 0.12}, 0.0, labels_.pole, 0.4,
                 solids);
    }
    if (random.chance(0.5)) {  // a traffic sign
      double const x = x0 + random.uniform(6.0, 18.0);
      double const y = side * random.uniform(5.8, 6.3);
      double const tall = random.uniform(2.2, 3.0);
      append_cylinder(x, y, 0.04, tall, labels_.pole, 0.5, solids);
      append_box(x, y, height(x, y) + tall - 0.7, {0.05, 0.6, 0.6}, 0.0, labels_.pole, 0.95, solids);
    }
  }

  void append_tree(double x, double y, Random& random, std::vector<Solid>& solids) const
  {
    double const trunk = random.uniform(1.6, 3.0);
    double const radius = random.uniform(0.1, 0.25);
    double const z = height(x, y);
    append_cylinder(x, y, radius, trunk + 0.6, labels_.vegetation, 0.3, solids);
    for (int i = 0; i < 3; ++i) {
      double const r = random.uniform(0.9, 1.7);
      double const dx = random.uniform(-0.7, 0.7);
      double const dy = random.uniform(-0.7, 0.7);
      double const dz = random.uniform(-0.4, 1.2);
      double const thin = random.uniform(0.7, 1.0);
      append_leaves(x + dx, y + dy, z + trunk + r + dz, {r, r * thin, r}, random, solids);
    }
  }

  void append_bush(double x, double y, Random& random, std::vector<Solid>& solids) const
  {
    double const r = random.uniform(0.4, 1.0);
    double const thin = random.uniform(0.6, 1.0);
    double const tall = random.uniform(0.7, 1.2);
    append_leaves(x, y, height(x, y) + 0.5 * r, {r, r * thin, r * tall}, random, solids);
  }

  void append_pavement_tree(double x0, double side, Random& random, std::vector<Solid>& solids) const
  {
    if (!random.chance(0.4)) { return; }
    double const x = x0 + random.uniform(8.0, 14.0);
    double const y = side * random.uniform(7.3, 8.0);
    append_tree(x, y, random, solids);
  }

  void append_building(double x0, double side, Random& random, std::vector<Solid>& solids) const
  {
    double const length = random.uniform(11.0, 19.5);
    double const x = x0 + 10.0 + random.uniform(-0.2, 0.2);
    double const front = random.uniform(9.5, 14.0);
    double const deep = random.uniform(8.0, 14.0);
    double const tall = random.uniform(5.0, 16.0);
    double const wall = random.uniform(0.3, 0.6);
    append_box(x, side * (front + deep / 2), -0.3, {length, deep, tall}, 0.0, labels_.building, wall, solids);
    if (random.chance(0.7)) {  // a bay or a porch before the wall
      double const out = random.uniform(0.5, 1.3);
      double const along = random.uniform(-0.3, 0.3) * length;
      double const broad = random.uniform(2.0, 4.0);
      double const high = random.uniform(2.5, 5.0);
      append_box(x + along, side * (front - out / 2), -0.3, {broad, out, high}, 0.0, labels_.building, wall,
                 solids);
    }
    for (int i = 0; i < 4; ++i) {
      if (!random.chance(0.5)) { continue; }
      double const along = x0 + 5.0 * i + random.uniform(0.5, 4.5);
      append_bush(along, side * (front - 1.6), random, solids);
    }
  }

  void append_garden(double x0, double side, Random& random, std::vector<Solid>& solids) const
  {
    for (int i = 0; i < 4; ++i) {
      double const x = x0 + random.uniform(0.0, block);
      double const y = side * random.uniform(10.0, 30.0);
      if (random.chance(0.6)) {
        append_tree(x, y, random, solids);
      } else {
        append_bush(x, y, random, solids);
      }
    }
  }

  static constexpr double half_turn = 3.141592653589793;

  std::uint64_t seed_;
  std::int64_t num_blocks_;
  SceneLabels labels_;
  std::array<double, 4> phases_{};
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
