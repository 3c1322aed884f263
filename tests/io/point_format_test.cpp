// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/files.hpp"

#include <tessera/io/point_cloud_file.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

using namespace tessera;

TEST_CASE("point format: texts name formats, numbers of columns and columns")
{
  CHECK(point_format("detect").format == PointFormat::detect);
  CHECK(point_format("xyzrgb").format == PointFormat::xyzrgb);
  CHECK(point_format("pcd").format == PointFormat::pcd);
  auto const names = [](std::string const& text) {
    std::string result;
    auto const options = point_format(text);
    CHECK(options.format == PointFormat::columns);
    for (auto const& [name, type] : options.columns) {
      result += name + ':' + detail::column_types[static_cast<std::size_t>(type)].name + ' ';
    }
    return result;
  };
  CHECK(names("3") == "x:f4 y:f4 z:f4 ");
  CHECK(names("4:f8") == "x:f8 y:f8 z:f8 intensity:f8 ");
  CHECK(names("5") == "x:f4 y:f4 z:f4 feature_0:f4 feature_1:f4 ");
  CHECK(names("x,y,z,intensity:u1,_:u2,t:i8") == "x:f4 y:f4 z:f4 intensity:u1 _:u2 t:i8 ");
  for (std::string const bad :
       {"", "kiti", "columns", "2", "1025", "-4", "4:f2", "4:", "x,y,,z", "x,y,z:float", "4,f8"}) {
    CAPTURE(bad);
    auto const sentence = test::error_of([&] {
      auto const options = point_format(bad);
      test::TempDir const dir;
      test::write_bytes(dir / "f.bin", std::string{});
      static_cast<void>(read_point_cloud(dir / "f.bin", options));
    });
    CHECK(!sentence.empty());
  }
  CHECK(test::has(test::error_of([&] { static_cast<void>(point_format("kiti")); }),
                  "point_format: there is no format 'kiti'; there are: detect, kitti, nuscenes"));
}

TEST_CASE("point bin: rows of any types, in any order, with padding and labels")
{
  test::TempDir const dir;
  std::string rows;
  auto const put = [&](auto value) { rows.append(reinterpret_cast<char const*>(&value), sizeof(value)); };
  for (int i = 0; i < 3; ++i) {
    put(static_cast<std::uint8_t>(10 + i));
    put(1000.25 + i);
    put(static_cast<std::uint16_t>(60000 + i));
    put(2.5F);
    put(static_cast<std::int16_t>(-3 - i));
    put(std::uint32_t{0xffffffff});
    put(static_cast<std::int32_t>(i - 1));
  }
  test::write_bytes(dir / "f.raw", rows);
  auto const options = point_format("intensity:u1,x:f8,ring:u2,y,z:i2,_:u4,label:i4");
  auto const cloud = read_point_cloud(dir / "f.raw", options);
  CHECK(cloud.positions == std::vector<float>{1000.25F, 2.5F, -3, 1001.25F, 2.5F, -4, 1002.25F, 2.5F, -5});
  CHECK(cloud.feature_names == std::vector<std::string>{"intensity", "ring"});
  CHECK(cloud.features == std::vector<float>{10, 60000, 11, 60001, 12, 60002});
  CHECK(cloud.labels == std::vector<std::int32_t>{-1, 0, 1});
  CHECK(read_point_bin(dir / "f.raw", options.columns).positions == cloud.positions);
  CHECK(test::has(
      test::error_of([&] { static_cast<void>(read_point_bin(dir / "f.raw", point_format("7").columns)); }),
      "no multiple of the 28 bytes of a point with 7 float columns"));
  CHECK(test::has(test::error_of([&] {
                    static_cast<void>(read_point_cloud(dir / "f.raw", point_format("x:u1,y:u1,a:u1")));
                  }),
                  "its points lack one of x, y and z"));
  CHECK(test::has(test::error_of([&] {
                    static_cast<void>(
                        read_point_cloud(dir / "f.raw", point_format("x:u1,y:u1,z:u1,x:u1,a:u1")));
                  }),
                  "has two columns 'x'"));
  CHECK(test::has(
      test::error_of([&] { static_cast<void>(read_point_cloud(dir / "f.raw", PointFormat::columns)); }),
      "PointFormat::columns was given without columns"));
  auto chosen = options;
  chosen.format = PointFormat::detect;
  CHECK(read_point_cloud(dir / "f.raw", chosen).positions == cloud.positions);
  chosen.format = PointFormat::kitti;
  CHECK(test::has(test::error_of([&] { static_cast<void>(read_point_cloud(dir / "f.raw", chosen)); }),
                  "columns were given with a format that has its own"));
}

TEST_CASE("point cloud file: files of other formats are refused by their names and beginnings")
{
  test::TempDir const dir;
  auto const sentence = [&](std::string const& name, std::string const& bytes) {
    test::write_bytes(dir / name, bytes);
    return test::error_of([&] { static_cast<void>(read_point_cloud(dir / name)); });
  };
  CHECK(
      test::has(sentence("a.las", "LASF" + std::string(300, '\0')), "is a LAS file, which is not read here"));
  CHECK(test::has(sentence("a.laz", "LASF" + std::string(300, '\0')), "is a LAZ file"));
  CHECK(test::has(sentence("tile", "LASF" + std::string(300, '\0')), "is a LAS file"));
  CHECK(test::has(sentence("A.LAZ", "LASF"), "is a LAZ file"));
  CHECK(test::has(sentence("a.bin", "LASF" + std::string(316, '\0')), "is a LAS file"));
  CHECK(test::has(sentence("scan.e57", "ASTM-E57"), "is an E57 file"));
  CHECK(test::has(sentence("scan.bin", "ASTM-E57" + std::string(72, 'x')), "is an E57 file"));
  CHECK(test::has(sentence("a.bag", "#ROSBAG V2.0\n"), "is a ROS bag"));
  CHECK(test::has(sentence("a.csv", "1,2,3\n"), "is a text of points"));
  CHECK(test::has(sentence("a.npz", "PK\x03\x04"), "is a zip archive"));
  CHECK(test::has(sentence("a.dat", "?"), "is no file of points that is known; read are .bin"));
}
