// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/files.hpp"

#include <tessera/points/point_cloud.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

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

TEST_CASE("point cloud: points are measured from another origin where floats can hold that")
{
  PointCloud cloud;
  cloud.origin = {1000000, 0, -5};
  cloud.positions = {0.25F, 1, 2, -3.5F, 4, std::numeric_limits<float>::quiet_NaN()};
  auto moved = cloud;
  move_origin(moved, {999990, 0, -4.5});
  CHECK(moved.origin == std::array<double, 3>{999990, 0, -4.5});
  CHECK(std::vector<float>(moved.positions.begin(), moved.positions.end() - 1) ==
        std::vector<float>{10.25F, 1, 1.5F, 6.5F, 4});
  CHECK(std::isnan(moved.positions[5]));
  move_origin(moved, cloud.origin);
  CHECK(moved.positions[3] == -3.5F);

  cloud.positions[0] = 0.1F;
  auto const before = cloud.positions;
  CHECK(test::has(test::error_of([&] { move_origin(cloud, {}); }),
                  "move_origin: point 0 is 1e+06 m from the new origin on axis 0, too far"));
  CHECK(test::has(test::error_of([&] { move_origin(cloud, {NAN, 0, 0}); }), "an origin that is not finite"));
  CHECK(std::equal(before.begin(), before.end() - 1, cloud.positions.begin()));
  CHECK(cloud.origin[0] == 1000000);
  cloud.positions = {3e38F, 0, 0};
  CHECK(test::has(test::error_of([&] { move_origin(cloud, {}); }), "too far"));
}

TEST_CASE("point cloud: clouds are joined about the origin of the first")
{
  PointCloud first;
  first.origin = {4000000, 0, 0};
  first.positions = {1, 2, 3};
  first.channels = 1;
  first.features = {0.5F};
  first.feature_names = {"intensity"};
  first.labels = {7};
  auto second = first;
  second.origin = {4000100, 0, -1};
  second.positions = {4.5F, 5, 6};
  second.labels = {8};

  PointCloud all;
  append_points(all, first);
  append_points(all, second);
  CHECK(all.origin == first.origin);
  CHECK(all.positions == std::vector<float>{1, 2, 3, 104.5F, 5, 5});
  CHECK(all.features == std::vector<float>{0.5F, 0.5F});
  CHECK(all.labels == std::vector<std::int32_t>{7, 8});
  append_points(all, all);
  CHECK(all.size() == 4);

  auto const error_with = [&](auto change) {
    auto other = second;
    change(other);
    return test::error_of([&] { append_points(all, other); });
  };
  CHECK(test::has(error_with([](PointCloud& c) { c.feature_names = {"ring"}; }),
                  "append_points: 1 channels [ring] to 1 channels [intensity]"));
  CHECK(test::has(error_with([](PointCloud& c) { c.labels.clear(); }), "only one of the clouds has labels"));
  CHECK(test::has(error_with([](PointCloud& c) { c.origin[0] = 9e6 + 0.1; }), "too far"));
  CHECK(all.size() == 4);
  all.check("test");
}

TEST_CASE("point cloud: a cloud of positions alone gets ones, any other stays as it is")
{
  PointCloud cloud;
  cloud.positions = {1, 2, 3, 4, 5, 6};
  ensure_features(cloud);
  CHECK(cloud.features == std::vector<float>{1, 1});
  CHECK(cloud.feature_names == std::vector<std::string>{"ones"});
  cloud.features = {3, 4};
  ensure_features(cloud);
  CHECK(cloud.features == std::vector<float>{3, 4});
  PointCloud none;
  ensure_features(none);
  CHECK(none.channels == 1);
  none.check("test");
}
