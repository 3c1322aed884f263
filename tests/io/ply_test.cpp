// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/files.hpp"

#include <tessera/io/ply.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

using namespace tessera;

namespace {

constexpr auto formats = {PlyFormat::ascii, PlyFormat::binary_little_endian, PlyFormat::binary_big_endian};

PointCloud parse(std::string const& text)
{
  return detail::parse_ply({text.begin(), text.end()}, detail::FileContext{"read_ply", "f"});
}

/// What is said of a file, behind the common beginning.
std::string error(std::string const& text)
{
  auto const sentence = test::error_of([&] { static_cast<void>(parse(text)); });
  std::string const beginning = "read_ply: f: ";
  return sentence.substr(0, beginning.size()) == beginning ? sentence.substr(beginning.size()) : sentence;
}

std::string const xyz = "property float x\nproperty float y\nproperty float z\n";

std::string ascii(std::string const& count, std::string const& properties, std::string const& rows)
{
  return "ply\nformat ascii 1.0\nelement vertex " + count + "\n" + properties + "end_header\n" + rows;
}

std::string binary(std::string const& count, std::string const& properties, std::string const& rows)
{
  return "ply\nformat binary_little_endian 1.0\nelement vertex " + count + "\n" + properties +
         "end_header\n" + rows;
}

PointCloud some_points(bool labels)
{
  PointCloud cloud;
  cloud.positions = {0.1F, -1e-30F, 3e30F, 1, 2, 3, -0.0F, 16777216, 0.3333333F};
  cloud.channels = 2;
  cloud.feature_names = {"intensity", "ring"};
  cloud.features = {0.25F, 1, 0.7F, 2, 1, 31};
  if (labels) {
    cloud.labels = {std::numeric_limits<std::int32_t>::min(), 0, std::numeric_limits<std::int32_t>::max()};
  }
  return cloud;
}

bool same_bits(std::vector<float> const& a, std::vector<float> const& b)
{
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), 4 * a.size()) == 0);
}

}  // namespace

TEST_CASE("ply: files of another writer are read, with faces first and lists between, in all three formats")
{
  for (std::string const kind : {"ascii", "little", "big"}) {
    CAPTURE(kind);
    auto const cloud = read_ply(test::fixture("faces_first_" + kind + ".ply"));
    cloud.check("test");
    CHECK(cloud.positions == std::vector<float>{0, 0.25F, 0, 1, 1.25F, -1, 2, 2.25F, -2});
    CHECK(cloud.feature_names == std::vector<std::string>{"red", "intensity"});
    CHECK(cloud.features == std::vector<float>{0, 0, 10, 0.5F, 20, 1});
    CHECK(cloud.labels == std::vector<std::int32_t>{-1, 0, 1});
  }
}

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

TEST_CASE("ply: line ends of any kind, comments, other names of types and spare space are read")
{
  auto const cloud = parse(
      "ply\r\nformat ascii 1.0\r\ncomment by hand\r\nobj_info nothing\r\nelement  vertex\t2 \r\nproperty "
      "float32 x\r\n"
      "property float64 y\r\nproperty int16 z\r\n\r\nend_header\r\n\r\n 1  +2.5 3\r\n\n-1e3\t.5 -7");
  CHECK(cloud.positions == std::vector<float>{1, 2.5F, 3, -1000, 0.5F, -7});
  CHECK(cloud.channels == 0);
}

TEST_CASE("ply: values too large for a float become infinite")
{
  auto const cloud = parse(
      ascii("1", "property double x\nproperty double y\nproperty uint z\n", "1e300 -1e300 4294967295\n"));
  CHECK(std::isinf(cloud.positions[0]));
  CHECK(cloud.positions[1] < 0);
  CHECK(cloud.positions[2] == 4294967296.0F);
}

TEST_CASE("ply: every type is read with its sign and its byte order, in rows and as the count of a list")
{
  // The bytes 80 01 02 ... of each type, big-endian, and what they mean.
  struct Type {
    char const* name;
    std::string bytes;
    float value;
  };
  std::string properties = xyz;
  std::string row(12, '\0');
  std::vector<float> expected;
  for (auto const& type :
       {Type{"char", "\x80", -128.0F}, Type{"uchar", "\x80", 128.0F}, Type{"short", "\x80\x01", -32767.0F},
        Type{"ushort", "\x80\x01", 32769.0F}, Type{"int", {"\x80\x00\x00\x01", 4}, -2147483647.0F},
        Type{"uint", {"\x80\x00\x00\x01", 4}, 2147483649.0F}, Type{"float", {"\xc0\x20\x00\x00", 4}, -2.5F},
        Type{"double", {"\xc0\x04\x00\x00\x00\x00\x00\x00", 8}, -2.5F}}) {
    properties += std::string{"property "} + type.name + " p_" + type.name + "\n";
    row += type.bytes;
    expected.push_back(type.value);
  }
  auto const cloud =
      parse("ply\nformat binary_big_endian 1.0\nelement vertex 1\n" + properties + "end_header\n" + row);
  CHECK(cloud.features == expected);

  CHECK(error(binary("1", xyz + "property list ushort char l\n",
                     std::string(12, '\1') + "\x40\x9c" + std::string(40'000, 'x')))
            .empty());
}

TEST_CASE("ply: a header that cannot be is refused with its line")
{
  CHECK(error("") == "does not begin as a PLY file does");
  CHECK(error("plx\n") == "does not begin as a PLY file does");
  CHECK(error("ply") == "bad PLY header in line 1: the file ends before end_header");
  CHECK(error("plywood\n") == "bad PLY header in line 1: more than the word 'ply'");
  CHECK(error("ply\nformat ascii 1.0\nelement vertex 1\n" + xyz) ==
        "bad PLY header in line 7: the file ends before end_header");
  CHECK(error("ply\ncomment " + std::string(70'000, 'x') + "\n") ==
        "bad PLY header in line 2: no end_header within the first 65536 bytes");
  CHECK(error("ply\nend_header\n") == "bad PLY header in line 2: no format was given");
  CHECK(error("ply\nformat ascii 2.0\n") ==
        "bad PLY header in line 2: a format is a name and the version 1.0");
  CHECK(error("ply\nformat ascii\n") == "bad PLY header in line 2: a format is a name and the version 1.0");
  CHECK(error("ply\nformat text 1.0\n") == "bad PLY header in line 2: the unknown format 'text'");
  CHECK(error("ply\nformat ascii 1.0\nformat ascii 1.0\n") == "bad PLY header in line 3: a second format");
  CHECK(error("ply\nelephant\n") == "bad PLY header in line 2: the unknown keyword 'elephant'");
  CHECK(error("ply\nelement vertex\n") == "bad PLY header in line 2: an element is a name and a count");
  for (std::string const count : {"-1", "1.5", "nan", "1e3", "18446744073709551616", "0x10", "2x"}) {
    CAPTURE(count);
    CHECK(error(ascii(count, xyz, "")) == "bad PLY header in line 3: the count '" + count +
                                              "' of element 'vertex' is no whole number of at least 0");
  }
  CHECK(error("ply\nelement a 0\nelement a 0\n") == "bad PLY header in line 3: a second element 'a'");
  CHECK(error("ply\nproperty float x\n") == "bad PLY header in line 2: a property before the first element");
  std::string const wrong =
      "bad PLY header in line 4: a property is a type and a name, or 'list', two types and a name";
  CHECK(error(ascii("0", "property x\n", "")) == wrong);
  CHECK(error(ascii("0", "property\n", "")) == wrong);
  CHECK(error(ascii("0", "property float x y\n", "")) == wrong);
  CHECK(error(ascii("0", "property list uchar x\n", "")) == wrong);
  CHECK(error(ascii("0", "property real x\n", "")) == "bad PLY header in line 4: the unknown type 'real'");
  CHECK(error(ascii("0", "property list float int x\n", "")) ==
        "bad PLY header in line 4: a list whose count is no whole number");
  CHECK(error(ascii("0", "property float x\nproperty float x\n", "")) ==
        "bad PLY header in line 5: a second property 'x'");
  CHECK(error(ascii("1", "", "")) == "bad PLY header in line 4: the element 'vertex' has no properties");
  CHECK(error("ply\nformat ascii 1.0\nelement face 0\nend_header\n") == "has no element 'vertex'");
  CHECK(error(ascii("0", "property float x\nproperty float y\n", "")) ==
        "its vertices lack one of the properties x, y and z");
  CHECK(error(ascii("0", "property float x\nproperty float y\nproperty list uchar float z\n", "")) ==
        "its vertices lack one of the properties x, y and z");
}

TEST_CASE("ply: rows that are not what the header promises are refused with their number")
{
  CHECK(error(ascii("2", xyz, "1 2 3\n4 5 6\n")).empty());
  CHECK(error(ascii("2", xyz, "1 2 3\n4 5 6")).empty());
  CHECK(error(ascii("2", xyz, "1 2 3\n4 5\n6\n")) ==
        "element 'vertex', row 1: the line ends before its last value");
  CHECK(error(ascii("2", xyz, "1 2 3 4\n5 6\n")) ==
        "element 'vertex', row 0: the line goes on after its last value");
  CHECK(error(ascii("2", xyz, "1 2 3\n          \n")) == "element 'vertex', row 1: the file ends before it");
  CHECK(error(ascii("1", xyz, "1 2 3\n4 5 6\n")) == "goes on after its last row");
  for (std::string const number : {"two", "2,5", "0x2", "1e999", "--2", "+-2", "+"}) {
    CAPTURE(number);
    CHECK(error(ascii("1", xyz, "1 " + number + " 3\n")) ==
          "element 'vertex', row 0: '" + number + "' is no number that a double can hold");
  }
  std::string const with_byte = xyz + "property uchar red\n";
  for (std::string const number : {"-1", "256", "1.5", "nan"}) {
    CAPTURE(number);
    CHECK(error(ascii("1", with_byte, "1 2 3 " + number + "\n")) ==
          "element 'vertex', row 0: '" + number + "' is no value of type uchar");
  }
  CHECK(error(ascii("1", xyz + "property char c\n", "1 2 3 -128\n")).empty());
  CHECK(error(ascii("1", xyz + "property char c\n", "1 2 3 128\n")) ==
        "element 'vertex', row 0: '128' is no value of type char");
  CHECK(error(ascii("1", xyz + "property list char int l\n", "1 2 3 -1\n")) ==
        "element 'vertex', row 0: a list of -1 values");
  CHECK(error(ascii("1", xyz + "property list uint int l\n", "1 2 3 4294967295 1 2\n")) ==
        "element 'vertex', row 0: the line ends before its last value");
  for (std::string const label : {"1.5", "nan", "3e9"}) {
    CAPTURE(label);
    CHECK(test::has(error(ascii("1", xyz + "property double label\n", "1 2 3 " + label + "\n")),
                    "is no 32-bit whole number"));
  }
  CHECK(error(ascii("1", xyz + "property float label\n", "1 2 3 4.0\n")).empty());

  CHECK(error(binary("1", xyz, std::string(12, '\1'))).empty());
  CHECK(error(binary("1", xyz, std::string(13, '\1'))) == "goes on after its last row");
  CHECK(error(binary("1", xyz + "property list char int l\n", std::string(12, '\1') + "\xff")) ==
        "element 'vertex', row 0: a list of -1 values");
  CHECK(error(binary("1", xyz + "property list uint double l\n",
                     std::string(12, '\1') + "\xff\xff\xff\xff____")) ==
        "element 'vertex', row 0: a list of 4294967295 values is longer than the file");
  CHECK(error(binary("2", xyz + "property list uchar uchar l\n",
                     std::string(12, '\1') + "\x0e" + std::string(13, '\1') + "\x01")) ==
        "element 'vertex', row 1: the file ends within it");
}

TEST_CASE("ply: counts that the file cannot hold are refused before memory is taken")
{
  CHECK(error(ascii("18446744073709551615", xyz, "1 2 3\n")) ==
        "claims 18446744073709551615 rows of element 'vertex', each of at least 6 bytes, but only 7 bytes "
        "are left");
  CHECK(error(binary("2", xyz, std::string(23, '\1'))) ==
        "claims 2 rows of element 'vertex', each of at least 12 bytes, but only 23 bytes are left");
  CHECK(error("ply\nformat binary_big_endian 1.0\nelement face 1000000000000\nproperty list uchar int i\n"
              "element vertex 0\n" +
              xyz + "end_header\n") ==
        "claims 1000000000000 rows of element 'face', each of at least 1 bytes, but only 0 bytes are left");
}
