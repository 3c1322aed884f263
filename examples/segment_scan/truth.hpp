// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/palette.hpp"

#include <tessera/data/lidar_simulator.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace segment_scan {

using program::ClassStyle;
using program::scene_styles;

/// What the points really are, and how the network's classes compare to that.
struct Truth {
  std::vector<std::int32_t> const* labels = nullptr;  // [num_points]; outside of `styles`: not known
  std::vector<ClassStyle> styles;
  std::vector<int> of_class;  // [num_classes] the true class that a class of the network is; -1: none
  bool same_classes = false;  // the network's classes are these
};

/// SemanticKITTI's 19 classes as classes of the built-in scene; -1 for what does not exist there.
[[nodiscard]] inline std::vector<int> scene_classes_of_kitti()
{
  using tessera::SceneClass;
  auto const car = static_cast<int>(SceneClass::car);
  auto const ground = static_cast<int>(SceneClass::ground);
  auto const building = static_cast<int>(SceneClass::building);
  auto const pole = static_cast<int>(SceneClass::pole);
  auto const vegetation = static_cast<int>(SceneClass::vegetation);
  // car, bicycle, motorcycle, truck, other-vehicle, person, bicyclist, motorcyclist, road, parking, sidewalk,
  // other-ground, building, fence, vegetation, trunk, terrain, pole, traffic-sign
  return {car,    -1,     -1,       car,      car,        -1,         -1,     -1,   ground, ground,
          ground, ground, building, building, vegetation, vegetation, ground, pole, pole};
}

/// The truth about the built-in scene, where the network's classes have counterparts in it.
[[nodiscard]] inline std::optional<Truth> truth_of_scene(std::vector<std::int32_t> const& labels,
                                                         int num_classes)
{
  if (num_classes == tessera::num_scene_classes) {
    return Truth{&labels, scene_styles(), {0, 1, 2, 3, 4}, true};
  }
  if (num_classes == 19) { return Truth{&labels, scene_styles(), scene_classes_of_kitti(), false}; }
  return std::nullopt;
}

/// The truth that a file holds, if its labels can be numbers of the network's classes.
[[nodiscard]] inline std::optional<Truth> truth_of_file(std::vector<std::int32_t> const& labels,
                                                        std::vector<ClassStyle> const& styles)
{
  constexpr std::int32_t ignored = 255;  // SPVNAS's and mmdetection3d's label of what is not known
  auto const num_classes = static_cast<std::int32_t>(styles.size());
  bool const fits = std::all_of(labels.begin(), labels.end(), [&](std::int32_t label) {
    return (label >= -1 && label < num_classes) || label == ignored;
  });
  if (labels.empty() || !fits) { return std::nullopt; }
  Truth truth{&labels, styles, {}, true};
  for (int c = 0; c < num_classes; ++c) { truth.of_class.push_back(c); }
  return truth;
}

/// How labels compare with the truth.
struct Agreement {
  std::vector<std::optional<double>> iou;  // of each true class; none for one that nothing is or is taken for
  double mean_iou = 0;                     // of those that are
  int num_classes = 0;
  double right = 0;             // part of the points
  std::int64_t num_points = 0;  // whose class is known
};

/// IoU of class c: points that are c and are labelled c, by points that are or are labelled c.
[[nodiscard]] inline Agreement compare(Truth const& truth, std::vector<std::int32_t> const& labels)
{
  auto const num_classes = truth.styles.size();
  std::vector<std::int64_t> both(num_classes);
  std::vector<std::int64_t> either(num_classes);
  Agreement result;
  std::int64_t right = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    auto const real = (*truth.labels)[i];
    if (real < 0 || static_cast<std::size_t>(real) >= num_classes) { continue; }
    ++result.num_points;
    int const given = labels[i] < 0 ? -1 : truth.of_class[static_cast<std::size_t>(labels[i])];
    ++either[static_cast<std::size_t>(real)];
    if (given == real) {
      ++both[static_cast<std::size_t>(real)];
      ++right;
    } else if (given >= 0) {
      ++either[static_cast<std::size_t>(given)];
    }
  }
  for (std::size_t c = 0; c < num_classes; ++c) {
    result.iou.emplace_back();
    if (either[c] == 0) { continue; }
    result.iou.back() = static_cast<double>(both[c]) / static_cast<double>(either[c]);
    result.mean_iou += *result.iou.back();
    ++result.num_classes;
  }
  if (result.num_classes > 0) { result.mean_iou /= result.num_classes; }
  if (result.num_points > 0) {
    result.right = static_cast<double>(right) / static_cast<double>(result.num_points);
  }
  return result;
}

}  // namespace segment_scan
