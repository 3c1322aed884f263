// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/data/detail/ray_cast.hpp>
#include <tessera/data/detail/scene.hpp>
#include <tessera/points/point_cloud.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {

/// What a simulated point lies on; the values are the labels of the simulated cloud.
enum class SceneClass : std::int32_t { ground, car, building, pole, vegetation };

/// Number of classes in SceneClass.
inline constexpr int num_scene_classes = 5;

/// The name of a class, e.g. "ground".
[[nodiscard]] constexpr char const* name_of(SceneClass scene_class) noexcept
{
  switch (scene_class) {
    case SceneClass::ground: return "ground";
    case SceneClass::car: return "car";
    case SceneClass::building: return "building";
    case SceneClass::pole: return "pole";
    default: return "vegetation";
  }
}

/// The scanner, the street and the drive of simulate_lidar(). The defaults are close to a Velodyne
/// HDL-64E on a car's roof, whose upper half of the beams is spaced more closely than the lower one.
struct LidarOptions {
  std::uint64_t seed = 1;  ///< of the street and of the noise

  int beams = 64;
  int azimuth_steps = 2083;         ///< rays of a beam in one turn; 2083 are 0.173 degrees apart
  double elevation_top = 2.0;       ///< degrees; of the first beam
  double elevation_middle = -8.5;   ///< degrees; where the upper half of the beams ends
  double elevation_bottom = -24.8;  ///< degrees; of the last beam
  double sensor_height = 1.73;      ///< metres over the street
  double max_range = 120.0;         ///< metres
  double range_noise = 0.015;       ///< metres; standard deviation
  double drop_rate = 0.02;          ///< share of the returns that get lost, weak far returns apart

  double street_length = 1000.0;  ///< metres, after which the same houses, cars and trees come again
  double frame_step = 1.0;        ///< metres driven between two frames
};

/// Where the scanner is: metres along and across the street, radians about z.
struct EgoPose {
  double x = 0.0;
  double y = 0.0;
  double z = 0.0;
  double yaw = 0.0;
};

namespace detail {

inline void check(LidarOptions const& o)
{
  char const* const who = "simulate_lidar";
  // Written so that NaN fails too.
  auto const within = [&](char const* name, double value, double low, double high) {
    expects(value >= low && value <= high, who, ": ", name, " is ", value, "; it must lie in [", low, ", ",
            high, "]");
  };
  within("beams", o.beams, 1, 1024);
  within("azimuth_steps", o.azimuth_steps, 1, 65536);
  within("elevation_top", o.elevation_top, -89.0, 89.0);
  within("elevation_middle", o.elevation_middle, -89.0, o.elevation_top);
  within("elevation_bottom", o.elevation_bottom, -89.0, o.elevation_middle);
  within("sensor_height", o.sensor_height, 0.5, 50.0);
  within("max_range", o.max_range, 1.0, 1000.0);
  within("range_noise", o.range_noise, 0.0, 1.0);
  within("drop_rate", o.drop_rate, 0.0, 1.0);
  within("street_length", o.street_length, Street::block, 1e9);
  within("frame_step", o.frame_step, -1000.0, 1000.0);
}

[[nodiscard]] inline Street street_of(LidarOptions const& o)
{
  auto const label = [](SceneClass c) { return static_cast<std::int32_t>(c); };
  return {o.seed,
          static_cast<std::int64_t>(o.street_length / Street::block),
          {label(SceneClass::ground), label(SceneClass::car), label(SceneClass::building),
           label(SceneClass::pole), label(SceneClass::vegetation)}};
}

[[nodiscard]] inline EgoPose pose_on(Street const& street, LidarOptions const& o, std::int64_t frame)
{
  auto const f = static_cast<double>(frame);
  expects(std::fabs(f * o.frame_step) <= 1e9, "simulate_lidar: frame ", frame, " with a frame_step of ",
          o.frame_step, " m is more than 1e9 m down the street");
  EgoPose pose{f * o.frame_step, -1.75 + 0.2 * std::sin(0.13 * f), 0.0, 0.02 * std::sin(0.07 * f)};
  pose.z = street.height(pose.x, pose.y) + o.sensor_height;
  return pose;
}

/// All solids in reach of the scanner, in its frame (x ahead, y to the left, z up, itself at 0).
[[nodiscard]] inline std::vector<SeenSolid> solids_around(Street const& street, EgoPose const& pose,
                                                          double range)
{
  std::vector<Solid> solids;
  auto const block_at = [](double x) { return static_cast<std::int64_t>(std::floor(x / Street::block)); };
  for (auto b = block_at(pose.x - range) - 1; b <= block_at(pose.x + range) + 1; ++b) {
    street.append_block(b, solids);
  }
  double const c = std::cos(pose.yaw);
  double const s = std::sin(pose.yaw);
  std::vector<SeenSolid> seen;
  for (Solid solid : solids) {
    double const x = solid.centre[0] - pose.x;
    double const y = solid.centre[1] - pose.y;
    solid.centre = {c * x + s * y, c * y - s * x, solid.centre[2] - pose.z};
    double const turned = c * solid.cos_yaw + s * solid.sin_yaw;
    solid.sin_yaw = c * solid.sin_yaw - s * solid.cos_yaw;
    solid.cos_yaw = turned;
    double const near = std::hypot(x, y) - std::hypot(solid.half[0], solid.half[1]);
    if (near < range) { seen.push_back({solid, near}); }
  }
  return seen;
}

/// Degrees of beam `index`.
[[nodiscard]] inline double elevation_of(LidarOptions const& o, int index)
{
  int const upper = (o.beams + 1) / 2;
  if (index < upper) { return o.elevation_top + (o.elevation_middle - o.elevation_top) * index / upper; }
  int const lower = std::max(1, o.beams - upper - 1);
  return o.elevation_middle + (o.elevation_bottom - o.elevation_middle) * (index - upper) / lower;
}

}  // namespace detail

/// The pose of the scanner in frame `frame`: it drives along x in the lane at y < 0, swaying a little.
///
/// A point p of that frame is at (x, y, z) + R(yaw) p on the street, R the rotation about z; so
/// frames can be laid over each other.
/// @throws invalid_argument  an option is out of range
[[nodiscard]] inline EgoPose ego_pose(LidarOptions const& options, std::int64_t frame)
{
  detail::check(options);
  return detail::pose_on(detail::street_of(options), options, frame);
}

/// One turn of a spinning scanner in a made-up street of ground, cars, buildings, poles and
/// vegetation, ray by ray.
///
/// Positions are in the scanner's frame (x ahead, y to the left, z up, metres), so the street is near
/// z = -sensor_height. One feature, the intensity in [0, 1]: the material's reflectivity, less where
/// the ray grazes. Labels are SceneClass. Points are in the order of beams (top first), then azimuth,
/// as in the files of KITTI; rays without return give no point.
///
/// @param frame  moves the scanner (ego_pose) and changes the noise; may be negative
/// @throws invalid_argument  an option is out of range, or the frame is 1e9 m away or more
/// Cost: some 0.2 s on one core with the defaults, which give about 120,000 points.
/// Determinism: a function of the options and the frame. Directions are rounded to 2^-30 and ranges
/// to 2 mm before a point is computed from them, exactly, so that how a compiler or libm rounds
/// does not reach the points.
[[nodiscard]] inline PointCloud simulate_lidar(LidarOptions const& options = {}, std::int64_t frame = 0)
{
  detail::check(options);
  constexpr double degree = 3.141592653589793 / 180.0;
  constexpr double range_unit = 1.0 / 512.0;  // 2 mm, and a power of two
  constexpr auto ground = static_cast<std::int32_t>(SceneClass::ground);

  auto const street = detail::street_of(options);
  auto const pose = detail::pose_on(street, options, frame);
  detail::AzimuthColumns const columns{detail::solids_around(street, pose, options.max_range),
                                       options.azimuth_steps};
  double const cos_yaw = std::cos(pose.yaw);
  double const sin_yaw = std::sin(pose.yaw);
  auto const exact = [](double value) { return std::floor(value * 0x1p30 + 0.5) * 0x1p-30; };

  PointCloud cloud;
  cloud.channels = 1;
  cloud.feature_names = {"intensity"};
  auto const rays = static_cast<std::size_t>(options.beams) * static_cast<std::size_t>(options.azimuth_steps);
  cloud.positions.reserve(3 * rays);
  cloud.features.reserve(rays);
  cloud.labels.reserve(rays);

  auto const noise = detail::splitmix64(options.seed);  // streams apart from the street's
  std::uint64_t ray = 0;
  for (int beam = 0; beam < options.beams; ++beam) {
    double const elevation = detail::elevation_of(options, beam) * degree;
    for (int step = 0; step < options.azimuth_steps; ++step, ++ray) {
      double const azimuth = 360.0 * degree * step / options.azimuth_steps;
      detail::Vec3 const d{exact(std::cos(elevation) * std::cos(azimuth)),
                           exact(std::cos(elevation) * std::sin(azimuth)), exact(std::sin(elevation))};
      detail::Random random{noise, static_cast<std::uint64_t>(frame), ray};

      auto const met = columns.nearest(step, d, options.max_range, random);
      double range = met.range;
      double incidence = met.incidence;
      bool on_ground = false;
      if (d[2] < 0.0) {
        auto const above = [&](double t) {
          double const x = pose.x + t * (cos_yaw * d[0] - sin_yaw * d[1]);
          double const y = pose.y + t * (sin_yaw * d[0] + cos_yaw * d[1]);
          return pose.z + t * d[2] - street.height(x, y);
        };
        double const t = detail::cross_ground(above, (detail::Street::highest - pose.z) / d[2],
                                              (detail::Street::lowest - pose.z) / d[2], range);
        if (t >= 0.0) {
          on_ground = true;
          range = t;
          incidence = -d[2];
        }
      }
      if (met.solid == nullptr && !on_ground) { continue; }

      double const reflectivity = on_ground ? 0.35 : met.solid->reflectivity;
      double const returned = reflectivity * (0.3 + 0.7 * incidence) + 0.03 * random.bell();
      double const weak = range / options.max_range * (1.0 - std::min(1.0, 2.0 * returned));
      double const glass = !on_ground && met.solid->shape == detail::SolidShape::box ? met.solid->loss : 0.0;
      double const lost = std::max({options.drop_rate, glass, weak * weak});
      if (random.chance(lost)) { continue; }

      double const units = std::floor((range + options.range_noise * random.bell()) / range_unit + 0.5);
      if (units <= 0.0 || units * range_unit > options.max_range) { continue; }
      for (double const along : d) {
        cloud.positions.push_back(static_cast<float>(units * range_unit * along));
      }
      double const percent = std::floor(100.0 * std::clamp(returned, 0.0, 1.0) + 0.5);
      cloud.features.push_back(static_cast<float>(percent / 100.0));
      cloud.labels.push_back(on_ground ? ground : met.solid->label);
    }
  }
  return cloud;
}

}  // namespace v0
}  // namespace tessera
