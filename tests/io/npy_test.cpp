// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/files.hpp"

#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/npy_body.hpp>
#include <tessera/io/npy.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace tessera;

namespace {

using Shape = std::vector<std::int64_t>;

std::vector<std::uint8_t> file_of(std::string const& dictionary, std::size_t data, char version = 1)
{
  std::string text{"\x93NUMPY", 6};
  text +=
      {version, '\0', static_cast<char>(dictionary.size() & 0xff), static_cast<char>(dictionary.size() >> 8)};
  if (version != 1) { text += std::string(2, '\0'); }
  text += dictionary + std::string(data, '\x01');
  return {text.begin(), text.end()};
}

/// What is said of a file, behind the common beginning.
std::string error_in(std::vector<std::uint8_t> const& bytes)
{
  auto const sentence = test::error_of([&] {
    static_cast<void>(detail::parse_npy(bytes, detail::FileContext{"read_npy", "f"}));
  });
  std::string const beginning = "read_npy: f: ";
  return sentence.substr(0, beginning.size()) == beginning ? sentence.substr(beginning.size()) : sentence;
}

std::string error(std::string const& dictionary, std::size_t data = 24)
{
  auto const sentence = error_in(file_of(dictionary, data));
  std::string const beginning = "bad npy header at character ";
  return sentence.substr(0, beginning.size()) == beginning ? sentence.substr(beginning.size()) : sentence;
}

std::string with(std::string const& descr, std::string const& order, std::string const& shape)
{
  return "{'descr': " + descr + ", 'fortran_order': " + order + ", 'shape': " + shape + ", }";
}

}  // namespace

TEST_CASE("npy: files of NumPy are read, of every version, order and type")
{
  auto const f4 = read_npy(test::fixture("float32_2x3.npy"));
  CHECK(f4.dtype == DType::float32);
  CHECK(f4.shape == Shape{2, 3});
  CHECK(to_vector<float>(f4.tensor()) == std::vector<float>{-1, -0.5F, 0, 0.5F, 1, 1.5F});

  auto const f8 = read_npy(test::fixture("float64_2x3x2_fortran.npy"));
  CHECK(f8.shape == Shape{2, 3, 2});
  CHECK(to_vector<double>(f8.tensor()) ==
        std::vector<double>{-1, -0.5, 0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5});

  auto const f2 = read_npy(test::fixture("float16_5_version2.npy"));
  CHECK(f2.dtype == DType::float16);
  CHECK(to_float(f2.tensor()) == std::vector<float>{-1, -0.5F, 0, 0.5F, 1});

  auto const i8 = read_npy(test::fixture("int64_4_version3.npy"));
  CHECK(to_vector<std::int64_t>(i8.tensor()) == std::vector<std::int64_t>{-2, -1, 0, 1});

  auto const scalar = read_npy(test::fixture("int16_scalar.npy"));
  CHECK(scalar.shape.empty());
  CHECK(to_vector<std::int16_t>(scalar.tensor()) == std::vector<std::int16_t>{-7});

  auto const none = read_npy(test::fixture("bool_0x4.npy"));
  CHECK(none.dtype == DType::boolean);
  CHECK(none.shape == Shape{0, 4});
  CHECK(none.bytes.empty());
}

TEST_CASE("npy: big-endian and structured arrays are refused as what they are")
{
  auto const error_with = [](std::string const& name) {
    return test::error_of([&] { static_cast<void>(read_npy(test::fixture(name))); });
  };
  CHECK(test::has(error_with("big_endian.npy"),
                  "big_endian.npy: bad npy header at character 15: the big-endian type "
                  "'>f4' is not supported"));
  CHECK(test::has(error_with("structured.npy"), "structured arrays are not supported"));
}

TEST_CASE("npy: what is written is read back, bit for bit")
{
  test::TempDir const dir;
  auto const path = dir / "array.npy";
  std::vector<std::uint8_t> bytes(48);
  for (std::size_t i = 0; i < bytes.size(); ++i) { bytes[i] = static_cast<std::uint8_t>(i * 5); }
  for (auto const dtype : {DType::float64, DType::float32, DType::float16, DType::int64, DType::int32,
                           DType::int16, DType::int8, DType::uint8, DType::boolean}) {
    auto const elements = static_cast<std::int64_t>(48 / size_of(dtype));
    for (auto const& shape : {Shape{elements}, Shape{elements / 2, 2}, Shape{1, elements / 2, 1, 2}}) {
      CAPTURE(name_of(dtype));
      CAPTURE(shape.size());
      write_npy(path, {dtype, shape, bytes.data(), bytes.size()});
      auto const read = read_npy(path);
      CHECK(read.dtype == dtype);
      CHECK(read.shape == shape);
      CHECK(read.bytes == bytes);
    }
  }
  write_npy(path, {DType::float64, {}, bytes.data(), 8});
  CHECK(read_npy(path).shape.empty());
  write_npy(path, {DType::float32, {3, 0}, nullptr, 0});
  CHECK(read_npy(path).shape == Shape{3, 0});
  CHECK(test::read_bytes(path).size() % 64 == 0);
  CHECK(dir.num_files() == 1);
}

TEST_CASE("npy: what cannot be written is refused, and leaves no file")
{
  test::TempDir const dir;
  std::vector<std::uint8_t> const bytes(8);
  auto const error_with = [&](RawTensor const& tensor) {
    auto const sentence = test::error_of([&] { write_npy(dir / "f", tensor); });
    return sentence.substr(sentence.find(dir / "f") + (dir / "f").size());
  };
  CHECK(error_with({DType::bfloat16, {4}, bytes.data(), 8}) == ": npy has no type for bfloat16");
  CHECK(error_with({DType::int32, {3}, bytes.data(), 8}) ==
        ": a tensor of shape [3] and type int32 comes with 8 bytes");
  CHECK(error_with({DType::uint8, Shape(33, 1), bytes.data(), 1}) ==
        ": an array of 33 dimensions; npy holds at most 32");
  CHECK(dir.num_files() == 0);
}

TEST_CASE("npy: a beginning that cannot be is refused")
{
  auto const good = file_of(with("'<f4'", "False", "(2, 3)"), 24);
  CHECK(error_in(good).empty());
  CHECK(error_in({}) == "does not begin as an npy file does");
  CHECK(error_in({good.begin(), good.begin() + 6}) == "ends within the first 10 bytes of an npy file");
  CHECK(error_in(file_of("{}", 0, 4)) == "is an npy file of version 4; 1, 2 and 3 are known");
  CHECK(error_in(file_of("{}", 0, 0)) == "is an npy file of version 0; 1, 2 and 3 are known");
  auto version2 = good;
  version2[6] = 2;
  CHECK(error_in({version2.begin(), version2.begin() + 11}) ==
        "ends within the first 12 bytes of an npy file");
  version2[10] = version2[11] = 0xff;
  CHECK(test::has(error_in(version2), "bytes; at most 65536 are read"));
  auto lying = good;
  lying[8] = lying[9] = 0xff;
  CHECK(error_in(lying) ==
        "claims a header of 65535 bytes, but only " + std::to_string(good.size() - 10) + " follow");
}

TEST_CASE("npy: a header that cannot be is refused with the place")
{
  CHECK(error(with("'<f4'", "False", "(2, 3)")).empty());
  CHECK(error(with("\"<f4\"", "True", "(2,3,)") + "\n").empty());
  CHECK(error("") == "0: expected '{'");
  CHECK(error("{}") == "2: 'descr', 'fortran_order' and 'shape' are not all there");
  CHECK(error("{'descr': '<f4'") == "15: expected '}'");
  CHECK(error("{'descr' '<f4'}") == "9: expected ':'");
  CHECK(error("{'descr': '<f4', 'descr': '<f4'}") == "25: the entry 'descr' appears twice");
  CHECK(error("{'colour': 3}") == "10: the unknown entry 'colour'");
  CHECK(error("{'descr: 3}") == "2: a string without its end");
  CHECK(error("{descr: 3}") == "1: expected '''");
  CHECK(error(with("'<f4'", "False", "(2, 3)") + "x") == "59: text after the end of the dictionary");
  CHECK(error(with("'<f4'", "0", "(2, 3)")) == "34: expected True or False");
  for (std::string const type : {"<c8", "<u4", "|O", "<f16", "<U3", "f4", "=f4", "|f4", "", "<f4f4"}) {
    CAPTURE(type);
    CHECK(test::has(error(with("'" + type + "'", "False", "(2, 3)")),
                    ": the type '" + type + "' is not supported"));
  }
  CHECK(error(with("4", "False", "(2, 3)")) == "10: expected '''");
  std::string const numbers = ": 'shape' holds something other than whole numbers of at least 0";
  for (std::string const shape :
       {"(-2, 3)", "(nan, 3)", "(9223372036854775808, 3)", "('a',)", "(,)", "((2, 3),)"}) {
    CAPTURE(shape);
    CHECK(test::has(error(with("'<f4'", "False", shape)), numbers));
  }
  CHECK(
      test::has(error(with("'<f4'", "False", "(2.0, 3)")), ": 'shape' is a number in brackets, not a tuple"));
  CHECK(test::has(error(with("'<f4'", "False", "(6)")), ": 'shape' is a number in brackets, not a tuple"));
  CHECK(test::has(error(with("'<f4'", "False", "(2, 3.0)")), ": expected ')'"));
  CHECK(test::has(error(with("'<f4'", "False", "6")), ": expected '('"));
  std::string many{"("};
  for (int i = 0; i < 33; ++i) { many += "1, "; }
  CHECK(test::has(error(with("'<f4'", "False", many + ")")), ": more than 32 dimensions"));
}

TEST_CASE("npy: a shape that lies about the data is refused before memory is taken")
{
  auto const good = with("'<f4'", "False", "(2, 3)");
  CHECK(error(good, 23) ==
        "an array of shape [2, 3] and type float32 needs 24 bytes of data, but the file has 23");
  CHECK(error(good, 25) ==
        "an array of shape [2, 3] and type float32 needs 24 bytes of data, but the file has 25");
  CHECK(error(with("'<f4'", "True", "(1000000000000, 3)")) ==
        "an array of shape [1000000000000, 3] and type float32 needs 12000000000000 bytes of data, but the "
        "file has "
        "24");
  CHECK(error(with("'<f4'", "False", "(4294967296, 4294967296)")) ==
        "an array of 2 dimensions has more elements than can be counted");
  CHECK(error(with("'<f4'", "True", "(4294967296, 0, 4294967296)"), 0) ==
        "an array of 3 dimensions has more elements than can be counted");
}
