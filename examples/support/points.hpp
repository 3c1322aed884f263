// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "command_line.hpp"
#include "program.hpp"

#include <tessera/io/point_format.hpp>
#include <tessera/points/point_cloud.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace program {

/// The options that say how files of points are read.
inline void add_reading_options(CommandLine& line, tessera::PointReadOptions& read)
{
  line.add(
      "--format", "FORMAT",
      "what SCAN is: detect (default, by content and name), kitti, nuscenes, ply, npy, pcd, xyz, xyzrgb; or, "
      "of other .bin files, a number of columns and their type (5, 4:f8), or the names of the columns "
      "(x,y,z,intensity:u1,_:u1,ring:u2; types as NumPy's, f4 if not said, _ is passed over)",
      [&read](std::string const& text) {
        try {
          auto const origin = read.origin;
          read = tessera::point_format(text);
          read.origin = origin;
        } catch (tessera::invalid_argument const& error) {
          throw UsageError{std::string{"--format: "} + error.what()};
        }
      });
  line.add(
      "--origin", "X,Y,Z",
      "metres that are subtracted from positions before they are rounded to float (default: 0, or near the "
      "points where they are too far from 0, as those of a map are)",
      [&read](std::string const& text) {
        auto const first = text.find(',');
        auto const second = first == std::string::npos ? first : text.find(',', first + 1);
        if (second == std::string::npos) { throw UsageError{"--origin: '" + text + "' is not X,Y,Z"}; }
        auto const number = [](std::string const& part) {
          return parse_number<double>("--origin", part, -1e9, 1e9);
        };
        read.origin = {number(text.substr(0, first)), number(text.substr(first + 1, second - first - 1)),
                       number(text.substr(second + 1))};
      });
}

/// Says where positions are measured from, if that is not 0.
inline void print_origin(tessera::PointCloud const& cloud)
{
  if (!cloud.has_origin()) { return; }
  std::printf("origin    %.3f, %.3f, %.3f: positions are measured from there\n", cloud.origin[0],
              cloud.origin[1], cloud.origin[2]);
}

/// The number of the channel that is the intensity: by its name, else the first; -1 where there are none.
[[nodiscard]] inline int intensity_channel(tessera::PointCloud const& cloud)
{
  constexpr std::array<char const*, 5> known{"intensity", "reflectance", "remission", "reflectivity", "i"};
  auto const& names = cloud.feature_names;
  for (auto const* name : known) {
    auto const found = std::find(names.begin(), names.end(), name);
    if (found != names.end()) { return static_cast<int>(found - names.begin()); }
  }
  return cloud.channels > 0 ? 0 : -1;
}

/// Sentences about intensities that a network trained with 0 to `highest` was not made for, and about
/// channels that stand in for them; none if all is well.
/// @param scale  what --intensity-scale multiplies them by
[[nodiscard]] inline std::vector<std::string> notes_on_intensity(tessera::PointCloud const& cloud,
                                                                 double scale, double highest)
{
  constexpr double unit = 1.001;  // some scanners round up
  std::vector<std::string> notes;
  int const channel = intensity_channel(cloud);
  if (channel < 0) {
    if (!cloud.empty()) { notes.emplace_back("the points have no intensity; the network gets 0 instead"); }
    return notes;
  }
  auto const& names = cloud.feature_names;
  auto const name = names.empty() ? "intensity" : names[static_cast<std::size_t>(channel)];
  if (channel == 0 && !names.empty() && name != "intensity" && name != "reflectance" && name != "remission" &&
      name != "reflectivity" && name != "i") {
    notes.push_back("the points have no channel 'intensity'; the network gets '" + name + "' instead");
  }
  double least = 0;
  double most = 0;
  std::int64_t odd = 0;
  for (auto at = static_cast<std::size_t>(channel); at < cloud.features.size();
       at += static_cast<std::size_t>(cloud.channels)) {
    double const value = scale * double{cloud.features[at]};
    if (!std::isfinite(value)) {
      ++odd;
      continue;
    }
    least = std::min(least, value);
    most = std::max(most, value);
  }
  if (odd > 0) {
    notes.push_back(with_commas(odd) +
                    (odd == 1 ? " point has an intensity that is" : " points have intensities that are") +
                    " no number; what the network makes of " + (odd == 1 ? "it" : "them") +
                    " is none either");
  }
  bool const above = most > unit * highest;
  bool const below = highest > 1 && most > 0 && most <= unit;  // in units of the whole instead of 0 to 255
  if (above || below || least < 0) {
    char text[256];
    std::snprintf(text, sizeof(text), "intensities are %g to %g, but this network takes 0 to %g", least, most,
                  highest);
    std::string note = text;
    // Scanners give either fractions or bytes.
    double const factor = above && highest == 1 && most <= 255 ? 1 / 255.0 : below ? highest : 0;
    if (factor != 0 && least >= 0) {
      std::snprintf(text, sizeof(text), "; --intensity-scale %.3g makes them so", scale * factor);
      note += text;
    }
    notes.push_back(note);
  }
  return notes;
}

/// A line of the report that deserves a look.
inline void print_note(std::string const& text)
{
  std::printf("note      %s\n", printable(text).c_str());
}

/// "1 point", "2,000 points".
[[nodiscard]] inline std::string counted(std::int64_t number, char const* one, char const* many)
{
  return with_commas(number) + " " + (number == 1 ? one : many);
}

}  // namespace program
