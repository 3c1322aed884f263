// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/core/scalar.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace tessera {
inline namespace v0 {

/// Points as a scanner or a file gives them, in host memory; every array is row-major.
///
/// | name          | shape                  | holds                                     |
/// |---------------|------------------------|-------------------------------------------|
/// | positions     | [size(), 3]            | x, y, z in metres                         |
/// | features      | [size(), channels]     | what else was measured, e.g. intensity    |
/// | feature_names | [channels], or empty   | e.g. {"intensity", "ring"}                |
/// | labels        | [size()], or empty     | the class of each point                   |
///
/// Positions and features are kept as they were measured: they may be NaN or infinite.
struct PointCloud {
  std::vector<float> positions;
  std::vector<float> features;
  int channels = 0;
  std::vector<std::string> feature_names;
  std::vector<std::int32_t> labels;

  /// Number of points.
  [[nodiscard]] std::int64_t size() const noexcept { return static_cast<std::int64_t>(positions.size() / 3); }

  [[nodiscard]] bool empty() const noexcept { return positions.empty(); }
  [[nodiscard]] bool has_labels() const noexcept { return !labels.empty(); }

  /// Throws invalid_argument, begun with `who`, unless all arrays have the shapes of the table above.
  void check(std::string const& who) const;
};

inline void PointCloud::check(std::string const& who) const
{
  auto const points = positions.size() / 3;
  detail::expects(positions.size() % 3 == 0, who, ": a point cloud with ", positions.size(),
                  " position values; a multiple of 3 is needed");
  detail::expects(channels >= 0, who, ": a point cloud with ", channels, " channels");
  detail::expects(features.size() == points * static_cast<std::size_t>(channels), who, ": a point cloud of ",
                  points, " points and ", channels, " channels with ", features.size(), " feature values");
  detail::expects(feature_names.empty() || feature_names.size() == static_cast<std::size_t>(channels), who,
                  ": a point cloud of ", channels, " channels with ", feature_names.size(), " feature names");
  detail::expects(labels.empty() || labels.size() == points, who, ": a point cloud of ", points,
                  " points with ", labels.size(), " labels");
}

/// The smallest box, in metres, around some points: min[a] <= p[a] <= max[a] on every axis a.
struct PointBounds {
  std::array<float, 3> min{};
  std::array<float, 3> max{};
  std::int64_t num_points = 0;  ///< how many points were counted; with 0 the box is all zero
};

/// The box around all points of which all three coordinates are finite; the others are left out.
///
/// @throws invalid_argument  the cloud's arrays do not fit together
/// Cost: one pass.
[[nodiscard]] inline PointBounds bounds(PointCloud const& cloud)
{
  cloud.check("bounds");
  PointBounds box;
  for (std::size_t i = 0; i + 2 < cloud.positions.size(); i += 3) {
    float const* const p = cloud.positions.data() + i;
    if (!detail::is_finite(p[0]) || !detail::is_finite(p[1]) || !detail::is_finite(p[2])) { continue; }
    for (std::size_t axis = 0; axis < 3; ++axis) {
      if (box.num_points == 0 || p[axis] < box.min[axis]) { box.min[axis] = p[axis]; }
      if (box.num_points == 0 || p[axis] > box.max[axis]) { box.max[axis] = p[axis]; }
    }
    ++box.num_points;
  }
  return box;
}

}  // namespace v0
}  // namespace tessera
