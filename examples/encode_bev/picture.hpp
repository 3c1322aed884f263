// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/picture.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace encode_bev {

using program::Color;
using program::Picture;

/// The map's place in the world: column c, row r is the cell from (c, r) * metres on, from the lower corner.
struct MapFrame {
  double metres = 1;        // edge of a cell
  double lower_column = 0;  // metres, of the axis along which columns are
  double lower_row = 0;     // the same of rows
  std::string column_axis{"x"};
  std::string row_axis{"y"};
};

/// The Euclidean norm of the channels of each cell: [H, W] of a map [1, C, H, W] or, `channels_last`,
/// [1, H, W, C].
[[nodiscard]] inline std::vector<float> channel_norm(std::vector<float> const& map,
                                                     std::vector<std::int64_t> const& shape,
                                                     bool channels_last)
{
  auto const channels = static_cast<std::size_t>(shape.at(channels_last ? 3 : 1));
  auto const cells = channels == 0 ? 0 : map.size() / channels;
  std::vector<float> norm(cells);
  for (std::size_t cell = 0; cell < cells; ++cell) {
    double sum = 0;
    for (std::size_t c = 0; c < channels; ++c) {
      double const value = map[channels_last ? cell * channels + c : c * cells + cell];
      sum += value * value;
    }
    norm[cell] = static_cast<float>(std::sqrt(sum));
  }
  return norm;
}

/// From blue over green to yellow, for a level in [0, 1].
[[nodiscard]] inline Color color_of(double level)
{
  constexpr std::array<std::array<double, 3>, 5> stops{
      {{68, 1, 84}, {59, 82, 139}, {33, 145, 140}, {94, 201, 98}, {253, 231, 37}}};
  double const scaled = 4 * std::clamp(level, 0.0, 1.0);
  auto const stop = std::min<std::size_t>(3, static_cast<std::size_t>(scaled));
  double const part = scaled - static_cast<double>(stop);
  Color color;
  for (std::size_t c = 0; c < 3; ++c) {
    color[c] = static_cast<std::uint8_t>((1 - part) * stops[stop][c] + part * stops[stop + 1][c]);
  }
  return color;
}

/// The norm at which colours end: all but the largest half percent of the cells that are not 0.
[[nodiscard]] inline double brightest_of(std::vector<float> const& norm)
{
  std::vector<float> used;
  for (float const value : norm) {
    if (value > 0 && std::isfinite(value)) { used.push_back(value); }
  }
  std::sort(used.begin(), used.end());
  return used.empty() ? 1 : double{used[used.size() - 1 - used.size() / 200]};
}

/// The map from above, each cell a square of several pixels, black for 0 and for what is no number; scale,
/// axes, sensor and the meaning of the colours beneath. The first row of the map is at the bottom.
[[nodiscard]] inline Picture draw_norm(std::vector<float> const& norm, int height, int width,
                                       MapFrame const& frame)
{
  constexpr int letters = 2;
  constexpr int wanted = 900;  // pixels of the longer side; a cell has 4 at least
  constexpr int foot = 100;
  int const cell = std::max(4, wanted / std::max(height, width));
  double const brightest = brightest_of(norm);
  Picture picture{std::max(640, width * cell), height * cell + foot};
  picture.rectangle(0, 0, width * cell, height * cell, Color{0, 0, 0});
  for (int row = 0; row < height; ++row) {
    for (int column = 0; column < width; ++column) {
      float const value = norm[static_cast<std::size_t>(row) * static_cast<std::size_t>(width) +
                               static_cast<std::size_t>(column)];
      if (!(value > 0)) { continue; }
      picture.rectangle(column * cell, (height - 1 - row) * cell, cell, cell, color_of(value / brightest));
    }
  }
  double const pixels_per_metre = cell / frame.metres;
  double const sensor_x = -frame.lower_column * pixels_per_metre;
  double const sensor_y = height * cell + frame.lower_row * pixels_per_metre;
  program::draw_sensor(picture, std::max(sensor_x, 0.0), std::min(sensor_y, height * cell - 1.0), 2);

  int const top = height * cell + 20;
  program::draw_scale_bar(picture, 20, top, 160, pixels_per_metre, letters);
  int const axes = 250;
  picture.arrow(axes, top + 30, axes + 44, top + 30, 2, program::ink);
  picture.arrow(axes, top + 30, axes, top - 8, 2, program::ink);
  picture.text(axes + 54, top + 22, frame.column_axis, letters, program::ink);
  picture.text(axes - 16, top - 10, frame.row_axis, letters, program::ink);
  int const bar = 350;
  constexpr int bar_length = 250;
  for (int i = 0; i < bar_length; ++i) {
    picture.rectangle(bar + i, top - 2, 1, 16, color_of(static_cast<double>(i) / bar_length));
  }
  char most[32];
  std::snprintf(most, sizeof(most), "%.3g", brightest);
  picture.text(bar, top + 20, "0", letters, program::ink);
  picture.text(bar + bar_length - Picture::text_width(most, letters), top + 20, most, letters, program::ink);
  picture.text(20, top + 52, "norm of the channels of a cell", letters, program::faint);
  program::draw_sensor(picture, 430, top + 60, 2);
  picture.text(450, top + 52, "sensor", letters, program::faint);
  return picture;
}

}  // namespace encode_bev
