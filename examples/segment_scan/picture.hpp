// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "palette.hpp"

#include <tessera/points/point_cloud.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace segment_scan {

struct Picture {
  int width = 1;
  int height = 1;
  std::vector<std::uint8_t> rgb;  // [height, width, 3]
};

/// The values that leave out the lowest and highest half percent; a scan's last few points are far away.
[[nodiscard]] inline std::array<float, 2> bulk_of(std::vector<float> values)
{
  if (values.empty()) { return {0, 0}; }
  std::sort(values.begin(), values.end());
  auto const out = values.size() / 200;
  return {values[out], values[values.size() - 1 - out]};
}

/// The points from above, x to the right and y up, on black; of the points in one place the highest shows.
/// Colours darken a little towards the ground, so that shapes stand out of areas of one class.
[[nodiscard]] inline Picture draw_from_above(tessera::PointCloud const& cloud,
                                             std::vector<Color> const& colors)
{
  constexpr float longest = 1200;  // pixels
  constexpr float margin = 20;
  constexpr double near = 25;  // metres; farther points lie farther apart and are drawn larger

  std::array<std::vector<float>, 3> finite;
  std::vector<std::size_t> shown;
  for (std::size_t i = 0; i < colors.size(); ++i) {
    float const* const p = cloud.positions.data() + 3 * i;
    if (!std::isfinite(p[0]) || !std::isfinite(p[1]) || !std::isfinite(p[2])) { continue; }
    shown.push_back(i);
    for (std::size_t axis = 0; axis < 3; ++axis) { finite[axis].push_back(p[axis]); }
  }
  auto const x = bulk_of(std::move(finite[0]));
  auto const y = bulk_of(std::move(finite[1]));
  auto const z = bulk_of(std::move(finite[2]));
  double const extent = std::max({double{x[1]} - x[0], double{y[1]} - y[0], 1e-3});
  double const scale = (longest - 2 * margin) / extent;  // pixels per metre

  Picture picture;
  auto const side = [&](std::array<float, 2> const& range) {
    return static_cast<int>((double{range[1]} - range[0]) * scale + 2 * margin);
  };
  picture.width = std::max(side(x), 200);
  picture.height = std::max(side(y), 200);
  auto const pixels = static_cast<std::size_t>(picture.width) * static_cast<std::size_t>(picture.height);
  picture.rgb.resize(3 * pixels);
  std::vector<float> highest(pixels, -std::numeric_limits<float>::infinity());
  for (auto const i : shown) {
    float const* const p = cloud.positions.data() + 3 * i;
    double const column = picture.width / 2.0 + (p[0] - 0.5 * (double{x[0]} + x[1])) * scale;
    double const row = picture.height / 2.0 - (p[1] - 0.5 * (double{y[0]} + y[1])) * scale;
    if (!(column >= 0 && column < picture.width && row >= 0 && row < picture.height)) { continue; }
    double const level = std::clamp((double{p[2]} - z[0]) / std::max(1e-3, double{z[1]} - z[0]), 0.0, 1.0);
    double const brightness = 0.65 + 0.35 * std::sqrt(level);
    int const radius = std::hypot(p[0], p[1]) < near ? 1 : 2;
    for (int v = static_cast<int>(row) - radius; v <= static_cast<int>(row) + radius; ++v) {
      for (int u = static_cast<int>(column) - radius; u <= static_cast<int>(column) + radius; ++u) {
        if (u < 0 || u >= picture.width || v < 0 || v >= picture.height) { continue; }
        auto const at = static_cast<std::size_t>(v) * static_cast<std::size_t>(picture.width) +
                        static_cast<std::size_t>(u);
        if (p[2] <= highest[at]) { continue; }
        highest[at] = p[2];
        for (std::size_t c = 0; c < 3; ++c) {
          picture.rgb[3 * at + c] = static_cast<std::uint8_t>(brightness * colors[i][c]);
        }
      }
    }
  }
  return picture;
}

}  // namespace segment_scan
