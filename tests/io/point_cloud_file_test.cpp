// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/allocations.hpp"
#include "../support/data.hpp"
#include "../support/files.hpp"

#include <tessera/io/point_cloud_file.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

using namespace tessera;

namespace {

std::string error_of_reading(std::string const& path, PointFormat format = PointFormat::detect)
{
  return test::error_of([&] { static_cast<void>(read_point_cloud(path, format)); });
}

void write_floats(std::string const& path, std::vector<float> const& values)
{
  std::ofstream{path, std::ios::binary}.write(reinterpret_cast<char const*>(values.data()),
                                              static_cast<std::streamsize>(4 * values.size()));
}

}  // namespace

TEST_CASE("point bin: rows of any width are read, the rest beyond x, y, z as features")
{
  test::TempDir const dir;
  write_floats(dir / "f", {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
  auto const three = read_point_bin(dir / "f", 3);
  CHECK(three.size() == 4);
  CHECK(three.channels == 0);
  CHECK(three.positions[11] == 12);
  auto const six = read_point_bin(dir / "f", 6, {"a", "b", "c"});
  CHECK(six.positions == std::vector<float>{1, 2, 3, 7, 8, 9});
  CHECK(six.features == std::vector<float>{4, 5, 6, 10, 11, 12});
  CHECK(six.feature_names[2] == "c");
  auto const kitti = read_kitti(dir / "f");
  CHECK(kitti.features == std::vector<float>{4, 8, 12});
  CHECK(kitti.feature_names == std::vector<std::string>{"intensity"});
  write_floats(dir / "g", {1, 2, 3, 40, 5, 6, 7, 8, 90, 10});
  auto const sweep = read_nuscenes(dir / "g");
  CHECK(sweep.features == std::vector<float>{40, 5, 90, 10});
  CHECK(sweep.feature_names == std::vector<std::string>{"intensity", "ring"});
}

TEST_CASE("point bin: what is written is read back")
{
  test::TempDir const dir;
  PointCloud cloud;
  cloud.positions = {1, 2, 3, 4, 5, 6};
  cloud.channels = 2;
  cloud.features = {7, 8, 9, 10};
  write_point_bin(dir / "f.bin", cloud);
  CHECK(std::filesystem::file_size(dir / "f.bin") == 40);
  auto const read = read_point_bin(dir / "f.bin", 5);
  CHECK(read.positions == cloud.positions);
  CHECK(read.features == cloud.features);
  cloud.features.pop_back();
  CHECK(test::has(test::error_of([&] { write_point_bin(dir / "g.bin", cloud); }), "with 3 feature values"));
  CHECK(dir.num_files() == 1);
}

TEST_CASE("point bin: an empty file is a cloud without a point")
{
  test::TempDir const dir;
  write_floats(dir / "f.bin", {});
  CHECK(read_point_cloud(dir / "f.bin").empty());
  CHECK(read_point_cloud(dir / "f.bin").channels == 1);
  write_floats(dir / "f.pcd.bin", {});
  CHECK(read_point_cloud(dir / "f.pcd.bin").channels == 2);
  write_point_bin(dir / "g.bin", PointCloud{});
  CHECK(read_kitti(dir / "g.bin").empty());
}

TEST_CASE("point bin: a size that is no multiple of a row and widths that cannot be are refused")
{
  test::TempDir const dir;
  write_floats(dir / "f.bin", {1, 2, 3, 4, 5, 6});
  CHECK(test::error_of([&] { static_cast<void>(read_kitti(dir / "f.bin")); }) ==
        "read_kitti: " + (dir / "f.bin") +
            ": holds 24 bytes, which is no multiple of the 16 bytes of a point with 4 float columns");
  CHECK(test::has(test::error_of([&] { static_cast<void>(read_nuscenes(dir / "f.bin")); }),
                  "no multiple of the 20 bytes"));
  for (int const columns : {2, 0, -1, 1025}) {
    CHECK(test::has(test::error_of([&] { static_cast<void>(read_point_bin(dir / "f.bin", columns)); }),
                    "rows of " + std::to_string(columns) + " columns; 3 to 1024 are possible"));
  }
  CHECK(test::has(test::error_of([&] { static_cast<void>(read_point_bin(dir / "f.bin", 6, {"a"})); }),
                  "rows of 6 columns with 1 feature names"));
  CHECK(test::has(error_of_reading(dir / "absent.bin"), "cannot be opened"));
}

TEST_CASE("point cloud file: the format is found by content, then by name")
{
  test::TempDir const dir;
  PointCloud cloud;
  cloud.positions = {1, 2, 3, 4, 5, 6};
  cloud.channels = 1;
  cloud.features = {0.5F, 0.25F};
  cloud.labels = {3, 4};

  write_ply(dir / "odd.name", cloud);
  CHECK(read_point_cloud(dir / "odd.name").labels == cloud.labels);
  std::vector<float> const rows{1, 2, 3, 0.5F, 4, 5, 6, 0.25F};
  write_npy(dir / "odd.bin", raw_tensor(rows, {2, 4}));
  auto const from_npy = read_point_cloud(dir / "odd.bin");
  CHECK(from_npy.positions == cloud.positions);
  CHECK(from_npy.features == cloud.features);
  CHECK(from_npy.feature_names == std::vector<std::string>{"intensity"});

  write_floats(dir / "scan.bin", rows);
  CHECK(read_point_cloud(dir / "scan.bin").features == cloud.features);
  write_floats(dir / "sweep.pcd.bin", {1, 2.5F, 3, 50, 0, 4, 5, 6, 70, 31});
  CHECK(read_point_cloud(dir / "sweep.pcd.bin").channels == 2);
  CHECK(
      test::has(error_of_reading(dir / "sweep.pcd.bin", PointFormat::kitti), "no multiple of the 16 bytes"));
  CHECK(test::has(error_of_reading(dir / "scan.bin", PointFormat::ply), "does not begin as a PLY file does"));
  CHECK(
      test::has(error_of_reading(dir / "scan.bin", PointFormat::npy), "does not begin as an npy file does"));

  test::write_bytes(dir / "text.txt", std::string{"1 2 3\n"});
  CHECK(error_of_reading(dir / "text.txt") ==
        "read_point_cloud: " + (dir / "text.txt") +
            ": is a text of points, which is not read here; read are .bin (KITTI, nuScenes, rows of any "
            "columns), .ply, .pcd and .npy; convert it, e.g. with CloudCompare or PDAL");
  test::write_bytes(dir / "empty.ply", std::string{});
  CHECK(test::has(error_of_reading(dir / "empty.ply"), "does not begin as a PLY file does"));
  test::write_bytes(dir / "empty.npy", std::string{});
  CHECK(test::has(error_of_reading(dir / "empty.npy"), "does not begin as an npy file does"));
}

TEST_CASE("point cloud file: npy arrays of any type, at least three columns wide")
{
  test::TempDir const dir;
  std::vector<double> const doubles{1, 2, 3, 4, 5, 6};
  write_npy(dir / "f.npy", raw_tensor(doubles, {2, 3}));
  CHECK(read_point_cloud(dir / "f.npy").positions == std::vector<float>{1, 2, 3, 4, 5, 6});
  write_npy(dir / "f.npy", raw_tensor(doubles, {1, 6}));
  CHECK(read_point_cloud(dir / "f.npy").features == std::vector<float>{4, 5, 6});
  write_npy(dir / "f.npy", raw_tensor(std::vector<float>{}, {0, 4}));
  CHECK(read_point_cloud(dir / "f.npy").empty());
  for (auto const& shape : {std::vector<std::int64_t>{6}, {3, 2}, {1, 2, 3}, {}}) {
    std::vector<double> const values(shape.empty() ? 1 : 6);
    write_npy(dir / "f.npy", raw_tensor(values, shape));
    CHECK(test::has(error_of_reading(dir / "f.npy"), "points are an array [num_points, 3 + channels]"));
  }
}

TEST_CASE(
    "point cloud file: more points than may be read are refused, before they are read where a header tells")
{
  test::TempDir const dir;
  auto const refusal = [&](std::string const& path, PointReadOptions options, std::int64_t most) {
    options.max_points = most;
    try {
      static_cast<void>(read_point_cloud(path, options));
      return std::string{};
    } catch (invalid_argument const& error) {
      return std::string{error.what()};
    }
  };
  PointCloud cloud;
  cloud.positions.assign(3 * 100000, 1.0F);
  write_ply(dir / "f.ply", cloud);
  write_npy(dir / "f.npy", raw_tensor(cloud.positions, {100000, 3}));
  std::string const numbers(std::size_t{12} * 100000, '@');
  std::ofstream{dir / "f.pcd", std::ios::binary} << "VERSION .7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nWIDTH "
                                                    "100000\nHEIGHT 1\nPOINTS 100000\nDATA binary\n"
                                                 << numbers;
  std::ofstream{dir / "f.bin", std::ios::binary} << numbers;
  for (auto const* const name : {"f.ply", "f.npy", "f.pcd", "f.bin"}) {
    CAPTURE(std::string{name});
    auto const options = point_format(std::string{name} == "f.bin" ? "xyz" : "detect");
    CHECK(refusal(dir / name, options, 100000).empty());
    CHECK(refusal(dir / name, options, 0) != "");
    test::AllocationWatch const watch;
    CHECK(test::has(refusal(dir / name, options, 99999),
                    "has 100000 points, which are more than the 99999 that may be read"));
    CHECK(watch.peak_bytes() < 500000);  // the beginning, and not the 1.2 MB of the file
  }
}

TEST_CASE("point cloud file: recorded scans of KITTI and nuScenes are recognised and plausible")
{
  struct Scan {
    char const* file;
    std::uintmax_t row;
    int channels;
  };
  for (auto const& scan :
       {Scan{"data/semkitti_000000.bin", 16, 1}, Scan{"data/nuscenes_lidar_top.bin", 20, 2}}) {
    auto const path = test::data_file(scan.file);
    if (!path) { continue; }
    CAPTURE(scan.file);
    auto const cloud = read_point_cloud(*path);
    CHECK(cloud.channels == scan.channels);
    CHECK(static_cast<std::uintmax_t>(cloud.size()) == std::filesystem::file_size(*path) / scan.row);
    auto const box = bounds(cloud);
    CHECK(box.num_points == cloud.size());
    for (std::size_t axis = 0; axis < 3; ++axis) {
      CHECK(box.min[axis] < 0);
      CHECK(box.max[axis] > 0);
      CHECK(box.max[axis] - box.min[axis] < 400);
    }
    test::TempDir const dir;
    write_point_bin(dir / "copy.bin", cloud);
    CHECK(test::read_bytes(dir / "copy.bin") == test::read_bytes(*path));
    write_ply(dir / "copy.ply", cloud);
    auto const read = read_point_cloud(dir / "copy.ply");
    CHECK(read.positions == cloud.positions);
    CHECK(read.features == cloud.features);
  }
}
