// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/files.hpp"

#include <tessera/io/point_cloud_file.hpp>

#include <doctest/doctest.h>

#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <random>
#include <string>
#include <vector>

using namespace tessera;

namespace {

using Rows = std::vector<std::array<double, 3>>;

/// Reads the points by every reader that can hold doubles.
template <class Check>
void read_by_all(Rows const& rows, PointOrigin const& origin, Check const& check)
{
  test::TempDir const dir;
  std::vector<double> flat;
  std::string ascii = "ply\nformat ascii 1.0\nelement vertex " + std::to_string(rows.size()) +
                      "\nproperty double x\nproperty double y\nproperty double z\nend_header\n";
  std::string pcd =
      "FIELDS x y z\nSIZE 8 8 8\nTYPE F F F\nPOINTS " + std::to_string(rows.size()) + "\nDATA binary\n";
  for (auto const& row : rows) {
    for (double const value : row) {
      char digits[64];
      auto const end = std::to_chars(digits, digits + sizeof(digits), value).ptr;
      ascii += std::string(digits, end) + ' ';
      flat.push_back(value);
    }
    ascii += '\n';
  }
  std::string const data{reinterpret_cast<char const*>(flat.data()), 8 * flat.size()};
  test::write_bytes(dir / "f.ply", ascii);
  test::write_bytes(dir / "f.pcd", pcd + data);
  test::write_bytes(dir / "f.bin", data);
  write_npy(dir / "f.npy", raw_tensor(flat, {static_cast<std::int64_t>(rows.size()), 3}));
  for (std::string const name : {"f.ply", "f.pcd", "f.npy", "f.bin"}) {
    CAPTURE(name);
    auto options = name == "f.bin" ? point_format("3:f8") : PointReadOptions{};
    options.origin = origin;
    check([&] { return read_point_cloud(dir / name, options); });
  }
}

double coordinate(PointCloud const& cloud, std::size_t i)
{
  return cloud.origin[i % 3] + static_cast<double>(cloud.positions[i]);
}

}  // namespace

TEST_CASE("origin: coordinates of a map keep their millimetres in every reader")
{
  std::mt19937 random{3};
  std::uniform_real_distribution<double> spread{-300, 300};
  Rows rows;
  for (int i = 0; i < 101; ++i) {
    rows.push_back({383000 + spread(random), 5819000.5 + spread(random), 35 + spread(random) / 100});
  }
  rows[7] = {std::numeric_limits<double>::quiet_NaN(), 5819000.25, std::numeric_limits<double>::infinity()};
  rows[9] = {0, 0, 0};  // a point that was not measured does not move the origin
  read_by_all(rows, {}, [&](auto const& read) {
    PointCloud const cloud = read();
    CHECK(cloud.origin[2] == 0);
    for (std::size_t axis = 0; axis < 2; ++axis) {
      CHECK(cloud.origin[axis] == std::floor(cloud.origin[axis]));
      CHECK(std::fabs(cloud.origin[axis] - rows[0][axis]) < 600);
    }
    for (std::size_t i = 0; i < 3 * rows.size(); ++i) {
      double const wanted = rows[i / 3][i % 3];
      if (i / 3 == 9) { continue; }
      CAPTURE(i);
      if (!std::isfinite(wanted)) {
        CHECK(std::isfinite(cloud.positions[i]) == false);
      } else {
        CHECK(std::fabs(coordinate(cloud, i) - wanted) < 0.0001);
      }
    }
    CHECK(std::fabs(coordinate(cloud, 27)) < 0.001);
  });
}

TEST_CASE("origin: nothing is subtracted where rounding loses nothing that counts")
{
  Rows const near{{0.1, -0.2, 12345.678}, {100.3, 32767.9, -1.0 / 3}};
  Rows const whole{{627285, 4841948, 16777216}, {-8388607.5, 1048576.125, 3}};
  for (auto const& rows : {near, whole}) {
    read_by_all(rows, {}, [&](auto const& read) {
      PointCloud const cloud = read();
      CHECK(!cloud.has_origin());
      for (std::size_t i = 0; i < 6; ++i) {
        CHECK(cloud.positions[i] == static_cast<float>(rows[i / 3][i % 3]));
      }
    });
  }
}

TEST_CASE("origin: the one that is given is subtracted in double, and nothing is asked")
{
  Rows const rows{{627285.1, 4841948.3, 1e9}, {627285.2, 4841948.4, -1e9}};
  std::array<double, 3> const origin{627000.25, 4841900, 0};
  read_by_all(rows, origin, [&](auto const& read) {
    PointCloud const cloud = read();
    CHECK(cloud.origin == origin);
    for (std::size_t i = 0; i < 6; ++i) {
      CHECK(cloud.positions[i] == static_cast<float>(rows[i / 3][i % 3] - origin[i % 3]));
    }
  });
  read_by_all(rows, std::array<double, 3>{0, NAN, 0}, [&](auto const& read) {
    CHECK(test::has(test::error_of([&] { static_cast<void>(read()); }), "an origin that is not finite"));
  });
}

TEST_CASE("origin: points too far from each other are refused, with what to do")
{
  Rows const rows{{627285.1, 0, 0}, {627285.2, 0, 0},  {627285.4, 0, 0},
                  {627284.7, 0, 0}, {-900000.7, 0, 0}, {1e300, 0, 0}};
  read_by_all(rows, {}, [&](auto const& read) {
    auto const sentence = test::error_of([&] { static_cast<void>(read()); });
    CHECK(test::has(sentence, "its x runs from -900000.700 to 627285.400, too far for floats"));
    CHECK(test::has(sentence, "give an origin, e.g. 627285.000 on this axis"));
  });
}

TEST_CASE("origin: integers above 2^24 need one, floats of a file stay the floats they are")
{
  test::TempDir const dir;
  std::vector<std::int32_t> const integers{500000001, 1, 2, 500000004, 3, 4, 500000002, 5, 6};
  write_npy(dir / "f.npy", raw_tensor(integers, {3, 3}));
  auto const cloud = read_point_cloud(dir / "f.npy");
  CHECK(cloud.origin == std::array<double, 3>{500000002, 0, 0});
  CHECK(cloud.positions == std::vector<float>{-1, 1, 2, 2, 3, 4, 0, 5, 6});
  std::vector<std::int64_t> const wide{(std::int64_t{1} << 53) + 3, 1, 2};
  write_npy(dir / "f.npy", raw_tensor(wide, {1, 3}));
  CHECK(test::has(test::error_of([&] { static_cast<void>(read_point_cloud(dir / "f.npy")); }),
                  "has more digits than a double"));

  std::vector<float> const floats{627285.1F, 4841948.3F, -3e38F, 1, std::nanf("5"), 2};
  write_npy(dir / "g.npy", raw_tensor(floats, {2, 3}));
  auto const same = read_point_cloud(dir / "g.npy");
  CHECK(!same.has_origin());
  CHECK(std::memcmp(same.positions.data(), floats.data(), 24) == 0);
  auto const moved =
      read_point_cloud(dir / "g.npy", PointReadOptions{PointFormat::detect, {}, {{600000, 0, 0}}});
  CHECK(moved.positions[0] == floats[0] - 600000.0F);
}

TEST_CASE("origin: rows of floats cannot be written about one")
{
  test::TempDir const dir;
  PointCloud cloud;
  cloud.positions = {1, 2, 3};
  cloud.origin = {5, 0, 0};
  CHECK(test::has(test::error_of([&] { write_point_bin(dir / "f.bin", cloud); }),
                  "the cloud has an origin, which floats cannot hold"));
  CHECK(dir.num_files() == 0);
}
