// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "program.hpp"

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
  std::printf("note      %s\n", text.c_str());
}

/// Says if the program was compiled without optimisation.
inline void print_build_note()
{
#ifndef __OPTIMIZE__
  print_note("compiled without optimisation, so many times slower; -DCMAKE_BUILD_TYPE=Release");
#endif
}

/// "1 point", "2,000 points".
[[nodiscard]] inline std::string counted(std::int64_t number, char const* one, char const* many)
{
  return with_commas(number) + " " + (number == 1 ? one : many);
}

}  // namespace program
