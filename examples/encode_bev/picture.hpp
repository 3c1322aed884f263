// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

namespace encode_bev {

struct Picture {
  int width = 1;
  int height = 1;
  std::vector<std::uint8_t> rgb;  // [height, width, 3]
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

/// Black for 0 (and what is no number), then from blue over green to yellow; the brightest half percent of
/// the cells that are not 0 is all yellow. The first row of the map is at the bottom, so that y points up.
[[nodiscard]] inline Picture draw_norm(std::vector<float> const& norm, int height, int width)
{
  constexpr std::array<std::array<double, 3>, 5> stops{
      {{68, 1, 84}, {59, 82, 139}, {33, 145, 140}, {94, 201, 98}, {253, 231, 37}}};
  std::vector<float> used;
  for (float const value : norm) {
    if (value > 0 && std::isfinite(value)) { used.push_back(value); }
  }
  std::sort(used.begin(), used.end());
  double const brightest = used.empty() ? 1 : used[used.size() - 1 - used.size() / 200];
  Picture picture{width, height, std::vector<std::uint8_t>(3 * norm.size())};
  for (int row = 0; row < height; ++row) {
    for (int column = 0; column < width; ++column) {
      auto const from =
          static_cast<std::size_t>(row) * static_cast<std::size_t>(width) + static_cast<std::size_t>(column);
      auto const to = static_cast<std::size_t>(height - 1 - row) * static_cast<std::size_t>(width) +
                      static_cast<std::size_t>(column);
      if (!(norm[from] > 0)) { continue; }
      double const level = 4 * std::min(1.0, norm[from] / brightest);
      auto const stop = std::min<std::size_t>(3, static_cast<std::size_t>(level));
      double const part = level - static_cast<double>(stop);
      for (std::size_t c = 0; c < 3; ++c) {
        double const value = (1 - part) * stops[stop][c] + part * stops[stop + 1][c];
        picture.rgb[3 * to + c] = static_cast<std::uint8_t>(value);
      }
    }
  }
  return picture;
}

}  // namespace encode_bev
