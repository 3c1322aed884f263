// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/core/scalar.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {

/// Points as a scanner or a file gives them, in host memory; every array is row-major.
///
/// | name          | shape                  | holds                                     |
/// |---------------|------------------------|-------------------------------------------|
/// | positions     | [size(), 3]            | x, y, z in metres, from the origin        |
/// | features      | [size(), channels]     | what else was measured, e.g. intensity    |
/// | feature_names | [channels], or empty   | e.g. {"intensity", "ring"}                |
/// | labels        | [size()], or empty     | the class of each point                   |
/// | origin        | [3]                    | where the positions are measured from     |
///
/// Positions and features are kept unchanged: they may be NaN or infinite.
///
/// A float cannot hold the coordinates of a map: at 4,841,948.3 m its neighbours are 0.5 m apart. So the
/// actual point is `origin + position`, added in double. Readers return an origin other than zero in
/// two cases.
/// - It was given to them: then it is subtracted, and nothing is checked.
/// - The file has doubles or integers of 32 or 64 bits, and rounding them to float would move a coordinate by
///   more than 2^-10 m, about a millimetre; below 2^15 m it never does. Then the origin of that axis is the
///   median of its coordinates, rounded down to a whole number; the other axes keep zero. Where a coordinate
///   is too far from it for a float, the file is refused, and an origin must be given. NaN, infinities and
///   what is beyond the largest float are not counted.
///
/// The positions of a file of floats are those floats. Two clouds fit together only about one origin:
/// move_origin() and append_points(). bounds() and voxels are about the cloud's origin too.
struct PointCloud {
  std::vector<float> positions;
  std::vector<float> features;
  int channels = 0;
  std::vector<std::string> feature_names;
  std::vector<std::int32_t> labels;
  std::array<double, 3> origin{};

  /// Number of points.
  [[nodiscard]] std::int64_t size() const noexcept { return static_cast<std::int64_t>(positions.size() / 3); }

  [[nodiscard]] bool empty() const noexcept { return positions.empty(); }
  [[nodiscard]] bool has_labels() const noexcept { return !labels.empty(); }
  [[nodiscard]] bool has_origin() const noexcept { return origin != std::array<double, 3>{}; }

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
  detail::expects(
      detail::is_finite(origin[0]) && detail::is_finite(origin[1]) && detail::is_finite(origin[2]), who,
      ": a point cloud with an origin that is not finite");
}

/// Measures the positions of `cloud` from `origin`: position + old origin - origin, in double, rounded to
/// float.
///
/// @throws invalid_argument  the cloud's arrays do not fit together, an origin is not finite, or rounding
/// would move a finite position by more than 2^-10 m; the cloud is unchanged
///
/// Cost: two passes over the positions.
inline void move_origin(PointCloud& cloud, std::array<double, 3> const& origin)
{
  cloud.check("move_origin");
  PointCloud const target{{}, {}, 0, {}, {}, origin};
  target.check("move_origin");
  auto const moved = [&](std::size_t i) {
    return static_cast<double>(cloud.positions[i]) + (cloud.origin[i % 3] - origin[i % 3]);
  };
  for (std::size_t i = 0; i < cloud.positions.size() && cloud.origin != origin; ++i) {
    double const exact = moved(i);
    bool const near = std::fabs(exact) < 0x1p100;  // what is not would overflow
    bool const held = near && std::fabs(exact - static_cast<double>(static_cast<float>(exact))) <= 0x1p-10;
    detail::expects(held || !detail::is_finite(exact), "move_origin: point ", i / 3, " is ", exact,
                    " m from the new origin on axis ", i % 3,
                    ", too far for a float to hold it to a millimetre");
  }
  for (std::size_t i = 0; i < cloud.positions.size() && cloud.origin != origin; ++i) {
    cloud.positions[i] = static_cast<float>(moved(i));
  }
  cloud.origin = origin;
}

/// Appends the points of `from` to `cloud`, measured from the origin of `cloud`. A cloud without points and
/// channels takes all of `from`, its origin too.
///
/// @throws invalid_argument  the arrays of either do not fit together; they differ in channels or names, or
/// only one of them has labels; or a point of `from` is too far from the origin of `cloud`, as for
/// move_origin(). `cloud` is unchanged
///
/// Cost: one copy of `from`.
inline void append_points(PointCloud& cloud, PointCloud from)
{
  cloud.check("append_points");
  from.check("append_points");
  if (cloud.empty() && cloud.channels == 0) {
    cloud = std::move(from);
    return;
  }
  detail::expects(cloud.channels == from.channels && cloud.feature_names == from.feature_names,
                  "append_points: ", from.channels, " channels ", detail::list(from.feature_names), " to ",
                  cloud.channels, " channels ", detail::list(cloud.feature_names));
  detail::expects(cloud.empty() || from.empty() || cloud.has_labels() == from.has_labels(),
                  "append_points: only one of the clouds has labels");
  move_origin(from, cloud.origin);
  auto const make_room = [](auto& values, std::size_t more) {  // all of it first: the rest cannot fail
    auto const needed = values.size() + more;
    if (needed > values.capacity()) { values.reserve(std::max(needed, 2 * values.capacity())); }
  };
  make_room(cloud.positions, from.positions.size());
  make_room(cloud.features, from.features.size());
  make_room(cloud.labels, from.labels.size());
  cloud.positions.insert(cloud.positions.end(), from.positions.begin(), from.positions.end());
  cloud.features.insert(cloud.features.end(), from.features.begin(), from.features.end());
  cloud.labels.insert(cloud.labels.end(), from.labels.begin(), from.labels.end());
}

/// Gives a cloud without channels one, "ones", which is 1 for every point; a cloud with channels stays as it
/// is.
///
/// A file of x, y, z alone has no features, and a network needs some: networks on occupancy are trained with
/// ones.
/// @throws invalid_argument  the cloud's arrays do not fit together
/// Cost: one value per point.
inline void ensure_features(PointCloud& cloud)
{
  cloud.check("ensure_features");
  if (cloud.channels > 0) { return; }
  cloud.feature_names = {"ones"};
  cloud.features.assign(static_cast<std::size_t>(cloud.size()), 1.0F);
  cloud.channels = 1;
}

/// The smallest box, in metres from the origin of the cloud, around some points: min[a] <= p[a] <= max[a] on
/// every axis a.
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
