// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/files.hpp"
#include "pcd_files.hpp"

#include <tessera/io/point_cloud_file.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

using namespace tessera;
using namespace pcd_files;

TEST_CASE("pcd: every type is read alike as text, by points and compressed")
{
  EveryType const every;
  every.check(parse(header(every.fields, every.points, "ascii") + every.text));
  every.check(parse(header(every.fields, every.points, "binary") + every.by_point));
  std::string all;
  for (auto const& field : every.by_field) { all += field; }
  auto const packed = compress(all);
  CHECK(packed.size() < all.size());
  every.check(
      parse(header(every.fields, every.points, "binary_compressed") + with_sizes(packed, all.size())));
}

TEST_CASE("pcd: files packed by liblzf and by NumPy are read alike in the three forms")
{
  for (std::string const form : {"ascii", "binary", "compressed"}) {
    CAPTURE(form);
    auto const cloud = read_pcd(test::fixture("points_" + form + ".pcd"));
    cloud.check("test");
    REQUIRE(cloud.size() == 40);
    CHECK(cloud.feature_names == std::vector<std::string>{"red", "green", "blue", "t", "n_0", "n_1"});
    CHECK(cloud.origin == std::array<double, 3>{0, 627305, 0});
    for (std::size_t i = 0; i < 40; ++i) {
      auto const k = static_cast<float>(i);
      CHECK(cloud.positions[3 * i] == 0.5F * k);
      CHECK(std::fabs(cloud.origin[1] + static_cast<double>(cloud.positions[3 * i + 1]) - 627285.1 -
                      static_cast<double>(i)) < 1e-5);
      CHECK(cloud.positions[3 * i + 2] == -k);
      CHECK(cloud.labels[i] == static_cast<std::int32_t>(i));
      auto const* const f = cloud.features.data() + 6 * i;
      CHECK(std::vector<float>(f, f + 6) == std::vector<float>{0x10, 0x20, 0x30 + k, 60000 + k, k, -k});
    }
  }
}

TEST_CASE("pcd: the file and the general reader know it by content and by name")
{
  test::TempDir const dir;
  std::string const text = header(xyz, 2, "ascii") + "1 2 3\n4 5 6\n";
  for (std::string const name : {"a.pcd", "a", "b.bin"}) {
    test::write_bytes(dir / name, text);
    CHECK(read_point_cloud(dir / name).positions == std::vector<float>{1, 2, 3, 4, 5, 6});
    CHECK(read_pcd(dir / name).size() == 2);
  }
  test::write_bytes(dir / "c.pcd", "\n# by hand\n" + text.substr(text.find("FIELDS")));
  CHECK(read_point_cloud(dir / "c.pcd").size() == 2);
  test::write_bytes(dir / "d", text.substr(text.find("VERSION")));
  CHECK(read_point_cloud(dir / "d").size() == 2);
  CHECK(read_point_cloud(dir / "d", PointFormat::pcd).size() == 2);
}

TEST_CASE("pcd: an organized cloud keeps its rows and its NaN, and the viewpoint is not applied")
{
  auto const cloud = parse(
      "VERSION .7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 2\nHEIGHT 2\n"
      "VIEWPOINT 9 9 9 0.5 0.5 0.5 0.5\nPOINTS 4\nDATA ascii\n1 2 3\nnan nan nan\n-inf 5 6\n7 8 NaN\n");
  REQUIRE(cloud.size() == 4);
  CHECK(cloud.positions[0] == 1);
  CHECK(std::isnan(cloud.positions[3]));
  CHECK(cloud.positions[6] == -INFINITY);
  CHECK(std::isnan(cloud.positions[11]));
}

TEST_CASE("pcd: headers that leave things out, in any order, with any line ends")
{
  for (std::string const head :
       {"FIELDS x y z\nPOINTS 1\nDATA ascii\n", "COLUMNS x y z\nWIDTH 1\nDATA ascii\n",
        "POINTS 1\nCOUNT 1 1 1\nTYPE F F F\n\n#\n  SIZE 4 4 4 \nHEIGHT 1\nFIELDS  x\ty z\nWIDTH 1\nDATA "
        "ascii\n",
        "FIELDS x y z\r\nPOINTS 1\r\nDATA ascii\r\n"}) {
    CHECK(parse(head + "1 2 3\n").positions == std::vector<float>{1, 2, 3});
    CHECK(parse(head + "\r\n 1 +2 3e0 \r\n\r\n").positions == std::vector<float>{1, 2, 3});
  }
  CHECK(parse("FIELDS x y z\nPOINTS 0\nDATA binary_compressed\n").empty());
  CHECK(parse("FIELDS x y z\nWIDTH 0\nHEIGHT 0\nPOINTS 0\nDATA binary\n").empty());
}

TEST_CASE("pcd: packed colours become channels, of whatever type they are")
{
  for (std::string const name : {"rgb", "rgba"}) {
    for (char const type : {'F', 'U', 'I'}) {
      CAPTURE(name);
      CAPTURE(type);
      std::string const fields = "FIELDS x y z " + name + "\nSIZE 4 4 4 4\nTYPE F F F " + type + "\n";
      std::string row(12, '\0');
      row += "\x03\x02\x01\x7f";
      auto const cloud = parse(header(fields, 1, "binary") + row);
      std::vector<float> wanted{1, 2, 3};
      if (name == "rgba") { wanted.push_back(127); }
      CHECK(cloud.features == wanted);
      CHECK(cloud.channels == static_cast<int>(name.size()));
      if (type != 'F') { CHECK(parse(header(fields, 1, "ascii") + "0 0 0 2130772483\n").features == wanted); }
    }
  }
  CHECK(parse(header("FIELDS x y z rgb\nSIZE 4 4 4 8\nTYPE F F F F\n", 1, "ascii") + "0 0 0 0.5\n")
            .feature_names == std::vector<std::string>{"rgb"});
}

TEST_CASE("pcd: doubles of a map keep their precision about an origin")
{
  auto const cloud = parse(header("FIELDS x y z\nSIZE 8 8 8\nTYPE F F F\n", 2, "ascii") +
                           "627285.1 4841948.3 1\n627285.2 4841948.4 2\n");
  CHECK(cloud.origin == std::array<double, 3>{627285, 4841948, 0});
  CHECK(cloud.positions[0] == doctest::Approx(0.1));
  CHECK(cloud.positions[4] == doctest::Approx(0.4));
}

TEST_CASE("pcd: a header that cannot be is refused with its line")
{
  CHECK(error("") == "bad PCD header in line 1: the file ends before DATA");
  CHECK(error("FIELDS x y z\n") == "bad PCD header in line 2: the file ends before DATA");
  CHECK(error("#" + std::string(70'000, 'x')) ==
        "bad PCD header in line 1: no DATA within the first 65536 bytes");
  CHECK(error("NONSENSE 1\nDATA ascii\n") == "bad PCD header in line 1: the unknown entry 'NONSENSE'");
  CHECK(error("DATA ascii\n") == "bad PCD header in line 1: FIELDS is missing");
  CHECK(error("FIELDS\nDATA ascii\n") == "bad PCD header in line 1: FIELDS without a value");
  CHECK(error("FIELDS x\nFIELDS y\nDATA ascii\n") == "bad PCD header in line 2: a second FIELDS");
  CHECK(error(xyz + "DATA ascii\n") == "bad PCD header in line 5: neither WIDTH nor POINTS");
  for (std::string const data : {"", "text", "ascii binary", "BINARY"}) {
    CHECK(test::has(error(xyz + "POINTS 0\nDATA " + data + "\n"), "DATA is not one of ascii"));
  }
  for (std::string const number : {"-1", "1.5", "", "1 2", "18446744073709551616", "x"}) {
    CHECK(test::has(error(xyz + "POINTS " + number + "\nDATA ascii\n"),
                    "POINTS is not one whole number of at least 0"));
  }
  CHECK(test::has(error(xyz + "WIDTH 2\nHEIGHT 3\nPOINTS 5\nDATA ascii\n"),
                  "WIDTH 2 and HEIGHT 3, but POINTS 5"));
  CHECK(
      test::has(error(xyz + "WIDTH 4294967296\nHEIGHT 4294967296\nPOINTS 0\nDATA ascii\n"), "but POINTS 0"));
  CHECK(test::has(error("FIELDS x y z\nSIZE 4 4\nPOINTS 0\nDATA ascii\n"), "3 FIELDS, but 2 values in SIZE"));
  CHECK(test::has(error("FIELDS x y z\nTYPE F F F F\nPOINTS 0\nDATA ascii\n"), "but 4 values in TYPE"));
  for (std::string const size : {"3", "2", "16", "x", "-4", "04"}) {
    CHECK(test::has(error("FIELDS x y z\nSIZE 4 4 " + size + "\nPOINTS 0\nDATA ascii\n"),
                    "the field 'z' is of TYPE 'F'"));
  }
  CHECK(test::has(error("FIELDS x y z\nTYPE F F D\nPOINTS 0\nDATA ascii\n"), "of TYPE 'D' and SIZE '4'"));
  for (std::string const count : {"0", "-1", "4097", "x"}) {
    CHECK(test::has(error("FIELDS x y z\nCOUNT 1 1 " + count + "\nPOINTS 0\nDATA ascii\n"),
                    "the COUNT '" + count));
  }
  CHECK(
      test::has(error("FIELDS x y z a\nCOUNT 1 1 1 4094\nPOINTS 0\nDATA ascii\n"), "more than 4096 numbers"));
  CHECK(test::has(error("FIELDS x y z\nVIEWPOINT 1 2 3\nPOINTS 0\nDATA ascii\n"),
                  "VIEWPOINT is not seven numbers"));
  CHECK(error("FIELDS x y\nPOINTS 0\nDATA ascii\n") == "its points lack one of x, y and z");
  CHECK(error("FIELDS x y z\nCOUNT 1 1 2\nPOINTS 0\nDATA ascii\n") == "its points lack one of x, y and z");
  CHECK(error("FIELDS x y z x\nPOINTS 0\nDATA ascii\n") == "has two columns 'x'");
  CHECK(error("FIELDS x y z rgb red\nPOINTS 0\nDATA ascii\n") == "has two columns 'red'");
}

TEST_CASE("pcd: data that are not what the header promises are refused")
{
  CHECK(error(header(xyz, 2, "ascii") + "1 2 3\n4 5\n6\n") ==
        "element 'point', row 1: the line ends before its last value");
  CHECK(error(header(xyz, 1, "ascii") + "1 2 3 4\n") ==
        "element 'point', row 0: the line goes on after its last value");
  CHECK(error(header(xyz, 1, "ascii") + "1 two 3\n") ==
        "element 'point', row 0: 'two' is no number that a double can hold");
  CHECK(error(header(xyz, 1, "ascii") + "1 2 3\n4 5 6\n") == "goes on after its last point");
  CHECK(test::has(error(header(xyz, 9, "ascii") + "1 2 3\n"),
                  "claims 9 points, each of at least 6 bytes, but only 6"));
  CHECK(test::has(error(header(xyz, 2, "binary") + std::string(23, '\1')),
                  "claims 2 points, each of at least 12 bytes, but only 23"));
  CHECK(error(header(xyz, 1, "binary") + std::string(13, '\1')) == "goes on after its last point");
  CHECK(error(header(xyz, 1, "binary") + std::string(12, '\1') + '\n' + std::string(4, '\0')).empty());
  CHECK(test::has(error("FIELDS x y z\nPOINTS 18446744073709551615\nDATA binary\n"),
                  "but only 0 bytes follow"));
  CHECK(test::has(error("FIELDS x y z\nPOINTS 18446744073709551615\nDATA binary_compressed\n"),
                  "than 0 compressed bytes"));
}

TEST_CASE("pcd: compressed data that lie are refused, whatever they say")
{
  std::string const data(1200, 'a');
  auto const packed = compress(data);
  auto const head = header(xyz, 100, "binary_compressed");
  CHECK(parse(head + with_sizes(packed, 1200)).size() == 100);
  CHECK(parse(head + with_sizes(packed, 1200) + std::string(5, '\0')).size() == 100);
  CHECK(error(head + with_sizes(packed, 1200) + "x") == "goes on after its compressed data");
  CHECK(error(head + with_sizes(packed, 1200).substr(0, 13)) ==
        "claims 100 points of 12 bytes, more than 13 compressed bytes can hold");
  CHECK(test::has(error(head + with_sizes(packed, 1201)),
                  "claims 1201 bytes when decompressed, but its points need 1200"));
  CHECK(test::has(error(head + with_sizes(packed + std::string(9, 'x'), 1200).substr(0, 20)),
                  "bytes of compressed data, but only 12 follow"));
  CHECK(error(header(xyz, 1, "binary_compressed") + "1234567") ==
        "ends within the sizes of its compressed data");
  for (std::size_t cut = 1; cut < packed.size(); ++cut) {
    CHECK(test::has(error(head + with_sizes(packed.substr(0, cut), 1200) + std::string(14, '\0')),
                    "compressed"));
  }
  for (std::string const& bad : {std::string("\x20\x00", 2),
                                 std::string("\x01"
                                             "a",
                                             2),
                                 std::string("\xe0\xff", 2),
                                 std::string("\x00"
                                             "a\x3f\xff",
                                             4),
                                 std::string("\x20", 1)}) {
    CHECK(error(head + with_sizes(bad + std::string(60, '\0'), 1200)) == "its compressed data are damaged");
  }
}

TEST_CASE("pcd: what is compressed is decompressed, with repetitions near, far and within themselves")
{
  std::mt19937 random{11};
  for (int round = 0; round < 40; ++round) {
    CAPTURE(round);
    std::string text;
    auto const letters = 1 + random() % 8;
    while (text.size() < 1 + random() % 9000) {
      if (random() % 3 == 0 && !text.empty()) {
        auto const from = random() % text.size();
        auto const length = random() % 700;
        for (std::size_t i = 0; i < length; ++i) { text += text[from + i % (text.size() - from)]; }
      } else {
        text += static_cast<char>(random() % letters);
      }
    }
    auto const packed = compress(text);
    detail::Bytes bytes{1, 2, 3};  // what was there stays and is not reached back to
    REQUIRE(detail::decompress_lzf(packed, text.size(), bytes));
    CHECK(std::string{bytes.begin() + 3, bytes.end()} == text);
    detail::Bytes other;
    CHECK(!detail::decompress_lzf(packed, text.size() + 1, other));
    other.clear();
    CHECK(!detail::decompress_lzf(packed, text.size() - 1, other));
  }
  detail::Bytes bytes{1};
  CHECK(!detail::decompress_lzf(std::string_view{"\x20\x00", 2}, 3, bytes));  // back before its own beginning
}

TEST_CASE("pcd: a large file is refused by its beginning")
{
  test::TempDir const dir;
  test::write_bytes(dir / "f.pcd", header(xyz, 1'000'000'000'000, "binary"));
  std::filesystem::resize_file(dir / "f.pcd", std::uintmax_t{1} << 35);
  CHECK(test::has(test::error_of([&] { static_cast<void>(read_pcd(dir / "f.pcd")); }),
                  "claims 1000000000000 points"));
  CHECK(test::has(test::error_of([&] { static_cast<void>(read_point_cloud(dir / "f.pcd")); }),
                  "claims 1000000000000 points"));
}
