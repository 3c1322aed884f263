// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// A file twice as large costs a reader about twice the time and twice the memory, whatever is in it.

#include "../support/allocations.hpp"
#include "../support/files.hpp"

#include <tessera/io/point_cloud_file.hpp>
#include <tessera/io/tuning_file.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <ctime>
#include <filesystem>
#include <functional>
#include <limits>
#include <malloc.h>
#include <string>
#include <vector>

using namespace tessera;

namespace {

struct Cost {
  double seconds =
      std::numeric_limits<double>::infinity();  // of the processor; others that use it do not count
  std::int64_t bytes = 0;
};

Cost cost_of(std::function<void()> const& action)
{
  Cost cost;
#ifdef __GLIBC__
  // Memory once taken from the system is kept: its first touch costs more than reading a file does.
  static bool const kept =
      ::mallopt(M_MMAP_THRESHOLD, 1 << 30) == 1 && ::mallopt(M_TRIM_THRESHOLD, 1 << 30) == 1;
  static_cast<void>(kept);
#endif
  for (int i = 0; i < 3; ++i) {
    test::AllocationWatch const watch;
    auto const begin = std::clock();
    action();
    cost.seconds = std::min(cost.seconds, static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC);
    cost.bytes = watch.peak_bytes();
  }
  return cost;
}

/// Reads what make(n) and make(4 n) write: two doublings, each of which may cost 2.5 times as much. A time
/// may be disturbed, a fault of the kind sought for is there each time.
/// @param most  bytes of memory for a byte of the file
void check_growth(char const* name, int n, std::function<std::string(int)> const& make,
                  std::function<void(std::string const&)> const& read, double most = 64)
{
  CAPTURE(std::string{name});
  constexpr double limit = 2.5 * 2.5;
  test::TempDir const dir;
  test::write_bytes(dir / "small.bin", make(n));
  test::write_bytes(dir / "large.bin", make(4 * n));
  auto const size = static_cast<double>(std::filesystem::file_size(dir / "small.bin"));
  double ratio = 0;
  Cost small;
  Cost large;
  for (int attempt = 0; attempt < 5; ++attempt) {
    small = cost_of([&] { read(dir / "small.bin"); });
    large = cost_of([&] { read(dir / "large.bin"); });
    ratio = large.seconds / small.seconds;
    if (ratio <= limit) { break; }
  }
  CAPTURE(small.seconds);
  CAPTURE(small.bytes);
  CHECK(ratio <= limit);
  CHECK(static_cast<double>(large.bytes) <= limit * static_cast<double>(small.bytes));
  CHECK(static_cast<double>(small.bytes) < most * size);
}

/// As check_growth(), for files that are refused: at the end, or wherever.
void check_growth_of_refusal(char const* name, int n, std::function<std::string(int)> const& make,
                             double most = 64)
{
  check_growth(
      name, n, make,
      [](std::string const& path) {
        auto const sentence = test::error_of([&] { static_cast<void>(read_point_cloud(path)); });
        CHECK(!sentence.empty());
        CHECK(sentence.size() < 1000);
      },
      most);
}

void read_points(std::string const& path)
{
  CHECK(!read_point_cloud(path).empty());
}

std::string repeated(std::string const& text, int n)
{
  std::string result;
  result.reserve(text.size() * static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) { result += text; }
  return result;
}

std::string ply(std::string const& format, int n, std::string const& properties)
{
  return "ply\nformat " + format + " 1.0\nelement vertex " + std::to_string(n) + "\n" + properties +
         "end_header\n";
}

std::string pcd(std::string const& fields, int n, std::string const& data)
{
  return "FIELDS " + fields + "\nPOINTS " + std::to_string(n) + "\nDATA " + data + "\n";
}

std::string number(std::uint32_t value)
{
  return {reinterpret_cast<char const*>(&value), sizeof(value)};
}

/// Rows of random floats in [0, 1), in time that grows with their number.
std::string floats(int n, float scale)
{
  std::string bytes;
  std::uint32_t state = 1;
  for (int i = 0; i < n; ++i) {
    state = state * 1664525U + 1013904223U;
    float const value = scale * static_cast<float>(state >> 8) / 16777216.0F;
    bytes.append(reinterpret_cast<char const*>(&value), sizeof(value));
  }
  return bytes;
}

constexpr char const* xyz = "property float x\nproperty float y\nproperty float z\n";

}  // namespace

TEST_CASE("growth: files of points cost time and memory in their size")
{
  check_growth(
      "ascii PLY", 20'000,
      [](int n) {
        return ply("ascii", n, std::string{xyz} + "property float label\n") +
               repeated("1.25 -2.5 3e2 0.5\n", n);
      },
      read_points);
  check_growth(
      "binary PLY of doubles about an origin", 40'000,
      [](int n) {
        double const row[] = {627285.1, 4841948.3, 1};
        return ply("binary_little_endian", n, "property double x\nproperty double y\nproperty double z\n") +
               repeated({reinterpret_cast<char const*>(row), sizeof(row)}, n);
      },
      read_points);
  check_growth(
      "PLY of lists", 40'000,
      [](int n) {
        return ply("binary_little_endian", n, std::string{xyz} + "property list uchar uchar l\n") +
               repeated(std::string(12, '\0') +
                            "\x02"
                            "ab",
                        n);
      },
      read_points);
  check_growth(
      "ascii PCD", 20'000,
      [](int n) { return pcd("x y z rgb", n, "ascii") + repeated("1.25 -2.5 nan 4.2e6\n", n); }, read_points);
  check_growth(
      "binary PCD", 60'000, [](int n) { return pcd("x y z rgb label _", n, "binary") + floats(6 * n, 9); },
      read_points);
  check_growth(
      "compressed PCD", 2'000,
      [](int n) {
        // One literal byte, then repetitions of it, 264 bytes in three.
        auto const size = 12 * 22 * n;
        std::string const packed =
            std::string("\0\0", 2) + repeated({"\xe0\xff\0", 3}, n - 1) + std::string("\xe0\xfe\0", 3);
        return pcd("x y z", 22 * n, "binary_compressed") + number(static_cast<std::uint32_t>(packed.size())) +
               number(static_cast<std::uint32_t>(size)) + packed;
      },
      [](std::string const& path) { CHECK(read_point_cloud(path).size() >= 44'000); }, 400);
  check_growth(
      "KITTI", 120'000, [](int n) { return floats(4 * n, 1); },
      [](std::string const& path) { CHECK(!read_point_cloud(path, PointFormat::kitti).empty()); });
  check_growth(
      "rows of any columns", 60'000, [](int n) { return floats(4 * n, 1); },
      [](std::string const& path) {
        CHECK(!read_point_cloud(path, point_format("x,y:i2,z:u2,label:u4,a:u1,b:u1,c:i2")).empty());
      });
  check_growth(
      "npy in Fortran order", 60'000,
      [](int n) {
        std::string dictionary =
            "{'descr': '<f4', 'fortran_order': True, 'shape': (" + std::to_string(n) + ", 4), }";
        dictionary.resize(117, ' ');
        return std::string("\x93NUMPY\x01\x00\x76\x00", 10) + dictionary + "\n" + floats(4 * n, 1);
      },
      read_points);
}

TEST_CASE("growth: files that are refused cost time and memory in their size")
{
  check_growth_of_refusal("a .bin that is nothing", 400'000, [](int n) { return floats(6 * n, 1); });
  check_growth_of_refusal("blank lines", 400'000,
                          [](int n) { return ply("ascii", 2, xyz) + "1 2 3\n" + repeated(" \r\n", n); });
  check_growth_of_refusal("a long line", 100'000,
                          [](int n) { return ply("ascii", 1, xyz) + "1 2 3 " + repeated("1 ", n); });
  check_growth_of_refusal("a long word", 1'000'000,
                          [](int n) { return ply("ascii", 1, xyz) + "1 2 " + repeated("1", n); });
  check_growth_of_refusal("a long list", 100'000, [](int n) {
    return ply("ascii", 1, std::string{"property list uint int l\n"} + xyz) + "4294967295 " +
           repeated("1 ", n);
  });
  check_growth_of_refusal("rows that end early", 60'000, [](int n) {
    return ply("binary_little_endian", n + 1, std::string{xyz} + "property list uchar int l\n") +
           repeated(std::string(13, '\0'), n) + std::string(12, '\0') + "\xff";
  });
  check_growth_of_refusal(
      "compressed data that end early", 200'000,
      [](int n) {
        auto const packed = std::string("\0\0", 2) + repeated({"\xe0\xff\0", 3}, n);
        return pcd("x y z", 22 * n, "binary_compressed") + number(static_cast<std::uint32_t>(packed.size())) +
               number(static_cast<std::uint32_t>(264 * n)) + packed;
      },
      400);
}

TEST_CASE("growth: a tuning file costs time and memory in its size")
{
  test::TempDir const dir;
  nn::Tuning tuning;
  tuning.device = "a device";
  tuning.version = "1";
  tuning.scalar = "float32";
  io::save_tuning(dir / "one.json", tuning);
  auto const bytes = test::read_bytes(dir / "one.json");
  std::string const text{bytes.begin(), bytes.end()};
  auto const begin = text.find("    {\"device\"");
  auto const entry = text.substr(begin, text.rfind("]\n}") - begin);
  auto const make = [&](int n) {
    return text.substr(0, begin) + repeated(entry + ",\n", n - 1) + entry + text.substr(text.rfind("]\n}"));
  };
  check_growth(
      "tunings", 2'000, make, [](std::string const& path) { CHECK(io::read_tunings(path).size() >= 2'000); },
      200);
  check_growth(
      "tunings of others", 2'000, make,
      [](std::string const& path) {
        auto const sentence =
            test::error_of([&] { static_cast<void>(io::load_tuning<float>(path, Execution<Host>{})); });
        CHECK(test::has(sentence, "and more"));
        CHECK(sentence.size() < 2000);
      },
      200);
}

TEST_CASE("growth: joining many clouds costs time in their points")
{
  auto const join = [](int n) {
    return [n] {
      PointCloud all;
      PointCloud one;
      one.positions = {1, 2, 3};
      for (int i = 0; i < n; ++i) { append_points(all, one); }
      CHECK(all.size() == n);
    };
  };
  double ratio = 0;
  for (int attempt = 0; attempt < 5; ++attempt) {
    ratio = cost_of(join(80'000)).seconds / cost_of(join(20'000)).seconds;
    if (ratio <= 6.25) { break; }
  }
  CHECK(ratio <= 6.25);
}
