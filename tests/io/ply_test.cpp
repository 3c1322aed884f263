// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/files.hpp"
#include "ply_files.hpp"

#include <tessera/io/ply.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

using namespace tessera;
using namespace ply_files;

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
  CHECK(cloud.positions[2] + cloud.origin[2] == 4294967295.0);
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
  CHECK(error(ascii("0", "property float x\nproperty float y\n", "")) == "its points lack one of x, y and z");
  CHECK(error(ascii("0", "property float x\nproperty float y\nproperty list uchar float z\n", "")) ==
        "its points lack one of x, y and z");
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

TEST_CASE("ply: labels that do not all fit are a channel in the file's order, others are labels")
{
  auto const with = [](std::string const& type, std::string const& first, std::string const& second) {
    return parse(ascii("2", xyz + "property float a\nproperty " + type + " label\nproperty float b\n",
                       "1 2 3 10 " + first + " 20\n4 5 6 11 " + second + " 21\n"));
  };
  for (std::string const type : {"int", "float", "double", "int64", "longlong"}) {
    CAPTURE(type);
    auto const fits = with(type, "-7", "16777216");
    CHECK(fits.labels == std::vector<std::int32_t>{-7, 16777216});
    CHECK(fits.feature_names == std::vector<std::string>{"a", "b"});
    CHECK(fits.features == std::vector<float>{10, 20, 11, 21});
  }
  struct Odd {
    char const* type;
    char const* label;
    float value;
  };
  for (auto const& odd :
       {Odd{"uint", "2147483648", 2147483648.0F},
        Odd{"uint64", "18446744073709551615", 18446744073709551616.0F}, Odd{"float", "0.5", 0.5F},
        Odd{"double", "-3e9", -3e9F}, Odd{"double", "1e300", INFINITY}}) {
    CAPTURE(odd.label);
    auto const cloud = with(odd.type, "1", odd.label);
    cloud.check("test");
    CHECK(cloud.labels.empty());
    CHECK(cloud.channels == 3);
    CHECK(cloud.feature_names == std::vector<std::string>{"a", "label", "b"});
    CHECK(cloud.features == std::vector<float>{10, 1, 20, 11, odd.value, 21});
  }
  CHECK(std::isnan(with("float", "nan", "1").features[1]));
  auto const none = parse(ascii("0", xyz + "property double label\n", ""));
  CHECK(none.labels.empty());
  CHECK(none.channels == 0);
}

TEST_CASE("ply: line breaks may follow the last row, anything else may not")
{
  for (std::string const end : {"", "\n", "\r\n", "\n\n\n", " \t\n"}) {
    CHECK(parse(binary("1", xyz, std::string(12, '\1') + end)).size() == 1);
    CHECK(parse(ascii("1", xyz, "1 2 3\n" + end)).size() == 1);
  }
  for (std::string const end : {"x", "\n1", std::string(1, '\0').c_str(), "\n "}) {
    bool const blank = end.find_first_not_of(" \n") == std::string::npos;
    CHECK(error(binary("1", xyz, std::string(12, '\1') + end)).empty() == blank);
    CHECK(error(ascii("1", xyz, "1 2 3\n" + end)).empty() == blank);
  }
  CHECK(error(binary("1", xyz, std::string(12, '\1') + std::string(1, '\0'))) ==
        "goes on after its last row");
}

TEST_CASE("ply: headers and rows that end with carriage returns are read, also before binary data")
{
  auto const with_breaks = [](std::string text, std::string const& line_break) {
    std::string result;
    for (char const c : text) { result += c == '\n' ? line_break : std::string(1, c); }
    return result;
  };
  auto const header = "ply\nformat binary_little_endian 1.0\nelement vertex 1\n" + xyz + "end_header\n";
  std::string const data = std::string("\n\r\n\0", 4) + std::string(8, '\n');  // bytes that look like breaks
  auto const expected = parse(header + data).positions;
  for (std::string const line_break : {"\r\n", "\r"}) {
    CHECK(same_bits(parse(with_breaks(header, line_break) + data).positions, expected));
    CHECK(parse(with_breaks(ascii("2", xyz, "1 2 3\n4 5 6\n"), line_break)).positions ==
          std::vector<float>{1, 2, 3, 4, 5, 6});
  }
}

TEST_CASE("ply: what programs write beside points is passed over or becomes channels")
{
  // Point Cloud Library: a camera after the vertices. MeshLab: flags, alpha, faces with texture coordinates.
  // CloudCompare: doubles, scalar fields. Open3D: normals as doubles.
  auto const cloud = parse(
      "ply\nformat ascii 1.0\ncomment TextureFile skin.png\nobj_info num_cols 2\nobj_info is_mesh 0\n"
      "element range_grid 1\nproperty list uchar int vertex_indices\nelement vertex 2\nproperty double x\n"
      "property double y\nproperty double z\nproperty double nx\nproperty uint8 red\nproperty uchar alpha\n"
      "property int flags\nproperty list uchar float weights\nproperty float scalar_Scalar_field\n"
      "element face 1\nproperty list uchar uint vertex_indices\nproperty list uchar float texcoord\n"
      "element camera 1\nproperty float view_px\nproperty int viewportx\nend_header\n"
      "2 0 1\n1.5 2 3 -0.5 255 7 -1 0 0.25\n4 5 6 1 0 8 2 2 9.5 9.5 -nan\n3 0 1 1 6 0 0 1 0 1 1\n0 640\n");
  CHECK(cloud.positions == std::vector<float>{1.5F, 2, 3, 4, 5, 6});
  CHECK(cloud.feature_names ==
        std::vector<std::string>{"nx", "red", "alpha", "flags", "scalar_Scalar_field"});
  CHECK(cloud.features[1] == 255);
  CHECK(cloud.features[4] == 0.25F);
  CHECK(std::isnan(cloud.features[9]));
  auto const old = parse(ascii("1", xyz, "-1.#IND 1.#QNAN -1.#INF\n"));
  CHECK(std::isnan(old.positions[0]));
  CHECK(std::isnan(old.positions[1]));
  CHECK(old.positions[2] == -INFINITY);
  CHECK(test::has(error(ascii("1", xyz, "1.#X 1 1\n")), "'1.#X' is no number"));
  CHECK(test::has(error(ascii("1", xyz, std::string(2000, '1') + " 1 1\n")), "is no number"));
}

TEST_CASE("ply: a large file of something else is refused by its beginning")
{
  test::TempDir const dir;
  for (std::string const beginning : {"",
                                      "ply\nformat binary_little_endian 1.0\nelement vertex 9999999999\n"
                                      "property float x\nproperty float y\nproperty float z\nend_header\n"}) {
    test::write_bytes(dir / "sparse.ply", beginning);
    std::filesystem::resize_file(dir / "sparse.ply", std::uintmax_t{1} << 34);
    auto const sentence = test::error_of([&] { static_cast<void>(read_ply(dir / "sparse.ply")); });
    CHECK(test::has(sentence, beginning.empty() ? "does not begin as a PLY file does" : "but only 171798"));
  }
}
