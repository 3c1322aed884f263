// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/picture.hpp"
#include "shapes.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace complete_shape {

using program::Color;
using program::Picture;

inline constexpr Color given{92, 148, 232};
inline constexpr Color added{88, 198, 118};
inline constexpr Color wrong{226, 84, 68};
inline constexpr Color true_color{202, 202, 208};

struct ColoredCell {
  Cell cell;
  Color color;
};

/// One shape three times, and what its columns say of it.
struct PictureRow {
  std::array<std::vector<ColoredCell>, 3> columns;  // partial, completed, truth
  std::array<std::string, 3> captions;
};

[[nodiscard]] inline bool contains(std::vector<Cell> const& sorted, Cell const& cell)
{
  return std::binary_search(sorted.begin(), sorted.end(), cell, [](Cell const& a, Cell const& b) {
    return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end());
  });
}

/// A shape and what was made of it. Voxels of the result are given, added rightly, or wrong.
[[nodiscard]] inline PictureRow picture_row(Shape const& shape, std::vector<Cell> const& completed)
{
  PictureRow row;
  for (auto const& cell : shape.partial) { row.columns[0].push_back({cell, given}); }
  for (auto const& cell : completed) {
    auto const color = contains(shape.partial, cell) ? given : (contains(shape.whole, cell) ? added : wrong);
    row.columns[1].push_back({cell, color});
  }
  for (auto const& cell : shape.whole) { row.columns[2].push_back({cell, true_color}); }
  auto const iou = [&](std::vector<Cell> const& cells) {
    char text[32];
    std::snprintf(text, sizeof(text), "IoU %.2f", intersection_over_union(cells, shape.whole));
    return std::string{text};
  };
  row.captions = {iou(shape.partial), iou(completed), kind_names[static_cast<std::size_t>(shape.kind)]};
  return row;
}

/// Where points of the grid are in a panel: seen from above one of its corners, at equal angles to the axes.
class View {
 public:
  View(int grid, int side) : cell_{side / (1.65 * grid)}, middle_{side / 2.0} {}

  [[nodiscard]] std::array<double, 2> operator()(double x, double y, double z) const
  {
    return {middle_ + 0.866 * cell_ * (x - y), middle_ + cell_ * (0.5 * (x + y) - z)};
  }

 private:
  double cell_;  // pixels
  double middle_;
};

/// Fills the parallelogram of a corner and the two beside it.
inline void fill_face(Picture& panel, std::array<double, 2> const& corner, std::array<double, 2> const& first,
                      std::array<double, 2> const& second, Color const& color)
{
  double const ux = first[0] - corner[0];
  double const uy = first[1] - corner[1];
  double const vx = second[0] - corner[0];
  double const vy = second[1] - corner[1];
  double const area = ux * vy - uy * vx;
  auto const low = [](double at, double u, double v) { return at + std::min({0.0, u, v, u + v}); };
  auto const high = [](double at, double u, double v) { return at + std::max({0.0, u, v, u + v}); };
  for (int row = int(low(corner[1], uy, vy)); row <= int(high(corner[1], uy, vy)); ++row) {
    for (int column = int(low(corner[0], ux, vx)); column <= int(high(corner[0], ux, vx)); ++column) {
      double const x = column + 0.5 - corner[0];
      double const y = row + 0.5 - corner[1];
      double const a = (x * vy - y * vx) / area;
      double const b = (ux * y - uy * x) / area;
      if (a >= 0 && a < 1 && b >= 0 && b < 1 && panel.contains(column, row)) {
        panel.at(column, row) = color;
      }
    }
  }
}

/// The cells as cubes, those behind first.
/// @param mirrored  axes that are seen from their other end
inline void draw_cells(Picture& panel, std::vector<ColoredCell> cells, int grid,
                       std::array<bool, 3> const& mirrored)
{
  for (auto& one : cells) {
    for (int i = 0; i < 3; ++i) {
      if (mirrored[static_cast<std::size_t>(i)]) { one.cell[i] = grid - 1 - one.cell[i]; }
    }
  }
  auto const nearness = [](ColoredCell const& one) { return one.cell[0] + one.cell[1] + one.cell[2]; };
  std::stable_sort(cells.begin(), cells.end(),
                   [&](auto const& a, auto const& b) { return nearness(a) < nearness(b); });
  View const view{grid, panel.width()};
  for (auto const& one : cells) {
    double const x = one.cell[0];
    double const y = one.cell[1];
    double const z = one.cell[2];
    double const depth = 0.6 + 0.4 * nearness(one) / (3.0 * grid);
    auto const shade = [&](double light) {
      Color result = one.color;
      for (auto& part : result) { part = static_cast<std::uint8_t>(depth * light * part); }
      return result;
    };
    fill_face(panel, view(x, y, z + 1), view(x + 1, y, z + 1), view(x, y + 1, z + 1), shade(1));
    fill_face(panel, view(x + 1, y, z), view(x + 1, y + 1, z), view(x + 1, y, z + 1), shade(0.82));
    fill_face(panel, view(x, y + 1, z), view(x + 1, y + 1, z), view(x, y + 1, z + 1), shade(0.64));
  }
}

/// Axes along which the first column has its cells at the far end: what is missing would be behind them.
[[nodiscard]] inline std::array<bool, 3> axes_to_mirror(PictureRow const& row)
{
  std::array<bool, 3> mirrored{};
  auto const mean = [](std::vector<ColoredCell> const& cells, int axis) {
    double sum = 0;
    for (auto const& one : cells) { sum += one.cell[axis]; }
    return cells.empty() ? 0 : sum / static_cast<double>(cells.size());
  };
  for (int i = 0; i < 3; ++i) {
    mirrored[static_cast<std::size_t>(i)] = mean(row.columns[0], i) > mean(row.columns[2], i);
  }
  return mirrored;
}

/// A row for each shape, under titles and over the legend.
[[nodiscard]] inline Picture draw_rows(std::vector<PictureRow> const& rows, int grid)
{
  constexpr int side = 380;
  constexpr int letters = 2;
  constexpr int caption = 34;
  constexpr int head = 44;
  constexpr std::array<char const*, 3> titles{"partial", "completed", "truth"};
  int const height = head + static_cast<int>(rows.size()) * (side + caption);
  Picture picture{3 * side, height + 50};
  for (int column = 0; column < 3; ++column) {
    picture.text(column * side + 20, 16, titles[static_cast<std::size_t>(column)], letters, program::ink);
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    int const top = head + static_cast<int>(i) * (side + caption);
    auto const mirrored = axes_to_mirror(rows[i]);
    for (std::size_t column = 0; column < 3; ++column) {
      Picture panel{side, side};
      draw_cells(panel, rows[i].columns[column], grid, mirrored);
      picture.paste(static_cast<int>(column) * side, top, panel);
      picture.text(static_cast<int>(column) * side + 20, top + side + 6, rows[i].captions[column], letters,
                   program::faint);
    }
  }
  int x = 20;
  auto const entry = [&](char const* text, Color const& color) {
    picture.rectangle(x, height + 14, 20, 20, color);
    picture.text(x + 30, height + 17, text, letters, program::ink);
    x += 60 + Picture::text_width(text, letters);
  };
  entry("given", given);
  entry("added", added);
  entry("added wrongly", wrong);
  entry("truth", true_color);
  return picture;
}

}  // namespace complete_shape
