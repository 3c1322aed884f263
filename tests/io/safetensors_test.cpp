// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/data.hpp"
#include "../support/files.hpp"

#include <tessera/io/npy.hpp>
#include <tessera/io/safetensors.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>

using namespace tessera;

namespace {

/// A file of this header and `data` bytes of data.
std::vector<std::uint8_t> file_of(std::string const& header, std::size_t data)
{
  std::vector<std::uint8_t> bytes(8 + header.size() + data, 0x11);
  auto const length = static_cast<std::uint64_t>(header.size());
  std::memcpy(bytes.data(), &length, 8);
  std::memcpy(bytes.data() + 8, header.data(), header.size());
  return bytes;
}

/// What is said of such a file, behind the common beginning.
std::string error_in(std::vector<std::uint8_t> bytes)
{
  auto const sentence = test::error_of([&] { Safetensors{std::move(bytes), "f"}; });
  std::string const beginning = "Safetensors: f: ";
  return sentence.substr(0, beginning.size()) == beginning ? sentence.substr(beginning.size()) : sentence;
}

std::string entry(std::string const& dtype, std::string const& shape, std::string const& offsets)
{
  return "{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}";
}

std::string error(std::string const& header, std::size_t data = 8)
{
  return error_in(file_of(header, data));
}

}  // namespace

TEST_CASE("safetensors: a file of the format's own library is read, every type of it")
{
  Safetensors const file{test::fixture("all_types.safetensors")};
  CHECK(file.names().size() == 13);
  CHECK(file.metadata().size() == 3);
  CHECK(file.metadata().at("plain") == "text");
  CHECK(file.metadata().at("quotes \"\\\n") ==
        "Stra\xc3\x9f"
        "e \xe8\xa1\x97 \xf0\x9f\x9a\x97");
  CHECK(file.metadata().at("") == "empty key");

  std::vector<float> const whole{-2, -1, 0, 1, 2, 3};
  std::vector<float> const halves{-1, -0.5F, 0, 0.5F, 1, 1.5F};
  for (auto const* const name : {"F64", "F32", "F16", "BF16"}) {
    CAPTURE(name);
    CHECK(file.tensor(name).shape == std::vector<std::int64_t>{2, 3});
    CHECK(file.to_float(name) == halves);
  }
  for (auto const* const name : {"I64", "I32", "I16", "I8"}) {
    CAPTURE(name);
    CHECK(file.to_float(name) == whole);
  }
  CHECK(file.to_float("U8") == std::vector<float>{0, 1, 2, 3, 4, 5});
  CHECK(file.to_float("BOOL") == std::vector<float>{1, 0});
  CHECK(file.to_float("scalar") == std::vector<float>{1.5F});
  CHECK(file.shape("scalar").empty());
  CHECK(file.to_float("none").empty());
  CHECK(file.shape("none") == std::vector<std::int64_t>{0, 7});

  CHECK(file.to<std::int64_t>("I64") == std::vector<std::int64_t>{-2, -1, 0, 1, 2, 3});
  CHECK(file.to<std::int32_t>("I32") == std::vector<std::int32_t>{-2, -1, 0, 1, 2, 3});
  CHECK(file.to<std::int16_t>("I16") == std::vector<std::int16_t>{-2, -1, 0, 1, 2, 3});
  CHECK(file.to<std::int8_t>("I8") == std::vector<std::int8_t>{-2, -1, 0, 1, 2, 3});
  CHECK(file.to<std::uint8_t>("U8") == std::vector<std::uint8_t>{0, 1, 2, 3, 4, 5});
  CHECK(file.to<double>("F64") == std::vector<double>{-1, -0.5, 0, 0.5, 1, 1.5});
  CHECK(file.to<float>("F32") == halves);
}

TEST_CASE("safetensors: a missing tensor, one of another type and one of no known type are named")
{
  auto const path = test::fixture("all_types.safetensors");
  Safetensors const file{path};
  CHECK(file.contains("F32"));
  CHECK_FALSE(file.contains("f32"));
  CHECK(test::error_of([&] { static_cast<void>(file.tensor("stem.0.kernel")); }) ==
        "Safetensors: " + path + ": holds no tensor 'stem.0.kernel' among its 13");
  CHECK(test::error_of([&] { static_cast<void>(file.to<float>("I32")); }) ==
        "Safetensors: " + path + ": tensor 'I32' holds int32, not float32");
  CHECK(test::error_of([&] { static_cast<void>(file.to_float("U16")); }) ==
        "Safetensors: " + path + ": tensor 'U16' is of type U16, which is not supported");
  CHECK(file.contains("U16"));
  CHECK(file.shape("U16") == std::vector<std::int64_t>{3});
  CHECK(file.to_float("F32").size() == 6);  // the file is still good
}

TEST_CASE("safetensors: 8-bit floats are read, written back and converted; npy has no type for them")
{
  test::TempDir const dir;
  std::vector<std::uint8_t> const bits{0x00, 0x38, 0xc0, 0x7e};
  auto const tensor = [&](DType type) { return RawTensor{type, {4}, bits.data(), bits.size()}; };
  write_safetensors(dir / "float8",
                    {{"e4m3", tensor(DType::float8_e4m3)}, {"e5m2", tensor(DType::float8_e5m2)}});
  auto const written = test::read_bytes(dir / "float8");
  CHECK(test::has(std::string(written.begin(), written.end()), "F8_E4M3"));
  Safetensors const file{dir / "float8"};
  CHECK(file.tensor("e4m3").dtype == DType::float8_e4m3);
  CHECK(file.tensor("e5m2").dtype == DType::float8_e5m2);
  CHECK(file.to_float("e4m3") == std::vector<float>{0, 1, -2, 448});
  CHECK(file.to_float("e5m2")[1] == 0.5F);
  CHECK(file.to_float("e5m2")[2] == -2.0F);
  CHECK(std::isnan(file.to_float("e5m2")[3]));
  CHECK(test::error_of([&] { write_npy(dir / "npy", tensor(DType::float8_e4m3)); }) ==
        "write_npy: " + (dir / "npy") + ": npy has no type for float8_e4m3");
}

TEST_CASE("safetensors: what is written is read back, bit for bit, in the order given")
{
  test::TempDir const dir;
  std::vector<float> f32{1.5F, -0.0F, std::numeric_limits<float>::quiet_NaN(), 1e-45F, 3.0F, 4.0F};
  std::vector<std::uint8_t> const f16{0x00, 0x3c, 0x01, 0x80};
  std::vector<std::int64_t> const i64{std::numeric_limits<std::int64_t>::min(), 7};
  std::vector<std::int32_t> const i32{1, -1, 5};
  std::vector<double> const f64{1e300};
  std::vector<std::int8_t> const i8{-128};
  std::vector<float> const none;
  std::map<std::string, std::string> const metadata{{"a", "\"quoted\"\n"}, {"\xc3\x9f", ""}};
  auto const path = dir / "file.safetensors";
  write_safetensors(path,
                    {{"i8", raw_tensor(i8, {1})},
                     {"f32", raw_tensor(f32, {2, 3})},
                     {"half", {DType::float16, {2}, f16.data(), 4}},
                     {"brain", {DType::bfloat16, {1, 2}, f16.data(), 4}},
                     {"i64", raw_tensor(i64, {2})},
                     {"none", raw_tensor(none, {0, 3})},
                     {"scalar", raw_tensor(f64, {})},
                     {"flag", {DType::boolean, {1}, f16.data() + 2, 1}},
                     {"i32", raw_tensor(i32, {3, 1})}},
                    metadata);
  CHECK(dir.num_files() == 1);
  Safetensors const file{path};
  CHECK(file.path() == path);
  CHECK(file.names() ==
        std::vector<std::string>{"i8", "f32", "half", "brain", "i64", "none", "scalar", "flag", "i32"});
  CHECK(file.metadata() == metadata);
  auto const read = file.to<float>("f32");
  CHECK(std::memcmp(read.data(), f32.data(), 24) == 0);
  CHECK(file.to<std::int64_t>("i64") == i64);
  CHECK(file.to<std::int32_t>("i32") == i32);
  CHECK(file.shape("i32") == std::vector<std::int64_t>{3, 1});
  CHECK(file.to<double>("scalar") == f64);
  CHECK(file.to<std::int8_t>("i8") == i8);
  CHECK(file.tensor("half").dtype == DType::float16);
  CHECK(file.to_float("half")[0] == 1.0F);
  CHECK(file.tensor("brain").dtype == DType::bfloat16);
  CHECK(file.to_float("flag") == std::vector<float>{1});
  CHECK(file.tensor("none").size() == 0);
  CHECK(file.to_float("scalar")[0] == std::numeric_limits<float>::infinity());

  // Every tensor lies at a multiple of its element size after the header.
  auto const* first = file.tensor("i64").bytes;
  for (auto const& name : file.names()) { first = std::min(first, file.tensor(name).bytes); }
  for (auto const& name : file.names()) {
    CAPTURE(name);
    auto const tensor = file.tensor(name);
    CHECK((tensor.bytes - first) % static_cast<std::ptrdiff_t>(size_of(tensor.dtype)) == 0);
  }
}

TEST_CASE("safetensors: the data of a written file begin at a multiple of 8")
{
  test::TempDir const dir;
  std::vector<float> const values{1.0F};
  for (std::size_t length = 1; length <= 9; ++length) {
    CAPTURE(length);
    write_safetensors(dir / "f", {{std::string(length, 'n'), raw_tensor(values, {1})}});
    auto const bytes = test::read_bytes(dir / "f");
    CHECK((bytes.size() - 4) % 8 == 0);
    CHECK(bytes[bytes.size() - 2] == 0x80);  // of 1.0F, the last thing in the file
  }
}

TEST_CASE("safetensors: a file without tensors is legal")
{
  test::TempDir const dir;
  write_safetensors(dir / "none", {});
  CHECK(Safetensors{dir / "none"}.names().empty());
  CHECK(error("{}", 0).empty());
  CHECK(error("{\"__metadata__\":{}}  ", 0).empty());
}

TEST_CASE("safetensors: a copy outlives the object it was made from")
{
  auto file = std::make_unique<Safetensors>(test::fixture("all_types.safetensors"));
  Safetensors const copy = *file;
  Safetensors const moved = std::move(*file);
  file.reset();
  CHECK(copy.to_float("scalar") == std::vector<float>{1.5F});
  CHECK(moved.to_float("scalar") == std::vector<float>{1.5F});
}

TEST_CASE("safetensors: a header that cannot be is refused")
{
  CHECK(test::has(error_in(std::vector<std::uint8_t>{}),
                  "holds 0 bytes; a safetensors file begins with 8 bytes"));
  CHECK(test::has(error_in(std::vector<std::uint8_t>(7, 1)), "holds 7 bytes"));
  CHECK(error_in(std::vector<std::uint8_t>(8, 0)) == "its header does not begin with '{'");
  CHECK(error_in(std::vector<std::uint8_t>(80, 0xff)) ==
        "claims a header of 18446744073709551615 bytes; at most 100000000 are read");
  CHECK(error_in({0, 0xe1, 0xf5, 0x05, 0, 0, 0, 0, '{'}) ==
        "claims a header of 100000000 bytes, but only 1 follow");
  CHECK(error_in({1, 0xe1, 0xf5, 0x05, 0, 0, 0, 0, '{'}) ==
        "claims a header of 100000001 bytes; at most 100000000 are read");
  CHECK(error(" {}", 0) == "its header does not begin with '{'");
  CHECK(error("{} x", 0) == "not valid JSON at byte 3: text after the end of the value");
  CHECK(error("{" + std::string(200'000, '['), 0).find("not valid JSON at byte 1") == 0);
  CHECK(error("{\"a\":" + std::string(200'000, '['), 0) ==
        "not valid JSON at byte 37: nested deeper than 32 levels");
}

TEST_CASE("safetensors: a description that cannot be is refused with the tensor's name")
{
  auto const with = [](std::string const& dtype, std::string const& shape, std::string const& offsets) {
    return error("{\"t\":" + entry(dtype, shape, offsets) + "}");
  };
  CHECK(with("F32", "[2]", "[0,8]").empty());
  CHECK(error("{\"t\":3}") == "tensor 't' is not described by an object");
  CHECK(error("{\"t\":{\"shape\":[2],\"data_offsets\":[0,8]}}") == "tensor 't' has no text 'dtype'");
  CHECK(error("{\"t\":{\"dtype\":5,\"shape\":[2],\"data_offsets\":[0,8]}}") ==
        "tensor 't' has no text 'dtype'");
  CHECK(error("{\"t\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}") == "tensor 't' has no list 'shape'");
  CHECK(error("{\"t\":{\"dtype\":\"F32\",\"shape\":[2]}}") == "tensor 't' has no list 'data_offsets'");
  CHECK(with("f32", "[2]", "[0,8]") == "tensor 't' is of the unknown type 'f32'");
  CHECK(with("F32", "2", "[0,8]") == "tensor 't' has no list 'shape'");
  for (std::string const shape :
       {"[-2]", "[2.0]", "[2e0]", "[\"2\"]", "[null]", "[[2]]", "[9223372036854775808]"}) {
    CAPTURE(shape);
    CHECK(with("F32", shape, "[0,8]") ==
          "tensor 't': 'shape' holds something other than whole numbers of at least 0");
  }
  CHECK(with("F32", "[2]", "[-1,8]") ==
        "tensor 't': 'data_offsets' holds something other than whole numbers of at least 0");
  CHECK(test::has(with("F32", "[NaN]", "[0,8]"), "not valid JSON"));
  CHECK(with("F32", "[2]", "[0]") == "tensor 't' has 1 data_offsets, not 2");
  CHECK(with("F32", "[2]", "[0,8,8]") == "tensor 't' has 3 data_offsets, not 2");
  CHECK(with("F32", "[2]", "[8,0]") ==
        "tensor 't' claims the bytes [8, 0) of the 8 bytes of data in the file");
  CHECK(with("F32", "[3]", "[0,12]") ==
        "tensor 't' claims the bytes [0, 12) of the 8 bytes of data in the file");
  CHECK(with("F32", "[1]", "[0,9223372036854775807]") ==
        "tensor 't' claims the bytes [0, 9223372036854775807) of the 8 bytes of data in the file");
  CHECK(with("F32", "[3]", "[0,8]") == "tensor 't' of shape [3] and type F32 needs 12 bytes, but has 8");
  CHECK(with("F64", "[2]", "[0,8]") == "tensor 't' of shape [2] and type F64 needs 16 bytes, but has 8");
  CHECK(with("F32", "[]", "[0,8]") == "tensor 't' of shape [] and type F32 needs 4 bytes, but has 8");
  CHECK(with("F32", "[4294967296,4294967296]", "[0,8]") ==
        "tensor 't' of 2 dimensions has more elements than can be counted");
  CHECK(with("F32", "[9223372036854775807]", "[0,8]") ==
        "tensor 't' of 1 dimensions has more elements than can be counted");
  CHECK(with("F32", "[9223372036854775807,9223372036854775807,0]", "[0,8]") !=
        "");  // no element, so no byte: not the 8 there are
  CHECK(error("{\"a\\u001bb\":3}") == "tensor 'a\\x1bb' is not described by an object");
}

TEST_CASE("safetensors: tensors that overlap, leave holes or data over are refused")
{
  auto const two = [](std::string const& a, std::string const& b, std::size_t data) {
    return error("{\"a\":" + entry("U8", "[4]", a) + ",\"b\":" + entry("U8", "[4]", b) + "}", data);
  };
  CHECK(two("[0,4]", "[4,8]", 8).empty());
  CHECK(two("[4,8]", "[0,4]", 8).empty());
  CHECK(two("[0,4]", "[3,7]", 7) ==
        "tensor 'b' begins at byte 3 of the data, inside the tensor that ends at 4");
  CHECK(two("[0,4]", "[0,4]", 4) ==
        "tensor 'b' begins at byte 0 of the data, inside the tensor that ends at 4");
  CHECK(two("[0,4]", "[5,9]", 9) ==
        "tensor 'b' begins at byte 5 of the data, with a hole behind the tensor that ends at 4");
  CHECK(two("[1,5]", "[5,9]", 9) ==
        "tensor 'a' begins at byte 1 of the data, with a hole behind the tensor that ends at 0");
  CHECK(two("[0,4]", "[4,8]", 9) == "holds 9 bytes of data, but its tensors only 8");
  CHECK(error("{\"a\":" + entry("U8", "[4]", "[0,4]") + ",\"a\":" + entry("U8", "[4]", "[4,8]") + "}", 8) ==
        "not valid JSON at byte 105: the member 'a' appears twice");
}

TEST_CASE("safetensors: metadata must be texts")
{
  CHECK(error("{\"__metadata__\":3}", 0) == "'__metadata__' is not an object");
  CHECK(error("{\"__metadata__\":{\"k\":3}}", 0) == "'__metadata__' entry 'k' is not a text");
  CHECK(error("{\"__metadata__\":{\"k\":\"\",\"k\":\"\"}}", 0) ==
        "not valid JSON at byte 31: the member 'k' appears twice");
}

TEST_CASE("safetensors: what cannot be written is refused, and leaves no file")
{
  test::TempDir const dir;
  std::vector<float> const values{1, 2};
  auto const good = raw_tensor(values, {2});
  auto const path = dir / "file";
  auto const error_of = [&](std::vector<NamedTensor> const& tensors) {
    auto const sentence = test::error_of([&] { write_safetensors(path, tensors); });
    return sentence.substr(sentence.find(path) + path.size());
  };
  CHECK(error_of({{"__metadata__", good}}) == ": a tensor cannot have the name '__metadata__'");
  CHECK(test::has(error_of({{"a", good}, {"a", good}}), "the member 'a' appears twice"));
  CHECK(test::has(error_of({{"\xff", good}}), "bytes that are not UTF-8"));
  CHECK(error_of({{"a", {DType::float32, {3}, good.bytes, 8}}}) ==
        ": tensor 'a' of shape [3] and type float32 comes with 8 bytes");
  CHECK(error_of({{"a", {DType::float32, {-1}, good.bytes, 8}}}) ==
        ": tensor 'a' of shape [-1] and type float32 comes with 8 bytes");
  CHECK(error_of({{"a", {DType::float32, {2}, nullptr, 8}}}) ==
        ": tensor 'a' of shape [2] and type float32 comes with 8 bytes");
  CHECK(dir.num_files() == 0);
  CHECK(test::error_of([&] { static_cast<void>(raw_tensor(values, {3})); }) ==
        "raw_tensor: 2 values do not fill the shape [3]");
  CHECK(test::error_of([&] { static_cast<void>(to_vector<std::int32_t>(good)); }) ==
        "to_vector: a tensor of float32 was asked for as int32");
}

TEST_CASE("safetensors: a truncated or unreadable file is refused")
{
  test::TempDir const dir;
  auto const bytes = test::read_bytes(test::fixture("all_types.safetensors"));
  for (std::size_t const size : {std::size_t{0}, std::size_t{5}, std::size_t{100}, bytes.size() - 1}) {
    CAPTURE(size);
    test::write_bytes(dir / "cut",
                      std::vector<std::uint8_t>(bytes.begin(), bytes.begin() + static_cast<int>(size)));
    CHECK(
        test::has(test::error_of([&] { Safetensors{dir / "cut"}; }), "Safetensors: " + (dir / "cut") + ": "));
  }
  CHECK_THROWS_AS(Safetensors{dir / "absent"}, invalid_argument);
}

TEST_CASE("raw tensor: doubles round to the nearest float, to infinity beyond the largest")
{
  float const largest = std::numeric_limits<float>::max();
  float const infinity = std::numeric_limits<float>::infinity();
  std::vector<double> const values{0.1,    largest, 0x1.fffffefp127,  0x1.ffffffp127,
                                   -1e300, 1e-60,   -0x1.fffffefp127, -0x1.ffffffp127};
  CHECK(to_float(raw_tensor(values, {8})) ==
        std::vector<float>{0.1F, largest, largest, infinity, -infinity, 0.0F, -largest, -infinity});
}
