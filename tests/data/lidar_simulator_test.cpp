// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/files.hpp"

#include <tessera/core/scalar.hpp>
#include <tessera/data/lidar_simulator.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

using namespace tessera;

namespace {

/// A scan of few rays, for what does not depend on their number.
LidarOptions coarse(std::uint64_t seed = 1)
{
  LidarOptions options;
  options.seed = seed;
  options.beams = 16;
  options.azimuth_steps = 240;
  return options;
}

std::uint64_t hash_of(PointCloud const& cloud)
{
  std::uint64_t hash = 0;
  auto const add = [&](std::uint64_t value) { hash = detail::splitmix64(hash ^ value); };
  for (float const value : cloud.positions) { add(detail::bit_cast<std::uint32_t>(value)); }
  for (float const value : cloud.features) { add(detail::bit_cast<std::uint32_t>(value)); }
  for (auto const label : cloud.labels) { add(static_cast<std::uint32_t>(label)); }
  return hash;
}

std::array<int, num_scene_classes> histogram(PointCloud const& cloud)
{
  std::array<int, num_scene_classes> counts{};
  for (auto const label : cloud.labels) { ++counts.at(static_cast<std::size_t>(label)); }
  return counts;
}

}  // namespace

TEST_CASE("lidar simulator: the defaults give a scan like an HDL-64E's, with every class in it")
{
  LidarOptions options;
  for (std::uint64_t const seed : {1U, 2U, 3U}) {
    CAPTURE(seed);
    options.seed = seed;
    auto const cloud = simulate_lidar(options, static_cast<std::int64_t>(seed) * 50);
    cloud.check("test");
    CHECK(cloud.feature_names == std::vector<std::string>{"intensity"});
    CHECK(cloud.size() > 105'000);
    CHECK(cloud.size() < 64 * 2083);

    auto const counts = histogram(cloud);
    for (int c = 0; c < num_scene_classes; ++c) {
      CAPTURE(name_of(static_cast<SceneClass>(c)));
      CHECK(counts[static_cast<std::size_t>(c)] > 100);
    }
    CHECK(counts[0] > cloud.size() / 4);  // a street is mostly ground
  }
}

TEST_CASE("lidar simulator: points lie where their class stands, and in the scanner's reach")
{
  LidarOptions const options;
  auto const cloud = simulate_lidar(options, 7);
  int high_ground = 0;
  for (std::size_t i = 0; i < cloud.labels.size(); ++i) {
    float const* const p = cloud.positions.data() + 3 * i;
    double const range = std::sqrt(double{p[0]} * p[0] + double{p[1]} * p[1] + double{p[2]} * p[2]);
    double const over_street = p[2] + options.sensor_height;
    REQUIRE(range <= options.max_range * 1.000001);
    REQUIRE(over_street > -0.4);
    REQUIRE(cloud.features[i] >= 0.0F);
    REQUIRE(cloud.features[i] <= 1.0F);
    auto const elevation = std::asin(p[2] / range) * 180 / 3.141592653589793;
    REQUIRE(elevation < options.elevation_top + 0.01);
    REQUIRE(elevation > options.elevation_bottom - 0.01);
    if (cloud.labels[i] == static_cast<std::int32_t>(SceneClass::ground) && over_street > 0.45) {
      ++high_ground;
    }
    if (cloud.labels[i] == static_cast<std::int32_t>(SceneClass::car)) { REQUIRE(over_street < 2.3); }
  }
  CHECK(high_ground == 0);
}

TEST_CASE("lidar simulator: every point lies on the ray of a beam and an azimuth step, beams in order")
{
  auto options = coarse();
  options.drop_rate = 0.0;
  auto const cloud = simulate_lidar(options);
  constexpr double degree = 3.141592653589793 / 180;
  int last = -1;
  for (std::size_t i = 0; i < cloud.labels.size(); ++i) {
    float const* const p = cloud.positions.data() + 3 * i;
    double const elevation = std::atan2(double{p[2]}, std::hypot(double{p[0]}, double{p[1]})) / degree;
    int beam = 0;
    for (int b = 1; b < options.beams; ++b) {
      if (std::fabs(detail::elevation_of(options, b) - elevation) <
          std::fabs(detail::elevation_of(options, beam) - elevation)) {
        beam = b;
      }
    }
    CHECK(detail::elevation_of(options, beam) == doctest::Approx(elevation).epsilon(1e-4));
    double const turn = std::atan2(double{p[1]}, double{p[0]}) / degree;
    double const step = (turn < -0.01 ? turn + 360 : turn) / 360 * options.azimuth_steps;
    CHECK(step == doctest::Approx(std::round(step)).epsilon(1e-4));
    int const ray = beam * options.azimuth_steps + static_cast<int>(std::round(step));
    CHECK(ray > last);
    last = ray;
  }
}

TEST_CASE("lidar simulator: the same options and frame give the same bits, others give others")
{
  auto const bits = hash_of(simulate_lidar(coarse(), 3));
  CHECK(hash_of(simulate_lidar(coarse(), 3)) == bits);
  CHECK(hash_of(simulate_lidar(coarse(), 4)) != bits);
  CHECK(hash_of(simulate_lidar(coarse(2), 3)) != bits);

  auto longer = coarse();
  longer.street_length = 2000;
  CHECK(hash_of(simulate_lidar(longer, -900)) != hash_of(simulate_lidar(coarse(), -900)));
}

TEST_CASE("lidar simulator: the bits are those of every other compiler and machine")
{
  // Computed with g++ 12 (-O0, -O2, -O3 -march=native), clang++ 14 and nvcc 13 on x86-64, all alike.
  CHECK(hash_of(simulate_lidar(coarse(), 0)) == 2316574337999765524U);
  CHECK(hash_of(simulate_lidar(coarse(42), 1234)) == 1019721969739596283U);
}

TEST_CASE("lidar simulator: culling changes nothing")
{
  // The definition: every solid of the scene is tried for every ray, and the nearest is met.
  auto const options = coarse(5);
  auto const street = detail::street_of(options);
  auto const pose = detail::pose_on(street, options, 11);
  auto const solids = detail::solids_around(street, pose, options.max_range);
  detail::AzimuthColumns const columns{solids, options.azimuth_steps};
  CHECK(solids.size() > 50);
  int met = 0;
  for (int step = 0; step < options.azimuth_steps; ++step) {
    double const azimuth = 2 * 3.141592653589793 * step / options.azimuth_steps;
    for (double const elevation : {-0.2, -0.05, 0.0, 0.03}) {
      CAPTURE(step);
      CAPTURE(elevation);
      detail::Vec3 const d{std::cos(elevation) * std::cos(azimuth), std::cos(elevation) * std::sin(azimuth),
                           std::sin(elevation)};
      double nearest = options.max_range;
      for (auto const& seen : solids) {
        auto const hit = detail::cross_solid(seen.solid, d);
        if (hit.leave >= hit.enter) {
          CHECK(hit.enter >= seen.near - 1e-9);
          nearest = std::min(nearest, hit.enter);
        }
      }
      double found = options.max_range;
      for (auto const index : columns.column(step)) {
        auto const hit = detail::cross_solid(columns[index].solid, d);
        if (hit.leave >= hit.enter) { found = std::min(found, hit.enter); }
      }
      CHECK(found == nearest);
      met += nearest < options.max_range ? 1 : 0;
    }
  }
  CHECK(met > 100);
}

TEST_CASE("lidar simulator: where a ray enters a solid is a point of its surface")
{
  detail::Random random{99};
  int met = 0;
  for (int i = 0; i < 3000; ++i) {
    CAPTURE(i);
    detail::Solid solid;
    solid.shape = static_cast<detail::SolidShape>(i % 3);
    for (double& c : solid.centre) { c = random.uniform(-6, 6); }
    for (double& h : solid.half) { h = random.uniform(0.3, 3); }
    if (solid.shape == detail::SolidShape::cylinder) { solid.half[1] = solid.half[0]; }
    double const yaw = random.uniform(0, 6);
    solid.cos_yaw = std::cos(yaw);
    solid.sin_yaw = std::sin(yaw);
    detail::Vec3 d = solid.centre;
    for (double& v : d) { v += random.uniform(-3, 3); }
    double const length = std::sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]);
    for (double& v : d) { v /= length; }
    // How far outside (> 0) or inside (< 0) the point t * d is.
    auto const outside = [&](double t) {
      double const x = t * d[0] - solid.centre[0];
      double const y = t * d[1] - solid.centre[1];
      double const u = std::fabs(solid.cos_yaw * x + solid.sin_yaw * y) / solid.half[0];
      double const v = std::fabs(solid.cos_yaw * y - solid.sin_yaw * x) / solid.half[1];
      double const w = std::fabs(t * d[2] - solid.centre[2]) / solid.half[2];
      if (solid.shape == detail::SolidShape::box) { return std::max({u, v, w}) - 1; }
      if (solid.shape == detail::SolidShape::cylinder) { return std::max(std::sqrt(u * u + v * v), w) - 1; }
      return std::sqrt(u * u + v * v + w * w) - 1;
    };
    auto const hit = detail::cross_solid(solid, d);
    if (hit.leave >= hit.enter) {
      ++met;
      CHECK((outside(hit.enter) == doctest::Approx(0).scale(1).epsilon(1e-9) ||
             (hit.enter == 0 && outside(0) < 0)));
      CHECK(outside(hit.leave) == doctest::Approx(0).scale(1).epsilon(1e-9));
      CHECK(outside(0.5 * (hit.enter + hit.leave)) < 1e-9);
      CHECK(hit.incidence >= 0.0);
      CHECK(hit.incidence <= 1.0);
    } else {
      for (double t = 0.0; t < 20.0; t += 0.05) { CHECK(outside(t) > -1e-9); }
    }
  }
  CHECK(met > 1000);
}

TEST_CASE("lidar simulator: the scanner drives along the street, a frame step at a time")
{
  LidarOptions options;
  options.frame_step = 2.5;
  CHECK(ego_pose(options, 0).x == 0.0);
  CHECK(ego_pose(options, 4).x == 10.0);
  CHECK(ego_pose(options, -2).x == -5.0);
  for (std::int64_t frame = 0; frame < 200; ++frame) {
    auto const pose = ego_pose(options, frame);
    CHECK(std::fabs(pose.y + 1.75) <= 0.2);
    CHECK(std::fabs(pose.z - options.sensor_height) < 0.1);
    CHECK(std::fabs(pose.yaw) <= 0.02);
  }
}

TEST_CASE("lidar simulator: frames laid over each other by their poses agree about the walls")
{
  LidarOptions options = coarse();
  options.range_noise = 0.0;
  options.azimuth_steps = 1000;
  options.street_length = 40000;
  auto const walls = [&](std::int64_t frame) {
    auto const pose = ego_pose(options, frame);
    auto const cloud = simulate_lidar(options, frame);
    std::vector<std::array<double, 2>> points;
    for (std::size_t i = 0; i < cloud.labels.size(); ++i) {
      if (cloud.labels[i] != static_cast<std::int32_t>(SceneClass::building)) { continue; }
      double const x = cloud.positions[3 * i];
      double const y = cloud.positions[3 * i + 1];
      points.push_back({pose.x + std::cos(pose.yaw) * x - std::sin(pose.yaw) * y,
                        pose.y + std::sin(pose.yaw) * x + std::cos(pose.yaw) * y});
    }
    return points;
  };
  auto const first = walls(20);
  auto const second = walls(21);
  REQUIRE(first.size() > 500);
  std::size_t matched = 0;
  for (auto const& a : first) {
    matched += std::any_of(second.begin(), second.end(),
                           [&](auto const& b) { return std::hypot(a[0] - b[0], a[1] - b[1]) < 0.4; });
  }
  CHECK(matched > first.size() * 8 / 10);
}

TEST_CASE("lidar simulator: one ray, no returns and steep rays are legal")
{
  auto options = coarse();
  options.beams = 1;
  options.azimuth_steps = 1;
  CHECK(simulate_lidar(options).size() <= 1);
  options = coarse();
  options.drop_rate = 1.0;
  CHECK(simulate_lidar(options).empty());
  options = coarse();
  options.elevation_top = options.elevation_middle = options.elevation_bottom = -89.0;
  options.drop_rate = 0.0;
  CHECK(simulate_lidar(options).size() == 16 * 240);
  options = coarse();
  options.elevation_bottom = options.elevation_middle = options.elevation_top = 89.0;
  CHECK(simulate_lidar(options).empty());
}

TEST_CASE("lidar simulator: invalid options are refused with their names")
{
  double const nan = std::numeric_limits<double>::quiet_NaN();
  auto const error_with = [&](auto change) {
    LidarOptions options;
    change(options);
    return test::error_of([&] { static_cast<void>(simulate_lidar(options)); });
  };
  CHECK(error_with([](LidarOptions& o) { o.beams = 0; }) ==
        "simulate_lidar: beams is 0; it must lie in [1, 1024]");
  CHECK(test::has(error_with([](LidarOptions& o) { o.azimuth_steps = -5; }), "azimuth_steps is -5"));
  CHECK(test::has(error_with([](LidarOptions& o) { o.elevation_top = 90; }), "elevation_top"));
  CHECK(test::has(error_with([](LidarOptions& o) { o.elevation_middle = 3; }), "elevation_middle"));
  CHECK(test::has(error_with([](LidarOptions& o) { o.elevation_bottom = -8; }), "elevation_bottom"));
  CHECK(test::has(error_with([&](LidarOptions& o) { o.sensor_height = nan; }), "sensor_height is nan"));
  CHECK(test::has(error_with([](LidarOptions& o) { o.max_range = 0; }), "max_range"));
  CHECK(test::has(error_with([](LidarOptions& o) { o.range_noise = -1; }), "range_noise"));
  CHECK(test::has(error_with([](LidarOptions& o) { o.drop_rate = 1.5; }), "drop_rate"));
  CHECK(test::has(error_with([](LidarOptions& o) { o.street_length = 1; }), "street_length"));
  CHECK(test::has(error_with([&](LidarOptions& o) { o.frame_step = nan; }), "frame_step"));
  CHECK(test::has(test::error_of([] { static_cast<void>(ego_pose({}, std::int64_t{1} << 62)); }),
                  "down the street"));
}

TEST_CASE("scene class: names")
{
  CHECK(std::string{name_of(SceneClass::ground)} == "ground");
  CHECK(std::string{name_of(SceneClass::vegetation)} == "vegetation");
}
