// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/int_array.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/io/detail/file.hpp>
#include <tessera/io/point_format.hpp>

#include <algorithm>
#include <array>
#include <bitset>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// log2 of a * (a + 1) * ... * (a + n - 1), to about 1e-4; a > 0.
[[nodiscard]] inline double log2_rising(double a, std::size_t n) noexcept
{
  constexpr double log2_e = 1.4426950408889634;
  double product = 1;  // the first factors one by one, so that Stirling's series holds for the others
  for (; n > 0 && a < 8; --n) { product *= a++; }
  double const end = a + static_cast<double>(n);
  auto const series = [](double x) { return (x - 0.5) * std::log(x) - x + 1 / (12 * x); };
  return std::log2(product) + log2_e * (n == 0 ? 0 : series(end) - series(a));
}

/// What tells rows of floats of one width from those of another: in rows of the right width, each column
/// holds numbers of one kind (heights, intensities, rings); in rows of a wrong width the kinds are mixed.
///
/// The cost of a width is the number of bits that an adaptive code needs for the kinds of all numbers (sign,
/// exponent, whole or not), each column with a code of its own that starts from how frequent the kinds are in
/// the whole file. So a width pays for mixed columns, and for more columns than it needs.
class BinWidths {
 public:
  static constexpr std::size_t narrowest = 3;
  static constexpr std::size_t widest = 16;
  static constexpr std::size_t enough_rows = 100;  // of any scan: its columns differ, and it shows

  explicit BinWidths(Bytes const& bytes) : floats_{bytes.size() / 4}
  {
    // Blocks from all over the file that begin at a row whatever the width.
    constexpr std::size_t block = 5040;
    constexpr std::size_t most_blocks = 12;
    auto const blocks = ceil_div(floats_, block);
    auto const taken = std::min(blocks, most_blocks);
    for (std::size_t b = 0; b < taken; ++b) {
      auto const first = block * (b * blocks / taken);
      for (auto i = first; i < std::min(first + block, floats_); ++i) {
        kinds_.push_back(kind_of(load_bytes<float>(bytes.data() + 4 * i)));
        ++frequency_[kinds_.back()];
      }
      ends_.push_back(kinds_.size());
    }
  }

  /// Whether the file can be two or more rows of that width.
  [[nodiscard]] bool fits(std::size_t width) const noexcept
  {
    return floats_ % width == 0 && floats_ / width >= 2;
  }

  [[nodiscard]] double bits(std::size_t width) const
  {
    std::vector<std::size_t> counts(width * num_kinds);
    std::vector<std::size_t> rows(width);
    std::size_t begin = 0;
    for (auto const end : ends_) {
      std::size_t column = 0;
      for (auto i = begin; i < end; ++i) {
        ++counts[column * num_kinds + kinds_[i]];
        ++rows[column];
        column = column + 1 == width ? 0 : column + 1;
      }
      begin = end;
    }
    double result = 0;
    for (auto const n : rows) { result += log2_rising(prior, n); }
    for (std::size_t i = 0; i < counts.size(); ++i) {
      if (counts[i] == 0) { continue; }
      auto const share = static_cast<double>(frequency_[i % num_kinds]) / static_cast<double>(kinds_.size());
      result -= log2_rising(prior * share, counts[i]);
    }
    return result;
  }

  /// A width that `width` cannot hold its own against; 0 if there is none, 1 if there are enough rows to tell
  /// and the numbers are as well explained without columns. A `known` width, of files that people have, must
  /// be clearly worse. Any other must be clearly better, and a multiple of `width` by much: scanners that
  /// fire their rings in turn leave a pattern of several rows.
  [[nodiscard]] std::size_t rival_of(std::size_t width, std::initializer_list<std::size_t> known) const
  {
    constexpr double clear = 16;               // bits: odds of 65,000 to 1
    constexpr double pattern_of_rows = 0.125;  // bits a number; a sweep of nuScenes has 0.01 for two rows
    double const own = bits(width);
    if (floats_ / width >= enough_rows && bits(1) - own < clear) { return 1; }
    for (auto other = narrowest; other <= widest; ++other) {
      if (other == width || !fits(other)) { continue; }
      double least = -clear;
      if (std::find(known.begin(), known.end(), other) != known.end()) { least = clear; }
      if (other % width == 0) {
        least = std::min(-clear, -pattern_of_rows * static_cast<double>(kinds_.size()));
      }
      if (bits(other) - own < least) { return other; }
    }
    return 0;
  }

 private:
  static constexpr int exponents = 24;  // from 2^-12 to 2^11, and what is beyond at the ends
  static constexpr std::size_t num_kinds = 4 * exponents + 2;
  static constexpr double prior = 8;  // numbers that the frequencies of the whole file count for

  [[nodiscard]] static std::uint8_t kind_of(float value) noexcept
  {
    if (!is_finite(value)) { return 0; }
    if (value == 0.0F) { return 1; }
    int const exponent = std::clamp(std::ilogb(value) + 12, 0, exponents - 1);
    int const sign = value < 0.0F ? 1 : 0;
    int const whole = value == std::floor(value) ? 1 : 0;
    return static_cast<std::uint8_t>(2 + 4 * exponent + 2 * sign + whole);
  }

  std::size_t floats_;
  std::vector<std::uint8_t> kinds_;
  std::vector<std::size_t> ends_;  ///< of each block
  std::array<std::size_t, num_kinds> frequency_{};
};

/// Why the file is no scan of rows of `width` floats x, y, z, intensity (and ring); nothing if it may be one.
/// Positions are within a kilometre and differ, intensities are 0 to 255, rings are whole numbers in [0, 255]
/// that differ, and positions of nuScenes are not whole numbers all. A few numbers that are not finite are no
/// objection.
[[nodiscard]] inline std::string objection_to(Bytes const& bytes, std::size_t width)
{
  auto const rows = bytes.size() / (4 * width);
  if (bytes.size() % (4 * width) != 0) { return concat("its size is no multiple of ", 4 * width); }
  std::array<float, 5> low{};
  std::array<float, 5> high{};
  std::array<std::size_t, 5> counted{};
  std::bitset<256> rings;
  std::size_t tiny = 0;
  bool whole = true;
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t column = 0; column < width; ++column) {
      auto const value = load_bytes<float>(bytes.data() + 4 * (row * width + column));
      if (!is_finite(value)) { continue; }
      bool const first = counted[column]++ == 0;
      low[column] = first ? value : std::min(low[column], value);
      high[column] = first ? value : std::max(high[column], value);
      tiny += value != 0.0F && std::fabs(value) < 0x1p-20F ? 1 : 0;
      whole = whole && (column > 2 || value == std::floor(value));
      if (column < 4) { continue; }
      if (!(value >= 0.0F && value <= 255.0F) || value != std::floor(value)) {
        return concat("point ", row, " has the ring ", value);
      }
      rings.set(static_cast<std::size_t>(value));
    }
  }
  for (std::size_t column = 0; column < width; ++column) {
    constexpr char const* names[] = {"x", "y", "z", "intensity", "ring"};
    auto const* const name = names[column];
    bool const is_position = column < 3;
    float const least = is_position ? -1000.0F : 0.0F;
    float const most = is_position ? 1000.0F : 255.0F;
    if (2 * counted[column] <= rows) { return concat("half of all ", name, " are not finite"); }
    if (low[column] < least) { return concat("there is the ", name, ' ', low[column]); }
    if (high[column] > most) { return concat("there is the ", name, ' ', high[column]); }
  }
  if (10 * tiny > rows * width) { return "too many numbers are next to nothing"; }
  if (rows < 4) { return {}; }
  int flat = 0;
  for (std::size_t axis = 0; axis < 3; ++axis) { flat += high[axis] - low[axis] < 0.01F ? 1 : 0; }
  if (flat > 1) { return "its points are on a line"; }
  if (width == 5 && rings.count() < std::min(rows / 4, std::size_t{16})) {
    return concat("there are ", rings.count(), " different rings, too few");
  }
  if (width == 5 && whole) { return "its positions are whole numbers"; }
  return {};
}

/// The end of sentences about files that do not say what they are.
inline constexpr char const* how_to_name_a_format =
    "; name its format (read_point_cloud(path, PointFormat::kitti), --format kitti): kitti, nuscenes, xyz, "
    "xyzrgb, a number of columns (6, 4:f8) or their names (x,y,z,intensity,age:f8)";

/// Whether a .bin is a scan of KITTI or a sweep of nuScenes: the only one of the two without an objection.
///
/// @param named_nuscenes  whether the file's name says nuScenes
/// @throws invalid_argument  it may be both or neither
[[nodiscard]] inline PointFormat detect_bin(Bytes const& bytes, bool named_nuscenes, FileContext const& file)
{
  if (bytes.empty()) { return named_nuscenes ? PointFormat::nuscenes : PointFormat::kitti; }
  BinWidths const widths{bytes};
  auto kitti = named_nuscenes ? std::string{"its name ends in .pcd.bin"} : objection_to(bytes, 4);
  auto nuscenes = objection_to(bytes, 5);
  bool const both = kitti.empty() && nuscenes.empty();
  auto const compare = [&](std::string& objection, std::size_t width, std::size_t other) {
    if (!objection.empty()) { return; }
    auto const rival = widths.rival_of(width, {3, 6, both ? other : 3});
    if (rival == 1) {
      objection = "its columns do not differ";
    } else if (rival != 0) {
      objection = concat("rows of ", rival, " floats explain it as well or better");
    }
  };
  compare(kitti, 4, 5);
  compare(nuscenes, 5, 4);
  if (nuscenes.empty() != kitti.empty()) {
    return kitti.empty() ? PointFormat::kitti : PointFormat::nuscenes;
  }
  file.fail("is neither KITTI (4 floats per point: ", kitti, ") nor nuScenes (5 floats: ", nuscenes,
            ") for certain", how_to_name_a_format);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
