// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#include "../support/device.hpp"
#include "../support/files.hpp"

#include <tessera/data/mix_points.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <set>
#include <utility>
#include <vector>

using namespace tessera;

namespace {

/// Labels are `label`; the feature is the number of the point.
PointCloud cloud_with(std::int32_t label, std::int64_t points, unsigned seed)
{
  std::mt19937 random{seed};
  std::uniform_real_distribution<float> uniform{-50, 50};
  std::uniform_real_distribution<float> height{-15, 5};
  PointCloud cloud;
  cloud.channels = 1;
  cloud.feature_names = {"number"};
  for (std::int64_t i = 0; i < points; ++i) {
    for (int axis = 0; axis < 2; ++axis) { cloud.positions.push_back(uniform(random)); }
    cloud.positions.push_back(height(random));
    cloud.features.push_back(static_cast<float>(i));
    cloud.labels.push_back(label);
  }
  return cloud;
}

double angle_of(PointCloud const& cloud, std::size_t i)
{
  return std::atan2(static_cast<double>(cloud.positions[3 * i + 1]),
                    static_cast<double>(cloud.positions[3 * i]));
}

double elevation_of(PointCloud const& cloud, std::size_t i)
{
  double const x = cloud.positions[3 * i];
  double const y = cloud.positions[3 * i + 1];
  return std::atan2(static_cast<double>(cloud.positions[3 * i + 2]), std::sqrt(x * x + y * y));
}

std::vector<MixOptions> all_ways()
{
  std::vector<MixOptions> ways(3);
  ways[0].mix = PointMix::together;
  ways[1].mix = PointMix::sector;
  ways[2].mix = PointMix::bands;
  return ways;
}

}  // namespace

TEST_CASE("mix: together is the first cloud, then the second")
{
  auto const first = cloud_with(1, 100, 1);
  auto const second = cloud_with(2, 50, 2);
  auto const mixed = mix_points(first, second, all_ways()[0], 1);
  auto expected = first;
  append_points(expected, second);
  CHECK(mixed.positions == expected.positions);
  CHECK(mixed.features == expected.features);
  CHECK(mixed.labels == expected.labels);
  CHECK(mixed.feature_names == expected.feature_names);
}

TEST_CASE("mix: one sector is the second cloud's, the rest the first one's, and no point is there twice")
{
  auto const first = cloud_with(1, 4000, 1);
  auto const second = cloud_with(2, 4000, 2);
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    CAPTURE(seed);
    auto const mixed = mix_points(first, second, all_ways()[1], seed);
    // Sorted by angle, labels change twice around the circle.
    std::set<std::pair<double, std::int32_t>> around;
    std::size_t of_second = 0;
    for (std::size_t i = 0; i < mixed.labels.size(); ++i) {
      around.emplace(angle_of(mixed, i), mixed.labels[i]);
      of_second += mixed.labels[i] == 2 ? 1 : 0;
    }
    int changes = 0;
    auto last = around.rbegin()->second;
    for (auto const& [angle, label] : around) {
      changes += label != last ? 1 : 0;
      last = label;
    }
    CHECK(changes == 2);
    CHECK(of_second > 300);  // 0.8 radians of 2 pi are 500
    CHECK(of_second < 2200);
    CHECK(around.size() == mixed.labels.size());
    // Every point is one of its cloud, in order, the first cloud's before the second's.
    for (std::size_t i = 1; i < mixed.labels.size(); ++i) {
      bool const ordered = mixed.labels[i] == mixed.labels[i - 1] ? mixed.features[i] > mixed.features[i - 1]
                                                                  : mixed.labels[i] == 2;
      CHECK(ordered);
    }
  }
}

TEST_CASE("mix: bands of elevation take turns")
{
  auto const first = cloud_with(1, 4000, 3);
  auto const second = cloud_with(2, 4000, 4);
  auto const options = all_ways()[2];
  bool begins_with[3] = {};
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    auto const mixed = mix_points(first, second, options, seed);
    int parity = -1;
    int wrong = 0;
    for (std::size_t i = 0; i < mixed.labels.size(); ++i) {
      // The definition: bands end at lowest, ..., highest, equally far apart.
      double const width = (options.highest - options.lowest) / (options.bands - 2);
      auto const band =
          std::clamp(static_cast<int>(std::floor((elevation_of(mixed, i) - options.lowest) / width)) + 1, 0,
                     options.bands - 1);
      int const own = (band + (mixed.labels[i] == 2 ? 1 : 0)) % 2;
      if (parity < 0) { parity = own; }
      wrong += own != parity ? 1 : 0;
    }
    CHECK(wrong <= 2);  // at the very edge of a band
    begins_with[parity + 1] = true;
  }
  CHECK(begins_with[1]);
  CHECK(begins_with[2]);
}

TEST_CASE_TEMPLATE("mix: both spaces give the bits of the host, on any number of threads", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const first = cloud_with(1, 20'000, 5);
  auto const second = cloud_with(2, 30'000, 6);
  auto const ways = all_ways();
  for (std::size_t way = 0; way < ways.size(); ++way) {
    CAPTURE(way);
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
      CAPTURE(seed);
      auto const expected = mix_points(first, second, ways[way], seed);
      auto const points =
          mix_points(upload_points(first, exec), upload_points(second, exec), ways[way], seed, exec);
      auto const result = download_points(points, exec);
      CHECK(result.positions == expected.positions);
      CHECK(result.features == expected.features);
      CHECK(result.labels == expected.labels);
    }
    auto const none = upload_points(PointCloud{}, exec);
    CHECK(mix_points(none, none, ways[way], 1, exec).size() == 0);
    auto const half_empty = mix_points(none, upload_points(second, exec), ways[0], 1, exec);
    CHECK(half_empty.size() == second.size());
    CHECK(half_empty.channels() == 1);
  }
}

TEST_CASE("mix: clouds of two origins are about the first one's")
{
  auto const first = cloud_with(1, 10, 1);
  auto second = cloud_with(2, 10, 2);
  second.origin = {100, 0, 0};
  auto const mixed = mix_points(first, second, all_ways()[0], 1);
  CHECK(mixed.origin == first.origin);
  CHECK(mixed.positions[30] == second.positions[0] + 100);
}

TEST_CASE("mix: what does not go together is refused")
{
  auto const first = cloud_with(1, 10, 1);
  auto bare = first;
  bare.channels = 0;
  bare.features.clear();
  bare.feature_names.clear();
  auto unlabelled = first;
  unlabelled.labels.clear();
  auto const error_of = [&](PointCloud const& second, MixOptions const& options) {
    return test::error_of([&] { static_cast<void>(mix_points(first, second, options, 1)); });
  };
  CHECK(error_of(bare, {}) == "mix_points: a cloud of 1 channels and one of 0");
  CHECK(error_of(unlabelled, {}) == "mix_points: only one of the clouds has labels");
  MixOptions options;
  options.bands = 17;
  CHECK(test::has(error_of(first, options), "17 bands"));
  options = {};
  options.largest_sector = 4;
  CHECK(test::has(error_of(first, options), "sectors of 0.8 to 4"));
  options = {};
  options.lowest = std::nan("");
  CHECK(test::has(error_of(first, options), "bands from nan"));
}
