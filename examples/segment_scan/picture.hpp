// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/palette.hpp"
#include "../support/picture.hpp"
#include "../support/program.hpp"

#include <tessera/points/point_cloud.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace segment_scan {

using program::Color;
using program::Picture;

/// Which part of the plane a panel shows, and how large.
struct View {
  double centre_x = 0;  // metres
  double centre_y = 0;
  double scale = 1;  // pixels per metre
  int width = 1;     // pixels
  int height = 1;

  [[nodiscard]] double column(double x) const { return width / 2.0 + (x - centre_x) * scale; }
  [[nodiscard]] double row(double y) const { return height / 2.0 - (y - centre_y) * scale; }
};

/// One class in the legend.
struct LegendEntry {
  std::string name;
  Color color;
  double share = 0;  // of all points, percent
};

/// The values that leave out the lowest and highest half percent; a scan's last few points are far away.
[[nodiscard]] inline std::array<float, 2> bulk_of(std::vector<float> values)
{
  if (values.empty()) { return {0, 0}; }
  std::sort(values.begin(), values.end());
  auto const out = values.size() / 200;
  return {values[out], values[values.size() - 1 - out]};
}

[[nodiscard]] inline bool is_finite(float const* p)
{
  return std::isfinite(p[0]) && std::isfinite(p[1]) && std::isfinite(p[2]);
}

/// Coordinate `axis` of all points that are finite.
[[nodiscard]] inline std::vector<float> finite_values(tessera::PointCloud const& cloud, std::size_t axis)
{
  std::vector<float> values;
  for (std::size_t i = 0; i + 2 < cloud.positions.size(); i += 3) {
    if (is_finite(cloud.positions.data() + i)) { values.push_back(cloud.positions[i + axis]); }
  }
  return values;
}

/// The bulk of the cloud in a panel whose longer side has so many pixels.
[[nodiscard]] inline View view_of(tessera::PointCloud const& cloud, int longest)
{
  constexpr int margin = 20;
  constexpr int shortest = 420;  // room for title, scale and axes
  auto const x = bulk_of(finite_values(cloud, 0));
  auto const y = bulk_of(finite_values(cloud, 1));
  double const extent = std::max({double{x[1]} - x[0], double{y[1]} - y[0], 1e-3});
  View view;
  view.centre_x = 0.5 * (double{x[0]} + x[1]);
  view.centre_y = 0.5 * (double{y[0]} + y[1]);
  view.scale = (longest - 2 * margin) / extent;
  auto const side = [&](std::array<float, 2> const& range) {
    return std::max(shortest, static_cast<int>((double{range[1]} - range[0]) * view.scale) + 2 * margin);
  };
  view.width = side(x);
  view.height = side(y);
  return view;
}

/// The points from above, x to the right and y up; of the points in one place the highest shows. Colours
/// darken a little towards the ground, so that shapes stand out of areas of one class.
inline void draw_points(Picture& panel, View const& view, tessera::PointCloud const& cloud,
                        std::vector<Color> const& colors)
{
  constexpr double near = 25;  // metres; farther points are farther apart and are drawn larger
  auto const z = bulk_of(finite_values(cloud, 2));
  std::vector<float> highest(panel.pixels().size(), -std::numeric_limits<float>::infinity());
  for (std::size_t i = 0; i < colors.size(); ++i) {
    float const* const p = cloud.positions.data() + 3 * i;
    double const column = view.column(p[0]);
    double const row = view.row(p[1]);
    bool const inside = column >= 0 && column < view.width && row >= 0 && row < view.height;
    if (!is_finite(p) || !inside) { continue; }
    double const level = std::clamp((double{p[2]} - z[0]) / std::max(1e-3, double{z[1]} - z[0]), 0.0, 1.0);
    double const brightness = 0.65 + 0.35 * std::sqrt(level);
    int const radius = std::hypot(p[0], p[1]) < near ? 1 : 2;
    for (int v = static_cast<int>(row) - radius; v <= static_cast<int>(row) + radius; ++v) {
      for (int u = static_cast<int>(column) - radius; u <= static_cast<int>(column) + radius; ++u) {
        if (!panel.contains(u, v)) { continue; }
        auto const at =
            static_cast<std::size_t>(v) * static_cast<std::size_t>(view.width) + static_cast<std::size_t>(u);
        if (p[2] <= highest[at]) { continue; }
        highest[at] = p[2];
        for (std::size_t c = 0; c < 3; ++c) {
          panel.at(u, v)[c] = static_cast<std::uint8_t>(brightness * colors[i][c]);
        }
      }
    }
  }
}

/// Scale, axes, the sensor at the origin, and a title, over the points.
inline void draw_annotations(Picture& panel, View const& view, std::string const& title)
{
  constexpr int letters = 2;
  int const bottom = panel.height() - 44;
  auto const backed = [&](int x, int y, int width, int height) {
    panel.rectangle(x - 8, y - 8, width + 16, height + 16, program::paper);
  };
  if (panel.contains(static_cast<int>(view.column(0)), static_cast<int>(view.row(0)))) {
    program::draw_sensor(panel, view.column(0), view.row(0), 2);
  }
  backed(20, 14, Picture::text_width(title, letters), 16);
  panel.text(20, 14, title, letters, program::ink);
  int const longest = std::min(220, panel.width() / 3);
  backed(20, bottom - 4, longest, 34);
  program::draw_scale_bar(panel, 20, bottom, longest, view.scale, letters);
  int const x = panel.width() - 84;
  backed(x - 18, bottom - 42, 94, 72);
  panel.arrow(x, bottom + 16, x + 44, bottom + 16, 2, program::ink);
  panel.arrow(x, bottom + 16, x, bottom - 28, 2, program::ink);
  panel.text(x + 54, bottom + 8, "x", letters, program::ink);
  panel.text(x - 16, bottom - 38, "y", letters, program::ink);
}

/// A row of the legend for some classes; returns the height it takes where `picture` is null.
inline int draw_legend(Picture* picture, int y, int width, std::vector<LegendEntry> const& entries)
{
  constexpr int letters = 2;
  constexpr int line = 30;
  constexpr int swatch = 20;
  int widest = 0;
  std::vector<std::string> texts;
  for (auto const& entry : entries) {
    char share[32];
    std::snprintf(share, sizeof(share), " %.1f %%", entry.share);
    texts.push_back(entry.name + share);
    widest = std::max(widest, Picture::text_width(texts.back(), letters));
  }
  int const column_width = widest + swatch + 36;
  int const columns = std::max(1, (width - 40) / column_width);
  for (std::size_t i = 0; i < entries.size() && picture != nullptr; ++i) {
    int const x = 20 + static_cast<int>(i) % columns * column_width;
    int const top = y + static_cast<int>(i) / columns * line;
    picture->rectangle(x, top, swatch, swatch, entries[i].color);
    picture->text(x + swatch + 10, top + 3, texts[i], letters, program::ink);
  }
  return (static_cast<int>(entries.size()) + columns - 1) / columns * line;
}

/// The colours of one labelling of the cloud, and what they are called.
struct Panel {
  std::string title;
  std::vector<Color> colors;  // [num_points]
};

/// The panels side by side, or one above the other if they are wide, over the legend. A mark of the sensor
/// belongs to it.
[[nodiscard]] inline Picture draw_from_above(tessera::PointCloud const& cloud,
                                             std::vector<Panel> const& panels,
                                             std::vector<LegendEntry> const& legend)
{
  constexpr int gap = 8;
  constexpr int letters = 2;
  auto const view = view_of(cloud, panels.size() == 1 ? 1200 : 1000);
  int const count = static_cast<int>(panels.size());
  bool const stacked = view.width > view.height;
  int const width = stacked ? view.width : count * view.width + (count - 1) * gap;
  int const height = stacked ? count * view.height + (count - 1) * gap : view.height;
  int const legend_height = draw_legend(nullptr, 0, width, legend);
  Picture picture{width, height + 20 + legend_height + 44};
  for (int i = 0; i < count; ++i) {
    Picture panel{view.width, view.height, Color{0, 0, 0}};
    draw_points(panel, view, cloud, panels[static_cast<std::size_t>(i)].colors);
    draw_annotations(panel, view, panels[static_cast<std::size_t>(i)].title);
    picture.paste(stacked ? 0 : i * (view.width + gap), stacked ? i * (view.height + gap) : 0, panel);
  }
  draw_legend(&picture, height + 20, width, legend);
  int const foot = height + 20 + legend_height + 10;
  program::draw_sensor(picture, 30, foot + 8, 2);
  picture.text(50, foot, "sensor, seen from above", letters, program::faint);
  return picture;
}

}  // namespace segment_scan
