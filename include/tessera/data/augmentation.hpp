// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/core/execution.hpp>
#include <tessera/data/detail/random.hpp>
#include <tessera/data/detail/select_points.hpp>
#include <tessera/data/labelled_points.hpp>

#include <cmath>
#include <cstdint>

namespace tessera {
inline namespace v0 {

/// How augment_points() changes a cloud: by default not at all. Angles are in radians, lengths in the unit of
/// the positions; what is drawn is drawn once for a cloud, but noise and loss for each point.
struct AugmentOptions {
  double rotation = 0;        ///< about z, by an angle in [-rotation, rotation)
  double smallest_scale = 1;  ///< of all three coordinates,
  double largest_scale = 1;   ///< by a factor in [smallest_scale, largest_scale)
  double flip_x = 0;          ///< probability that x is negated
  double flip_y = 0;          ///< probability that y is
  double jitter = 0;          ///< standard deviation of the noise on each coordinate; at most 3.5 times that
  double drop = 0;            ///< probability that a point is lost

  /// What networks for spinning scanners are usually trained with: any rotation, 5 % of scale, both flips.
  /// Source: SPVNAS and mmdetection3d for SemanticKITTI.
  [[nodiscard]] static AugmentOptions lidar()
  {
    AugmentOptions options;
    options.rotation = 3.141592653589793;
    options.smallest_scale = 0.95;
    options.largest_scale = 1.05;
    options.flip_x = 0.5;
    options.flip_y = 0.5;
    return options;
  }

  /// Throws invalid_argument, begun with `who`, unless every number is valid.
  void check(char const* who) const
  {
    auto const within = [&](char const* name, double value, double low, double high) {
      detail::expects(value >= low && value <= high, who, ": ", name, " is ", value, "; it must lie in [",
                      low, ", ", high, "]");  // written so that NaN fails too
    };
    within("rotation", rotation, 0, 6.3);
    within("smallest_scale", smallest_scale, 1e-6, 1e6);
    within("largest_scale", largest_scale, smallest_scale, 1e6);
    within("flip_x", flip_x, 0, 1);
    within("flip_y", flip_y, 0, 1);
    within("jitter", jitter, 0, 1e6);
    within("drop", drop, 0, 1);
  }
};

namespace detail {

/// Which point is lost is decided by its number alone.
struct KeepUndropped {
  std::uint64_t seed;
  std::uint64_t threshold;  // of 2^53: below it a point is lost

  [[nodiscard]] TESSERA_HOST_DEVICE bool operator()(float const*, std::int64_t i, bool) const
  {
    return (random_of(seed, i) >> 11) >= threshold;
  }
};

/// What is drawn for a cloud. On the host, for both spaces: sines differ between them.
[[nodiscard]] inline PointTransform draw_transform(AugmentOptions const& options, std::uint64_t seed)
{
  Random random{seed, 1};
  auto const angle = options.rotation * random.uniform(-1, 1);
  auto const scale = random.uniform(options.smallest_scale, options.largest_scale);
  auto const x = random.chance(options.flip_x) ? -scale : scale;
  auto const y = random.chance(options.flip_y) ? -scale : scale;
  bool const turns = options.rotation != 0;
  auto const cosine = turns ? std::cos(angle) : 1.0;
  auto const sine = turns ? std::sin(angle) : 0.0;
  PointTransform result;
  result.xx = static_cast<float>(cosine * x);
  result.xy = static_cast<float>(-sine * y);
  result.yx = static_cast<float>(sine * x);
  result.yy = static_cast<float>(cosine * y);
  result.zz = static_cast<float>(scale);
  result.noise = static_cast<float>(options.jitter * 1.7320508075688772 / 65536.0);
  result.noise_seed = seed_for(seed, 2);
  return result;
}

template <class Space>
[[nodiscard]] LabelledPoints<Space> augment(PointSource const& from, int channels,
                                            AugmentOptions const& options, std::uint64_t seed,
                                            Execution<Space> const& exec)
{
  char const* const who = "augment_points";
  options.check(who);
  PointSources const sources{from, {}};
  bool const has_labels = from.labels != nullptr;
  auto const transform = draw_transform(options, seed);
  if (options.drop == 0) {
    return select_points(sources, channels, has_labels, KeepAllPoints{}, transform, exec, who);
  }
  KeepUndropped const keep{seed_for(seed, 3), static_cast<std::uint64_t>(options.drop * 0x1p53)};
  return select_points(sources, channels, has_labels, keep, transform, exec, who);
}

}  // namespace detail

/// A cloud turned about z, scaled, mirrored, with noise on its positions and without some of its points, as
/// `options` says: `position' = scale * rotation(flip(position)) + noise`. Features and labels follow their
/// points, which keep their order.
///
/// What happens is a function of (options, seed), and for each point of its number. Host and device give the
/// same bits.
/// @throws invalid_argument  an option is out of range, the arrays do not fit together, or there are 2^31 - 1
///                           points or more
/// Cost: one pass over the points; a second one and a scan where points are dropped.
/// Stream: enqueues; waits once for the number of points where points are dropped.
/// Determinism: same cloud, options and seed, same bits.
template <class Space>
[[nodiscard]] LabelledPoints<Space> augment_points(LabelledPoints<Space> const& points,
                                                   AugmentOptions const& options, std::uint64_t seed,
                                                   Execution<Space> const& exec)
{
  points.check("augment_points");
  return detail::augment(detail::source_of(points), points.channels(), options, seed, exec);
}

/// The same of a cloud in host memory, whose names of features and origin stay; on the calling thread unless an
/// execution is given.
[[nodiscard]] inline PointCloud augment_points(PointCloud const& cloud, AugmentOptions const& options,
                                               std::uint64_t seed,
                                               Execution<Host> const& exec = Execution<Host>{1})
{
  cloud.check("augment_points");
  auto const points = detail::augment(detail::source_of(cloud), cloud.channels, options, seed, exec);
  return detail::cloud_of(points, cloud, exec);
}

}  // namespace v0
}  // namespace tessera
