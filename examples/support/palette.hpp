// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "picture.hpp"

#include <tessera/data/lidar_simulator.hpp>
#include <tessera/io/semantic_kitti.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace program {

struct ClassStyle {
  std::string name;
  Color color;
};

/// Names and colours of the classes: SemanticKITTI's for its 19, plain numbers for any other number.
/// Source: semantic-kitti.yaml of the SemanticKITTI API.
[[nodiscard]] inline std::vector<ClassStyle> class_styles(int num_classes)
{
  std::vector<ClassStyle> styles;
  if (num_classes == tessera::SemanticKitti::num_classes()) {
    constexpr Color colors[] = {{100, 150, 245}, {100, 230, 245}, {30, 60, 150},  {80, 30, 180},
                                {0, 0, 255},     {255, 30, 30},   {255, 40, 200}, {150, 30, 90},
                                {255, 0, 255},   {255, 150, 255}, {75, 0, 75},    {175, 0, 75},
                                {255, 200, 0},   {255, 120, 50},  {0, 175, 0},    {135, 60, 0},
                                {150, 240, 80},  {255, 240, 150}, {255, 0, 0}};
    for (int i = 0; i < num_classes; ++i) {
      styles.push_back({tessera::semantic_kitti_classes[static_cast<std::size_t>(i)].name, colors[i]});
    }
    return styles;
  }
  for (int i = 0; i < num_classes; ++i) {
    // hues a golden angle apart, so that neighbours differ however many there are
    double const hue = std::fmod(0.618033988749895 * i, 1.0) * 6;
    auto const channel = [&](double shift) {
      double const distance = std::fabs(std::fmod(hue + shift, 6.0) - 3) - 1;
      return static_cast<std::uint8_t>(80 + 175 * std::fmin(1.0, std::fmax(0.0, distance)));
    };
    styles.push_back({"class " + std::to_string(i), {channel(0), channel(4), channel(2)}});
  }
  return styles;
}

/// Those of the built-in scene.
[[nodiscard]] inline std::vector<ClassStyle> scene_styles()
{
  constexpr Color colors[tessera::num_scene_classes] = {
      {112, 112, 124}, {100, 150, 245}, {255, 200, 0}, {255, 90, 60}, {0, 175, 0}};
  std::vector<ClassStyle> styles;
  for (int i = 0; i < tessera::num_scene_classes; ++i) {
    styles.push_back({name_of(static_cast<tessera::SceneClass>(i)), colors[i]});
  }
  return styles;
}

/// Of points that are in no voxel, and of those whose class is not known.
inline constexpr Color no_class{90, 90, 90};

}  // namespace program
