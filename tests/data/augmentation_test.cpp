// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#include "../support/device.hpp"
#include "../support/files.hpp"

#include <tessera/data/augmentation.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

using namespace tessera;

namespace {

/// Points whose features and labels tell which point they were.
PointCloud numbered_cloud(std::int64_t points, unsigned seed = 1)
{
  std::mt19937 random{seed};
  PointCloud cloud;
  cloud.channels = 2;
  cloud.feature_names = {"number", "minus"};
  for (std::int64_t i = 0; i < points; ++i) {
    for (int axis = 0; axis < 3; ++axis) {
      cloud.positions.push_back(static_cast<float>(random() % 100'000) / 1024.0F - 48.0F);
    }
    cloud.features.push_back(static_cast<float>(i));
    cloud.features.push_back(-static_cast<float>(i));
    cloud.labels.push_back(static_cast<std::int32_t>(i % 7) - 1);
  }
  return cloud;
}

AugmentOptions everything()
{
  auto options = AugmentOptions::lidar();
  options.jitter = 0.02;
  options.drop = 0.3;
  return options;
}

bool same_bits(std::vector<float> const& a, std::vector<float> const& b)
{
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), 4 * a.size()) == 0);
}

}  // namespace

TEST_CASE("augmentation: without options the bits stay, whatever they mean")
{
  auto cloud = numbered_cloud(100);
  float const inf = std::numeric_limits<float>::infinity();
  float const nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> const odd{inf, -inf, nan, -0.0F, 0.0F, 1e-44F, 3e38F, -3e38F, inf};
  std::copy(odd.begin(), odd.end(), cloud.positions.begin());
  cloud.origin = {1, 2, 3};
  auto const result = augment_points(cloud, {}, 5);
  CHECK(same_bits(result.positions, cloud.positions));
  CHECK(result.features == cloud.features);
  CHECK(result.labels == cloud.labels);
  CHECK(result.feature_names == cloud.feature_names);
  CHECK(result.origin == cloud.origin);
}

TEST_CASE("augmentation: distances are scaled, heights turn with nothing, and a mirror image is one")
{
  auto const cloud = numbered_cloud(50);
  int mirrored = 0;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    auto const result = augment_points(cloud, AugmentOptions::lidar(), seed);
    auto const at = [](PointCloud const& c, std::size_t i, std::size_t axis) {
      return static_cast<double>(c.positions[3 * i + axis]);
    };
    double const scale = at(result, 0, 2) / at(cloud, 0, 2);
    CHECK(scale >= 0.95);
    CHECK(scale <= 1.05);
    double turn = 0;  // of point 0 to point 1, before and after
    for (std::size_t i = 0; i + 1 < 50; ++i) {
      for (std::size_t j = i + 1; j < 50; ++j) {
        double before = 0;
        double after = 0;
        for (std::size_t axis = 0; axis < 3; ++axis) {
          before += std::pow(at(cloud, i, axis) - at(cloud, j, axis), 2);
          after += std::pow(at(result, i, axis) - at(result, j, axis), 2);
        }
        CHECK(std::sqrt(after) == doctest::Approx(scale * std::sqrt(before)).epsilon(1e-5));
      }
      CHECK(at(result, i, 2) == doctest::Approx(scale * at(cloud, i, 2)).epsilon(1e-6));
    }
    auto const cross = [&](PointCloud const& c) {
      return at(c, 0, 0) * at(c, 1, 1) - at(c, 0, 1) * at(c, 1, 0);
    };
    turn = cross(result) / cross(cloud);
    mirrored += turn < 0 ? 1 : 0;
    CHECK(std::fabs(turn) == doctest::Approx(scale * scale).epsilon(1e-4));
  }
  CHECK(mirrored > 10);  // one flip out of two, not both
  CHECK(mirrored < 30);
}

TEST_CASE("augmentation: angles and factors are spread over their ranges")
{
  PointCloud unit;
  unit.positions = {1, 0, 1};
  AugmentOptions options;
  options.rotation = 1.0;
  options.smallest_scale = 0.5;
  options.largest_scale = 2.0;
  double angles = 0;
  double factors = 0;
  double least = 10;
  double largest = -10;
  for (std::uint64_t seed = 0; seed < 2000; ++seed) {
    auto const p = augment_points(unit, options, seed).positions;
    double const angle = std::atan2(p[1], p[0]);
    CHECK(std::fabs(angle) <= 1.000001);
    CHECK(p[2] >= 0.5F);
    CHECK(p[2] <= 2.0F);
    angles += angle / 2000;
    factors += p[2] / 2000;
    least = std::min(least, angle);
    largest = std::max(largest, angle);
  }
  CHECK(angles == doctest::Approx(0).scale(1).epsilon(0.04));
  CHECK(factors == doctest::Approx(1.25).epsilon(0.03));
  CHECK(least < -0.98);
  CHECK(largest > 0.98);
}

TEST_CASE("augmentation: noise has its mean, its deviation and its bound, and differs for each coordinate")
{
  PointCloud zeros;
  zeros.positions.resize(3 * 100'000);
  AugmentOptions options;
  options.jitter = 0.1;
  auto const noise = augment_points(zeros, options, 9).positions;
  double mean = 0;
  double square = 0;
  double product = 0;  // of neighbours: correlation
  for (std::size_t i = 0; i < noise.size(); ++i) {
    double const value = noise[i];
    CHECK_MESSAGE(std::fabs(value) <= 0.35, i);
    mean += value;
    square += value * value;
    product += value * static_cast<double>(noise[(i + 1) % noise.size()]);
  }
  auto const n = static_cast<double>(noise.size());
  CHECK(mean / n == doctest::Approx(0).scale(1).epsilon(0.001));
  CHECK(std::sqrt(square / n) == doctest::Approx(0.1).epsilon(0.01));
  CHECK(product / square == doctest::Approx(0).scale(1).epsilon(0.01));
}

TEST_CASE("augmentation: a share of the points is lost, the others keep their order and what belongs to them")
{
  auto const cloud = numbered_cloud(20'000);
  AugmentOptions options;
  options.drop = 0.25;
  auto const result = augment_points(cloud, options, 3);
  CHECK(static_cast<double>(result.size()) == doctest::Approx(15'000).epsilon(0.02));
  float last = -1;
  for (std::size_t i = 0; i < static_cast<std::size_t>(result.size()); ++i) {
    auto const from = static_cast<std::size_t>(result.features[2 * i]);
    CHECK(result.features[2 * i] > last);
    last = result.features[2 * i];
    CHECK(result.features[2 * i + 1] == -last);
    CHECK(result.labels[i] == cloud.labels[from]);
    CHECK(result.positions[3 * i + 1] == cloud.positions[3 * from + 1]);
  }
  options.drop = 1;
  CHECK(augment_points(cloud, options, 3).empty());
  CHECK(augment_points(PointCloud{}, everything(), 3).empty());
}

TEST_CASE("augmentation: what happens to a point does not depend on the points before being lost")
{
  auto const cloud = numbered_cloud(5000);
  auto options = everything();
  auto const thinned = augment_points(cloud, options, 11);
  options.drop = 0;
  auto const whole = augment_points(cloud, options, 11);
  for (std::size_t i = 0; i < static_cast<std::size_t>(thinned.size()); ++i) {
    auto const from = static_cast<std::size_t>(thinned.features[2 * i]);
    CHECK(thinned.positions[3 * i] == whole.positions[3 * from]);
  }
  CHECK(same_bits(augment_points(cloud, options, 11).positions, whole.positions));
  CHECK(!same_bits(augment_points(cloud, options, 12).positions, whole.positions));
}

TEST_CASE_TEMPLATE("augmentation: both spaces give the bits of the host, on any number of threads", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    CAPTURE(seed);
    auto const cloud = numbered_cloud(30'000, static_cast<unsigned>(seed));
    auto const expected = augment_points(cloud, everything(), seed);
    auto const points = augment_points(upload_points(cloud, exec), everything(), seed, exec);
    CHECK(points.view().positions.rows == expected.size());
    auto const result = download_points(points, exec);
    CHECK(same_bits(result.positions, expected.positions));
    CHECK(result.features == expected.features);
    CHECK(result.labels == expected.labels);
  }
  PointCloud bare;
  bare.positions = {1, 2, 3};
  auto const one = augment_points(upload_points(bare, exec), AugmentOptions::lidar(), 1, exec);
  CHECK(one.size() == 1);
  CHECK(!one.has_labels());
  CHECK(one.channels() == 0);
  CHECK(augment_points(upload_points(PointCloud{}, exec), everything(), 1, exec).size() == 0);
}

TEST_CASE("augmentation: the bits are those of every other compiler and machine")
{
  // Computed with g++ 12 and clang++ 14, with and without fused multiply-adds.
  auto const result = augment_points(numbered_cloud(1000), everything(), 1234);
  std::uint64_t hash = 0;
  for (float const value : result.positions) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &value, 4);
    hash = (hash ^ bits) * 0x100000001b3ULL;
  }
  CHECK(result.size() == 708);
  CHECK(hash == 3158137410507335582ULL);
}

TEST_CASE("augmentation: options that cannot be meant are refused with their names")
{
  auto const error_with = [](auto change) {
    AugmentOptions options;
    change(options);
    return test::error_of([&] { static_cast<void>(augment_points(numbered_cloud(3), options, 1)); });
  };
  CHECK(error_with([](AugmentOptions& o) { o.drop = 1.5; }) ==
        "augment_points: drop is 1.5; it must lie in [0, 1]");
  CHECK(test::has(error_with([](AugmentOptions& o) { o.rotation = -1; }), "rotation"));
  CHECK(test::has(error_with([](AugmentOptions& o) { o.smallest_scale = 0; }), "smallest_scale"));
  CHECK(test::has(error_with([](AugmentOptions& o) { o.largest_scale = 0.5; }), "largest_scale"));
  CHECK(test::has(error_with([](AugmentOptions& o) { o.flip_x = -0.1; }), "flip_x"));
  CHECK(test::has(error_with([](AugmentOptions& o) { o.flip_y = 2; }), "flip_y"));
  CHECK(test::has(error_with([](AugmentOptions& o) { o.jitter = std::nan(""); }), "jitter is nan"));
  PointCloud bad;
  bad.positions = {1, 2};
  CHECK(
      test::has(test::error_of([&] { static_cast<void>(augment_points(bad, {}, 1)); }), "2 position values"));
}
