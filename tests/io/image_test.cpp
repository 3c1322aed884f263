// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/files.hpp"

#include <tessera/io/image.hpp>

#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <vector>

using namespace tessera;

namespace {

using Bytes = std::vector<std::uint8_t>;

std::uint32_t big_endian_at(Bytes const& bytes, std::size_t at)
{
  return std::uint32_t{bytes.at(at)} << 24 | std::uint32_t{bytes.at(at + 1)} << 16 |
         std::uint32_t{bytes.at(at + 2)} << 8 | bytes.at(at + 3);
}

/// The content of chunk `type`, its checksum checked bit by bit as the specification defines it.
std::string chunk(Bytes const& bytes, std::string const& type)
{
  for (std::size_t at = 8; at < bytes.size();) {
    std::size_t const size = big_endian_at(bytes, at);
    std::uint32_t crc = 0xffffffffU;
    for (std::size_t i = 0; i < size + 4; ++i) {
      crc ^= bytes.at(at + 4 + i);
      for (int k = 0; k < 8; ++k) { crc = (crc >> 1) ^ ((crc & 1U) != 0 ? 0xedb88320U : 0U); }
    }
    CHECK(~crc == big_endian_at(bytes, at + 8 + size));
    auto const begin = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    if (std::string(begin + 4, begin + 8) == type) {
      return {begin + 8, begin + 8 + static_cast<std::ptrdiff_t>(size)};
    }
    at += size + 12;
  }
  FAIL("no chunk ", type);
  return {};
}

/// Reads stored blocks alone, which are all that the writer makes.
std::string inflate(std::string const& stream)
{
  auto const byte = [&](std::size_t at) {
    return static_cast<std::size_t>(static_cast<unsigned char>(stream.at(at)));
  };
  CHECK((byte(0) * 256 + byte(1)) % 31 == 0);
  std::string content;
  std::size_t at = 2;
  for (bool last = false; !last;) {
    last = byte(at) == 1;
    CHECK(byte(at) <= 1);
    std::size_t const size = byte(at + 1) + 256 * byte(at + 2);
    CHECK(size + byte(at + 3) + 256 * byte(at + 4) == 65535);
    content += stream.substr(at + 5, size);
    at += 5 + size;
  }
  std::uint32_t a = 1;
  std::uint32_t b = 0;
  for (char const c : content) {
    a = (a + static_cast<unsigned char>(c)) % 65521;
    b = (b + a) % 65521;
  }
  CHECK(stream.substr(at) == detail::big_endian(b * 65536 + a));
  return content;
}

}  // namespace

TEST_CASE("png: the checksums of the text whose sums are published")
{
  CHECK(detail::crc32("123456789") == 0xcbf43926U);
  CHECK(detail::adler32("Wikipedia") == 0x11e60398U);
}

TEST_CASE("png: a picture is written so that its chunks, sums and pixels are right")
{
  test::TempDir const dir;
  struct Size {
    int width;
    int height;
  };
  // 28 x 771 pixels fill one stored block to its last byte.
  for (auto const size :
       {Size{1, 1}, Size{3, 2}, Size{28, 771}, Size{200, 300}, Size{16384, 1}, Size{1, 16384}}) {
    int const width = size.width;
    int const height = size.height;
    CAPTURE(width);
    CAPTURE(height);
    auto const row = 3 * static_cast<std::size_t>(width);
    Bytes rgb(row * static_cast<std::size_t>(height));
    for (std::size_t i = 0; i < rgb.size(); ++i) { rgb[i] = static_cast<std::uint8_t>(i * 7 + i / 251); }
    write_png(dir / "picture.png", width, height, rgb);
    auto const file = test::read_bytes(dir / "picture.png");
    CHECK(std::memcmp(file.data(), "\x89PNG\r\n\x1a\n", 8) == 0);
    auto const header = chunk(file, "IHDR");
    CHECK(header == detail::big_endian(static_cast<std::uint32_t>(width)) +
                        detail::big_endian(static_cast<std::uint32_t>(height)) +
                        std::string("\x08\x02\0\0\0", 5));
    auto const lines = inflate(chunk(file, "IDAT"));
    REQUIRE(lines.size() == rgb.size() + static_cast<std::size_t>(height));
    bool same = true;
    for (std::size_t y = 0; y < static_cast<std::size_t>(height); ++y) {
      same = same && lines[y * (row + 1)] == '\0' &&
             std::memcmp(lines.data() + y * (row + 1) + 1, rgb.data() + y * row, row) == 0;
    }
    CHECK(same);
    CHECK(chunk(file, "IEND").empty());
  }
}

TEST_CASE("png: sizes that do not fit are refused")
{
  test::TempDir const dir;
  auto const path = dir / "picture.png";
  auto const error = [&](int width, int height, std::size_t values) {
    auto const sentence = test::error_of([&] { write_png(path, width, height, Bytes(values)); });
    return sentence.substr(sentence.find(path) + path.size());
  };
  CHECK(error(0, 1, 0) == ": a picture of 0 x 1 pixels; each side must lie in [1, 16384]");
  CHECK(error(1, -1, 0) == ": a picture of 1 x -1 pixels; each side must lie in [1, 16384]");
  CHECK(error(16385, 1, 3 * 16385) == ": a picture of 16385 x 1 pixels; each side must lie in [1, 16384]");
  CHECK(error(2, 2, 11) == ": a picture of 2 x 2 pixels with 11 values instead of 12");
  CHECK(dir.num_files() == 0);
  CHECK(test::has(test::error_of([&] { write_png(dir / "absent/p.png", 1, 1, Bytes(3)); }),
                  "cannot be opened"));
}
