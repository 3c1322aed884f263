// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/files.hpp"

#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/pcd_body.hpp>
#include <tessera/io/point_cloud_file.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace pcd_files {

using namespace tessera;

inline PointCloud parse(std::string const& text)
{
  return detail::parse_pcd({text.begin(), text.end()}, detail::FileContext{"read_pcd", "f"});
}

/// What is said of a file, behind the common beginning.
inline std::string error(std::string const& text)
{
  auto const sentence = test::error_of([&] { static_cast<void>(parse(text)); });
  std::string const beginning = "read_pcd: f: ";
  return sentence.substr(0, beginning.size()) == beginning ? sentence.substr(beginning.size()) : sentence;
}

template <class T>
void put(std::string& to, T value)
{
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  to.append(bytes, sizeof(T));
}

inline std::string const xyz = "FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\n";

inline std::string header(std::string const& fields, std::size_t points, std::string const& data)
{
  auto const n = std::to_string(points);
  return "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\n" + fields + "WIDTH " + n +
         "\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS " + n + "\nDATA " + data + "\n";
}

/// LZF by the book: the longest repetition of at least three bytes, looked for everywhere in reach.
inline std::string compress(std::string const& from)
{
  std::string to;
  std::string literals;
  auto const flush = [&] {
    for (std::size_t at = 0; at < literals.size(); at += 32) {
      auto const part = literals.substr(at, 32);
      to += static_cast<char>(part.size() - 1);
      to += part;
    }
    literals.clear();
  };
  for (std::size_t at = 0; at < from.size();) {
    std::size_t best = 0;
    std::size_t back = 0;
    for (std::size_t candidate = 1; candidate <= std::min<std::size_t>(at, 8192); ++candidate) {
      std::size_t length = 0;
      while (length < 264 && at + length < from.size() &&
             from[at + length] == from[at + length - candidate]) {
        ++length;
      }
      if (length > best) {
        best = length;
        back = candidate - 1;
      }
    }
    if (best < 3) {
      literals += from[at++];
      continue;
    }
    flush();
    auto const code = best - 2;
    to += static_cast<char>(std::min<std::size_t>(code, 7) << 5 | back >> 8);
    if (code >= 7) { to += static_cast<char>(code - 7); }
    to += static_cast<char>(back & 255);
    at += best;
  }
  flush();
  return to;
}

inline std::string with_sizes(std::string const& packed, std::size_t size)
{
  std::string text;
  put(text, static_cast<std::uint32_t>(packed.size()));
  put(text, static_cast<std::uint32_t>(size));
  return text + packed;
}

/// One field of every type, some of several numbers, with padding between: as text, by points and by fields.
struct EveryType {
  std::string fields =
      "FIELDS i1 x u1 _ i2 y u2 i4 z u4 i8 u8 f8 rgb label n\nSIZE 1 4 1 1 2 8 2 4 4 4 8 8 8 4 1 2\n"
      "TYPE I F U U I F U I F U I U F F U I\nCOUNT 1 1 1 3 1 1 1 1 1 1 1 1 1 1 1 2\n";
  std::vector<std::string> by_field = std::vector<std::string>(16);
  std::string by_point;
  std::string text;
  std::size_t points = 5;

  EveryType()
  {
    for (std::size_t p = 0; p < points; ++p) {
      auto const k = static_cast<int>(p);
      std::array<std::string, 16> point;
      put(point[0], static_cast<std::int8_t>(-k - 1));
      put(point[1], 0.5F * static_cast<float>(k));
      put(point[2], static_cast<std::uint8_t>(255 - k));
      point[3] = "\x01\x02\x03";
      put(point[4], static_cast<std::int16_t>(-1000 - k));
      put(point[5], 0.25 * k);
      put(point[6], static_cast<std::uint16_t>(65535 - k));
      put(point[7], std::int32_t{-70000 - k});
      put(point[8], static_cast<float>(-k));
      put(point[9], static_cast<std::uint32_t>(4000000000U));
      put(point[10], std::int64_t{-5000000000});
      put(point[11], std::uint64_t{1} << 40);
      put(point[12], 1.0 / 8 + k);
      put(point[13], std::uint32_t{0x00102030} + static_cast<std::uint32_t>(k));
      put(point[14], static_cast<std::uint8_t>(k));
      put(point[15], static_cast<std::int16_t>(k));
      put(point[15], static_cast<std::int16_t>(-k));
      for (std::size_t f = 0; f < point.size(); ++f) {
        by_field[f] += point[f];
        by_point += point[f];
      }
      float color = 0;
      std::uint32_t const bits = 0x00102030U + static_cast<std::uint32_t>(k);
      std::memcpy(&color, &bits, 4);
      char digits[64];
      auto const end = std::to_chars(digits, digits + sizeof(digits), color).ptr;
      auto const n = [](auto value) { return std::to_string(value) + ' '; };
      text += n(-k - 1) + n(0.5 * k) + n(255 - k) + "1 2 3 " + n(-1000 - k) + n(0.25 * k) + n(65535 - k) +
              n(-70000 - k) + n(-k) + "4000000000 -5000000000 1099511627776 " + n(0.125 + k) +
              std::string(digits, end) + ' ' + n(k) + n(k) + std::to_string(-k) + "\n";
    }
  }

  void check(PointCloud const& cloud) const
  {
    cloud.check("test");
    CHECK(cloud.feature_names == std::vector<std::string>{"i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8",
                                                          "f8", "red", "green", "blue", "n_0", "n_1"});
    REQUIRE(cloud.size() == static_cast<std::int64_t>(points));
    for (std::size_t p = 0; p < points; ++p) {
      auto const k = static_cast<float>(p);
      CHECK(cloud.positions[3 * p] == 0.5F * k);
      CHECK(cloud.positions[3 * p + 1] == 0.25F * k);
      CHECK(cloud.positions[3 * p + 2] == -k);
      CHECK(cloud.labels[p] == static_cast<std::int32_t>(p));
      auto const* const f = cloud.features.data() + 14 * p;
      CHECK(std::vector<float>(f, f + 14) == std::vector<float>{-k - 1, 255 - k, -1000 - k, 65535 - k,
                                                                -70000 - k, 4e9F, -5e9F, 1099511627776.0F,
                                                                0.125F + k, 0x10, 0x20, 0x30 + k, k, -k});
    }
  }
};

}  // namespace pcd_files
