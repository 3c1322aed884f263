// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Clouds like those of liquid-argon detectors: thin tracks in a large cube.

#include "workloads.hpp"

#include <array>
#include <cmath>
#include <cstdint>
#include <random>
#include <set>
#include <string>

namespace bench {

/// Thin tracks in 768^3, one feature: an event of 4,690 voxels, or 16 of 56,700 together, the sizes of the events
/// of PILArNet-M that published training benchmarks use. A track is a walk of unit steps that turns a little at
/// each, from a point that tracks of an event share; now and then it is two voxels thick.
[[nodiscard]] inline Voxels thin_tracks(int events)
{
  constexpr int extent = 768;
  std::int64_t const wanted = events == 1 ? 4690 : std::int64_t{events} * 56700 / 16;
  std::mt19937 random{768};
  auto const uniform = [&](double lowest, double highest) {
    return lowest + (highest - lowest) * static_cast<double>(random()) / 4294967296.0;
  };
  Voxels voxels;
  voxels.name = "thin tracks x" + std::to_string(events);
  voxels.grid = ts::IntArray<3>(extent);
  voxels.channels = 1;
  for (int event = 0; event < events; ++event) {
    auto const most = wanted * (event + 1) / events - wanted * event / events;
    std::set<std::array<int, 3>> cells;
    std::array<double, 3> vertex{};
    for (auto& x : vertex) { x = uniform(150, 618); }
    while (static_cast<std::int64_t>(cells.size()) < most) {
      auto at = vertex;
      std::array<double, 3> step{};
      for (auto& x : step) { x = uniform(-1, 1); }
      auto const length = static_cast<int>(uniform(60, 500));
      for (int i = 0; i < length && static_cast<std::int64_t>(cells.size()) < most; ++i) {
        double square = 1e-9;
        for (auto& x : step) {
          x += uniform(-0.03, 0.03);
          square += x * x;
        }
        std::array<int, 3> cell{};
        bool inside = true;
        for (std::size_t k = 0; k < 3; ++k) {
          step[k] /= std::sqrt(square);
          at[k] += step[k];
          cell[k] = static_cast<int>(at[k]);
          inside = inside && cell[k] >= 0 && cell[k] + 1 < extent;
        }
        if (!inside) { break; }
        cells.insert(cell);
        if (random() % 8 == 0 && static_cast<std::int64_t>(cells.size()) < most) {
          ++cell[random() % 3];
          cells.insert(cell);
        }
      }
    }
    for (auto const& cell : cells) {
      voxels.rows.push_back({event, {cell[0], cell[1], cell[2]}});
      voxels.features.push_back(static_cast<float>(uniform(0, 2)));
    }
  }
  return voxels;
}

}  // namespace bench
