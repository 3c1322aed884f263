// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/files.hpp"

#include <tessera/io/detail/bin_detection.hpp>
#include <tessera/io/point_cloud_file.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <random>
#include <string>
#include <vector>

using namespace tessera;

namespace {

std::mt19937& generator()
{
  static std::mt19937 random{5};
  return random;
}

float uniform(float low, float high)
{
  return std::uniform_real_distribution<float>{low, high}(generator());
}

float whole(int low, int high)
{
  return static_cast<float>(std::uniform_int_distribution<int>{low, high}(generator()));
}

using Row = std::vector<float>;

/// Positions as a turning scanner gives them, then the other numbers of the row.
Row scanned(int i, Row const& others)
{
  float const angle = 0.37F * static_cast<float>(i);
  float const range = uniform(2, 60);
  Row row{range * std::cos(angle), range * std::sin(angle), uniform(-2.5F, 3)};
  row.insert(row.end(), others.begin(), others.end());
  return row;
}

Row box(float low, float high, int count = 3)
{
  Row row;
  for (int i = 0; i < count; ++i) { row.push_back(uniform(low, high)); }
  return row;
}

Row operator+(Row a, Row const& b)
{
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

struct Kind {
  char const* name;
  std::function<Row(int)> row;
};

template <class T = float>
std::string bytes_of(Kind const& kind, int points)
{
  std::string bytes;
  for (int i = 0; i < points; ++i) {
    for (float const value : kind.row(i)) {
      auto const typed = static_cast<T>(value);
      bytes.append(reinterpret_cast<char const*>(&typed), sizeof(T));
    }
  }
  return bytes;
}

/// The columns that the detection finds in a file of that name; 0 where it refuses, in a sentence that helps.
int detected(test::TempDir const& dir, std::string const& bytes, std::string const& name = "f.bin")
{
  test::write_bytes(dir / name, bytes);
  int columns = 0;
  auto const sentence = test::error_of([&] { columns = 3 + read_point_cloud(dir / name).channels; });
  if (columns == 0) {
    CHECK(test::has(sentence, "KITTI"));
    CHECK(test::has(sentence, "--format"));
  }
  return columns;
}

}  // namespace

TEST_CASE("bin detection: scans of KITTI are read, whatever their intensities, whole numbers too")
{
  test::TempDir const dir;
  Kind const kinds[] = {{"intensities to 1", [](int i) { return scanned(i, {uniform(0, 1)}); }},
                        {"intensities to 255", [](int i) { return scanned(i, {whole(0, 255)}); }},
                        {"no intensities", [](int i) { return scanned(i, {0}); }},
                        {"one side",
                         [](int) {
                           return Row{uniform(0, 70), uniform(0, 40), uniform(0, 4), uniform(0, 1)};
                         }},
                        {"whole numbers",
                         [](int) {
                           return Row{whole(-40, 40), whole(-40, 40), whole(-2, 3), whole(0, 1)};
                         }},
                        {"whole positions",
                         [](int) {
                           return Row{whole(0, 70), whole(0, 70), whole(0, 5), whole(0, 255)};
                         }},
                        {"a tenth not measured",
                         [](int i) { return whole(0, 9) == 0 ? Row(4, NAN) : scanned(i, {uniform(0, 1)}); }},
                        {"a third at the sensor",
                         [](int i) { return whole(0, 2) == 0 ? Row(4, 0) : scanned(i, {uniform(0, 1)}); }}};
  for (auto const& kind : kinds) {
    CAPTURE(kind.name);
    for (int const points :
         {50, 51, 52, 53, 55, 60, 1000, 20'000}) {  // rows of other widths fit some of them
      CAPTURE(points);
      CHECK(detected(dir, bytes_of(kind, points)) == 4);
    }
  }
  // Whole numbers without any pattern: nothing but their number speaks for four columns, if it does.
  Kind const flat{"whole", [](int) {
                    return Row{whole(0, 200), whole(0, 200), whole(0, 200), whole(0, 200)};
                  }};
  CHECK(detected(dir, bytes_of(flat, 40)) == 4);
  CHECK(detected(dir, bytes_of(flat, 60)) == 0);    // may be 80 of three
  CHECK(detected(dir, bytes_of(flat, 1000)) == 0);  // a scan of so many points has columns that differ
}

TEST_CASE("bin detection: sweeps of nuScenes are read, in any order of their rings")
{
  test::TempDir const dir;
  Kind const kinds[] = {{"in turn",
                         [](int i) {
                           return scanned(i, {whole(0, 255), static_cast<float>(i % 32)});
                         }},
                        {"at random",
                         [](int i) {
                           return scanned(i, {whole(0, 100), whole(0, 31)});
                         }},
                        {"sorted", [](int i) {
                           return scanned(i, {uniform(0, 1), static_cast<float>(std::min(i / 10, 63))});
                         }}};
  for (auto const& kind : kinds) {
    CAPTURE(kind.name);
    for (int const points : {60, 61, 64, 640, 20'000}) {
      if (std::string{kind.name} == "sorted" && points < 100) { continue; }  // few rings
      CAPTURE(points);
      CHECK(detected(dir, bytes_of(kind, points)) == 5);
      CHECK(detected(dir, bytes_of(kind, points), "f.pcd.bin") == 5);
    }
  }
}

TEST_CASE("bin detection: anything else is refused, and read where its format is named")
{
  test::TempDir const dir;
  auto const age = [] { return 0.05F * whole(0, 9); };
  Kind const kinds[] = {
      {"3 scanned", [](int i) { return scanned(i, {}); }},
      {"3 in a box", [](int) { return box(-3, 3); }},
      {"3 in a corner", [](int) { return box(0, 5); }},
      {"3 of whole numbers",
       [](int) {
         return Row{whole(0, 99), whole(0, 99), whole(0, 99)};
       }},
      {"6 with bytes",
       [](int) {
         return box(0, 6) + Row{whole(0, 255), whole(0, 255), whole(0, 255)};
       }},
      {"6 with colours to 1", [](int) { return box(0, 6) + box(0, 1); }},
      {"6 with normals", [](int) { return box(0, 6) + box(-1, 1); }},
      {"5 with age",
       [&](int i) {
         return scanned(i, {uniform(0, 1), age()});
       }},
      {"5 with age in a corner",
       [&](int) {
         return box(0, 50) + Row{uniform(0, 1), age()};
       }},
      {"5 with age zero",
       [](int i) {
         return scanned(i, {uniform(0, 255), 0});
       }},
      {"5 with classes",
       [](int i) {
         return scanned(i, {uniform(0, 1), 3 * whole(0, 3)});
       }},
      {"6 with ring and age",
       [&](int i) {
         return scanned(i, {uniform(0, 1), whole(0, 31), age()});
       }},
      {"7",
       [](int i) {
         return scanned(i, {uniform(0, 1), uniform(0, 1.5F), 0, whole(0, 63)});
       }},
      {"8", [](int) { return box(0, 6) + box(0, 1, 4) + Row{uniform(0, 0.3F)}; }},
      {"9", [](int) { return box(0, 6) + box(0, 1) + box(-1, 1); }},
      {"10", [](int) { return box(0, 6) + box(0, 1, 7); }},
      {"4 in millimetres",
       [](int i) {
         auto row = scanned(i, {uniform(0, 1)});
         for (std::size_t k = 0; k < 3; ++k) { row[k] *= 1000; }
         return row;
       }},
      {"4 of zeros", [](int) { return Row(4, 0); }},
      {"4 of ones", [](int) { return Row(4, 1); }},
      {"4 of a line",
       [](int i) {
         return Row{static_cast<float>(i % 90), 1, 1, 0};
       }},
      {"4, half of them not measured", [](int i) { return i % 3 == 0 ? scanned(i, {0.5F}) : Row(4, NAN); }}};
  for (auto const& kind : kinds) {
    CAPTURE(kind.name);
    for (int const points : {60, 1200, 18'000}) {
      CAPTURE(points);
      auto const bytes = bytes_of(kind, points);
      CHECK(detected(dir, bytes) == 0);
      test::write_bytes(dir / "f.bin", bytes);
      auto const width = static_cast<int>(kind.row(0).size());
      auto const cloud = read_point_cloud(dir / "f.bin", point_format(std::to_string(width)));
      CHECK(cloud.size() == points);
      CHECK(cloud.channels == width - 3);
    }
  }
}

TEST_CASE("bin detection: numbers that are no floats are refused, and read where their type is named")
{
  test::TempDir const dir;
  Kind const scan{"scan", [](int i) { return scanned(i, {uniform(0, 1)}); }};
  Kind const whole_numbers{"whole", [](int) {
                             return Row{whole(0, 50), whole(0, 50), whole(0, 50), whole(0, 50)};
                           }};
  Kind const quarters{"quarters", [](int) {
                        return Row{0.25F * whole(0, 50), whole(0, 50), 0.25F * whole(0, 9)};
                      }};
  for (int const points : {60, 1200}) {
    CAPTURE(points);
    for (auto const* const kind : {&scan, &whole_numbers, &quarters}) {
      CAPTURE(kind->name);
      CHECK(detected(dir, bytes_of<double>(*kind, points)) == 0);
    }
    for (auto const& format : {"4:f8", "4:i4", "4:i2", "4:u1"}) {
      CAPTURE(format);
      Kind const& kind = std::string{format} == "4:f8" ? scan : whole_numbers;
      std::string const bytes = std::string{format} == "4:f8"   ? bytes_of<double>(kind, points)
                                : std::string{format} == "4:i4" ? bytes_of<std::int32_t>(kind, points)
                                : std::string{format} == "4:i2" ? bytes_of<std::int16_t>(kind, points)
                                                                : bytes_of<std::uint8_t>(kind, points);
      CHECK(detected(dir, bytes) == 0);
      CHECK(read_point_cloud(dir / "f.bin", point_format(format)).size() == points);
    }
    auto big_endian = bytes_of(scan, points);
    for (std::size_t i = 0; i < big_endian.size(); i += 4) {
      std::swap(big_endian[i], big_endian[i + 3]);
      std::swap(big_endian[i + 1], big_endian[i + 2]);
    }
    CHECK(detected(dir, big_endian) == 0);
    std::string text;
    for (int i = 0; text.size() < 80U * static_cast<unsigned>(points); ++i) {
      text += std::to_string(uniform(0, 99)) + " 1\n";
    }
    CHECK(detected(dir, text.substr(0, 80U * static_cast<unsigned>(points))) == 0);
    std::string noise;
    for (int i = 0; i < 80 * points; ++i) { noise += static_cast<char>(generator()() & 255U); }
    CHECK(detected(dir, noise) == 0);
  }
}

TEST_CASE("bin detection: the sentence says why the file is neither")
{
  test::TempDir const dir;
  Kind const sweep{"sweep", [](int i) { return scanned(i, {uniform(0, 1), 0.5F}); }};
  test::write_bytes(dir / "f.bin", bytes_of(sweep, 61));
  auto const sentence = test::error_of([&] { static_cast<void>(read_point_cloud(dir / "f.bin")); });
  CHECK(test::has(sentence,
                  "read_point_cloud: " + (dir / "f.bin") +
                      ": is neither KITTI (4 floats per point: its size is no multiple of 16) nor nuScenes "
                      "(5 floats: point 0 has the ring 0.5) for certain; name its format"));
  test::write_bytes(dir / "f.pcd.bin", bytes_of(sweep, 61));
  CHECK(test::has(test::error_of([&] { static_cast<void>(read_point_cloud(dir / "f.pcd.bin")); }),
                  "its name ends in .pcd.bin"));
}

TEST_CASE("bin detection: a large file of zeros is refused by its beginning, unless its format is named")
{
  test::TempDir const dir;
  test::write_bytes(dir / "f.bin", std::string{});
  std::filesystem::resize_file(dir / "f.bin", std::uintmax_t{1} << 35);
  CHECK(test::has(test::error_of([&] { static_cast<void>(read_point_cloud(dir / "f.bin")); }),
                  "begins with 131072 bytes of zero"));
  std::filesystem::resize_file(dir / "f.bin", 160'000);
  CHECK(read_point_cloud(dir / "f.bin", PointFormat::kitti).size() == 10'000);
}

TEST_CASE("bin detection: the logarithm of a rising product is that of the product")
{
  for (double const a : {0.001, 0.3, 1.0, 7.5, 8.0, 100.25}) {
    double product = 0;
    for (std::size_t n = 0; n < 300; ++n) {
      CAPTURE(a);
      CAPTURE(n);
      CHECK(std::fabs(detail::log2_rising(a, n) - product) < 1e-3);
      product += std::log2(a + static_cast<double>(n));
    }
  }
}
