// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "font.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace program {

using Color = std::array<std::uint8_t, 3>;  // red, green, blue

inline constexpr Color paper{22, 24, 29};
inline constexpr Color ink{235, 235, 235};
inline constexpr Color faint{130, 134, 142};

/// A picture to draw in: rows from the top, columns from the left. What is drawn outside of it is cut off.
class Picture {
 public:
  Picture(int width, int height, Color const& background = paper)
      : width_{width},
        height_{height},
        pixels_(static_cast<std::size_t>(width) * static_cast<std::size_t>(height), background)
  {}

  [[nodiscard]] int width() const noexcept { return width_; }
  [[nodiscard]] int height() const noexcept { return height_; }
  /// [height, width]
  [[nodiscard]] std::vector<Color> const& pixels() const noexcept { return pixels_; }
  [[nodiscard]] bool contains(int x, int y) const noexcept
  {
    return x >= 0 && x < width_ && y >= 0 && y < height_;
  }
  [[nodiscard]] Color& at(int x, int y) { return pixels_[index(x, y)]; }
  [[nodiscard]] Color const& at(int x, int y) const { return pixels_[index(x, y)]; }

  void rectangle(int x, int y, int width, int height, Color const& color)
  {
    for (int row = std::max(0, y); row < std::min(height_, y + height); ++row) {
      for (int column = std::max(0, x); column < std::min(width_, x + width); ++column) {
        at(column, row) = color;
      }
    }
  }

  /// A ring of that radius, `thickness` pixels wide.
  void ring(double x, double y, double radius, double thickness, Color const& color)
  {
    for (int row = static_cast<int>(y - radius) - 2; row <= static_cast<int>(y + radius) + 2; ++row) {
      for (int column = static_cast<int>(x - radius) - 2; column <= static_cast<int>(x + radius) + 2;
           ++column) {
        bool const on = std::fabs(std::hypot(column - x, row - y) - radius) <= 0.5 * thickness;
        if (on && contains(column, row)) { at(column, row) = color; }
      }
    }
  }

  void line(double x0, double y0, double x1, double y1, int thickness, Color const& color)
  {
    int const steps = static_cast<int>(std::max(std::fabs(x1 - x0), std::fabs(y1 - y0))) + 1;
    for (int i = 0; i <= steps; ++i) {
      double const part = static_cast<double>(i) / steps;
      rectangle(static_cast<int>(std::lround(x0 + part * (x1 - x0))) - thickness / 2,
                static_cast<int>(std::lround(y0 + part * (y1 - y0))) - thickness / 2, thickness, thickness,
                color);
    }
  }

  /// An arrow from (x0, y0) to its tip (x1, y1).
  void arrow(double x0, double y0, double x1, double y1, int thickness, Color const& color)
  {
    double const length = std::hypot(x1 - x0, y1 - y0);
    double const head = 4.0 * thickness;
    double const u = (x1 - x0) / length;
    double const v = (y1 - y0) / length;
    line(x0, y0, x1, y1, thickness, color);
    line(x1, y1, x1 - head * (u + 0.6 * v), y1 - head * (v - 0.6 * u), thickness, color);
    line(x1, y1, x1 - head * (u - 0.6 * v), y1 - head * (v + 0.6 * u), thickness, color);
  }

  /// Text whose upper left corner is at (x, y), each pixel of a letter `scale` pixels large.
  void text(int x, int y, std::string_view text, int scale, Color const& color)
  {
    for (char const letter : text) {
      auto const& glyph = glyph_of(letter);
      for (int row = 0; row < Glyph::height; ++row) {
        for (int column = 0; column < Glyph::width; ++column) {
          if (glyph.at(row, column)) { rectangle(x + column * scale, y + row * scale, scale, scale, color); }
        }
      }
      x += (Glyph::width + 1) * scale;
    }
  }
  [[nodiscard]] static int text_width(std::string_view text, int scale) noexcept
  {
    return static_cast<int>(text.size()) * (Glyph::width + 1) * scale;
  }

  void paste(int x, int y, Picture const& other)
  {
    for (int row = 0; row < other.height(); ++row) {
      for (int column = 0; column < other.width(); ++column) {
        if (contains(x + column, y + row)) { at(x + column, y + row) = other.at(column, row); }
      }
    }
  }

 private:
  [[nodiscard]] std::size_t index(int x, int y) const
  {
    return static_cast<std::size_t>(y) * static_cast<std::size_t>(width_) + static_cast<std::size_t>(x);
  }

  int width_;
  int height_;
  std::vector<Color> pixels_;
};

/// The largest of 1, 2, 5, 10, 20, 50, ... (and 0.1, 0.2, ...) that is not above `most`.
[[nodiscard]] inline double round_number_below(double most)
{
  double const ten = std::pow(10.0, std::floor(std::log10(most) + 1e-9));
  for (double const factor : {5.0, 2.0}) {
    if (factor * ten <= most * (1 + 1e-9)) { return factor * ten; }
  }
  return ten;
}

/// A bar of a round number of metres, at most `longest` pixels, with its length beneath; (x, y) is its left
/// end.
inline void draw_scale_bar(Picture& picture, int x, int y, int longest, double pixels_per_metre, int scale)
{
  double const metres = round_number_below(longest / pixels_per_metre);
  int const length = static_cast<int>(std::lround(metres * pixels_per_metre));
  picture.rectangle(x, y, length, 2 * scale, ink);
  picture.rectangle(x, y - 2 * scale, scale, 6 * scale, ink);
  picture.rectangle(x + length - scale, y - 2 * scale, scale, 6 * scale, ink);
  char text[32];
  std::snprintf(text, sizeof(text), "%g m", metres);
  picture.text(x, y + 6 * scale, text, scale, ink);
}

/// The sensor: a ring and a dot.
inline void draw_sensor(Picture& picture, double x, double y, int scale)
{
  picture.ring(x, y, 5.0 * scale, 3.0 * scale, paper);
  picture.ring(x, y, 5.0 * scale, 1.5 * scale, ink);
  picture.ring(x, y, 0.5 * scale, 1.5 * scale, ink);
}

}  // namespace program
