// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/files.hpp"
#include "ply_files.hpp"

#include <tessera/io/ply.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

using namespace tessera;
using namespace ply_files;

TEST_CASE("ply: what is written is read back, bit for bit, in every format")
{
  test::TempDir const dir;
  for (auto const format : formats) {
    for (bool const labels : {false, true}) {
      CAPTURE(static_cast<int>(format));
      CAPTURE(labels);
      auto const cloud = some_points(labels);
      write_ply(dir / "cloud.ply", cloud, {format, {}});
      auto const read = read_ply(dir / "cloud.ply");
      CHECK(same_bits(read.positions, cloud.positions));
      CHECK(same_bits(read.features, cloud.features));
      CHECK(read.channels == 2);
      CHECK(read.feature_names == cloud.feature_names);
      CHECK(read.labels == cloud.labels);
    }
  }
  CHECK(dir.num_files() == 1);
}

TEST_CASE("ply: infinities and NaN survive, the bits of a NaN in binary only")
{
  test::TempDir const dir;
  float const infinity = std::numeric_limits<float>::infinity();
  PointCloud cloud;
  cloud.positions = {std::numeric_limits<float>::quiet_NaN(), infinity, -infinity};
  for (auto const format : formats) {
    CAPTURE(static_cast<int>(format));
    write_ply(dir / "cloud.ply", cloud, {format, {}});
    auto const read = read_ply(dir / "cloud.ply");
    CHECK(std::isnan(read.positions[0]));
    CHECK(read.positions[1] == infinity);
    CHECK(read.positions[2] == -infinity);
  }
}

TEST_CASE("ply: no point is legal")
{
  test::TempDir const dir;
  for (auto const format : formats) {
    write_ply(dir / "none.ply", PointCloud{}, {format, {}});
    CHECK(read_ply(dir / "none.ply").empty());
  }
}

TEST_CASE("ply: colours are written as bytes and read as features")
{
  test::TempDir const dir;
  auto cloud = some_points(true);
  for (auto const format : formats) {
    CAPTURE(static_cast<int>(format));
    write_ply(dir / "colored.ply", cloud, {format, {255, 0, 1, 2, 3, 4, 5, 6, 250}});
    auto const read = read_ply(dir / "colored.ply");
    CHECK(read.feature_names == std::vector<std::string>{"red", "green", "blue", "intensity", "ring"});
    CHECK(std::vector<float>(read.features.begin(), read.features.begin() + 5) ==
          std::vector<float>{255, 0, 1, 0.25F, 1});
  }
  write_ply(dir / "colored.ply", cloud, {PlyFormat::ascii, {255, 0, 1, 2, 3, 4, 5, 6, 250}});
  auto const bytes = test::read_bytes(dir / "colored.ply");
  CHECK(test::has({bytes.begin(), bytes.end()},
                  "property float z\nproperty uchar red\nproperty uchar green\nproperty uchar blue\n"
                  "property float intensity\nproperty float ring\nproperty int label\nend_header\n"
                  "0.1 -1e-30 3e+30 255 0 1 0.25 1 -2147483648\n"));
}

TEST_CASE("ply: features without names get some")
{
  test::TempDir const dir;
  auto cloud = some_points(false);
  cloud.feature_names.clear();
  write_ply(dir / "cloud.ply", cloud);
  CHECK(read_ply(dir / "cloud.ply").feature_names == std::vector<std::string>{"feature_0", "feature_1"});
  cloud.channels = 1;
  cloud.features.resize(3);
  write_ply(dir / "cloud.ply", cloud);
  CHECK(read_ply(dir / "cloud.ply").feature_names == std::vector<std::string>{"intensity"});
}

TEST_CASE("ply: what cannot be written is refused, and leaves no file")
{
  test::TempDir const dir;
  auto const path = dir / "f";
  auto const error_with = [&](PointCloud const& cloud, PlyOptions const& options) {
    return test::error_of([&] { write_ply(path, cloud, options); });
  };
  auto cloud = some_points(false);
  CHECK(error_with(cloud, {PlyFormat::ascii, {1, 2, 3}}) ==
        "write_ply: " + path + ": 3 points with 3 colour values; three each are needed");
  cloud.feature_names = {"red", "x"};
  CHECK(test::has(error_with(cloud, {}), "the property 'x' would be written twice"));
  cloud.feature_names = {"red", "red"};
  CHECK(test::has(error_with(cloud, {}), "the property 'red' would be written twice"));
  cloud.feature_names = {"a", "red"};
  CHECK(error_with(cloud, {}).empty());
  CHECK(test::has(error_with(cloud, {PlyFormat::ascii, std::vector<std::uint8_t>(9)}),
                  "the property 'red' would be written twice"));
  for (std::string const name : {"", "two words", "line\nbreak"}) {
    cloud.feature_names = {"a", name};
    CHECK(test::has(error_with(cloud, {}), "is not one printable word"));
  }
  cloud.labels = {1};
  CHECK(test::has(error_with(cloud, {}), "3 points with 1 labels"));
  CHECK(dir.num_files() == 1);  // of the one that was right
}

TEST_CASE("ply: a cloud with an origin is written as doubles, and read back to where it was")
{
  test::TempDir const dir;
  PointCloud cloud;
  cloud.origin = {627285, 4841948, -0.5};
  cloud.positions = {
      0.125F, 0.25F, 1, 1000.0625F, -2000.5F, 2, -3, 4, std::numeric_limits<float>::quiet_NaN()};
  for (auto const format : formats) {
    CAPTURE(static_cast<int>(format));
    write_ply(dir / "f.ply", cloud, {format, {}});
    auto const bytes = test::read_bytes(dir / "f.ply");
    CHECK(
        test::has({bytes.begin(), bytes.end()}, "property double x\nproperty double y\nproperty double z\n"));
    auto const read = read_ply(dir / "f.ply", cloud.origin);
    CHECK(read.origin == cloud.origin);
    CHECK(std::equal(read.positions.begin(), read.positions.end() - 1, cloud.positions.begin()));
    CHECK(std::isnan(read.positions[8]));
  }
  cloud.origin[1] = std::numeric_limits<double>::infinity();
  CHECK(test::has(test::error_of([&] { write_ply(dir / "f.ply", cloud); }), "an origin that is not finite"));
}
