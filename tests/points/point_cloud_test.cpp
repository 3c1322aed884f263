// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/files.hpp"

#include <tessera/points/point_cloud.hpp>

#include <doctest/doctest.h>

#include <limits>

using namespace tessera;

TEST_CASE("point cloud: empty is legal, and its bounds count no point")
{
  PointCloud const cloud;
  CHECK(cloud.size() == 0);
  CHECK(cloud.empty());
  CHECK_FALSE(cloud.has_labels());
  cloud.check("test");
  CHECK(bounds(cloud).num_points == 0);
  CHECK(bounds(cloud).max[0] == 0.0F);
}

TEST_CASE("point cloud: bounds are the smallest box of the finite points")
{
  float const nan = std::numeric_limits<float>::quiet_NaN();
  float const infinity = std::numeric_limits<float>::infinity();
  PointCloud cloud;
  cloud.positions = {nan, 9, 9, -1, 5, 2, 3, -4, 2.5F, 9, infinity, 9};
  auto const box = bounds(cloud);
  CHECK(box.num_points == 2);
  CHECK(box.min == std::array<float, 3>{-1, -4, 2});
  CHECK(box.max == std::array<float, 3>{3, 5, 2.5F});
}

TEST_CASE("point cloud: arrays that do not fit together are refused with their sizes")
{
  PointCloud good;
  good.positions = {0, 0, 0, 1, 1, 1};
  good.features = {1, 2, 3, 4};
  good.channels = 2;
  good.feature_names = {"a", "b"};
  good.labels = {7, 8};
  CHECK(test::error_of([&] { good.check("who"); }).empty());

  auto const error_with = [&](auto change) {
    PointCloud bad = good;
    change(bad);
    return test::error_of([&] { bad.check("who"); });
  };
  CHECK(error_with([](PointCloud& c) { c.positions.push_back(1); }) ==
        "who: a point cloud with 7 position values; a multiple of 3 is needed");
  CHECK(error_with([](PointCloud& c) { c.channels = -1; }) == "who: a point cloud with -1 channels");
  CHECK(error_with([](PointCloud& c) { c.features.pop_back(); }) ==
        "who: a point cloud of 2 points and 2 channels with 3 feature values");
  CHECK(error_with([](PointCloud& c) { c.feature_names.pop_back(); }) ==
        "who: a point cloud of 2 channels with 1 feature names");
  CHECK(error_with([](PointCloud& c) { c.labels.pop_back(); }) ==
        "who: a point cloud of 2 points with 1 labels");
  good.labels.pop_back();
  CHECK_THROWS_AS(static_cast<void>(bounds(good)), invalid_argument);
}
