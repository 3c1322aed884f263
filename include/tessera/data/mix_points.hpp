// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/core/execution.hpp>
#include <tessera/data/detail/random.hpp>
#include <tessera/data/detail/select_points.hpp>
#include <tessera/data/labelled_points.hpp>
#include <tessera/points/point_cloud.hpp>

#include <cmath>
#include <cstdint>
#include <utility>

namespace tessera {
inline namespace v0 {

/// How mix_points() makes one cloud of two.
enum class PointMix : std::uint8_t {
  together,  ///< all points of both. Source: Mix3D (Nekrasov et al., 3DV 2021)
  sector,    ///< those of the second within a sector seen from the origin, those of the first elsewhere.
             ///< Source: PolarMix (Xiao et al., NeurIPS 2022), its exchange of scenes
  bands      ///< by bands of elevation in turn. Source: LaserMix (Kong et al., CVPR 2023)
};

struct MixOptions {
  PointMix mix = PointMix::sector;
  double smallest_sector = 0.8;  ///< radians; the sector's width is drawn between the two, at most pi
  double largest_sector = 3.1;
  int bands = 6;           ///< 2 to 16, equally high in angle
  double lowest = -0.436;  ///< radians; elevation where the lowest band ends, about -25 degrees
  double highest = 0.052;  ///< where the highest one begins, about 3 degrees

  /// Throws invalid_argument, begun with `who`, unless every number is valid.
  void check(char const* who) const
  {
    detail::expects(smallest_sector >= 0 && largest_sector >= smallest_sector && largest_sector <= 3.1415926,
                    who, ": sectors of ", smallest_sector, " to ", largest_sector,
                    " radians; they must lie in [0, pi]");
    detail::expects(bands >= 2 && bands <= 16, who, ": ", bands, " bands; 2 to 16 are possible");
    detail::expects(lowest > -1.57 && highest < 1.57 && lowest < highest, who, ": bands from ", lowest,
                    " to ", highest, " radians");
  }
};

namespace detail {

/// Between two directions, the second less than half a turn on. Signs of differences of exact products: the
/// same on every machine.
struct KeepBySector {
  float from[2];
  float to[2];

  [[nodiscard]] TESSERA_HOST_DEVICE bool operator()(float const* position, std::int64_t, bool is_second) const
  {
    double const x = position[0];
    double const y = position[1];
    bool const inside = from[0] * y - from[1] * x >= 0 && to[0] * y - to[1] * x < 0;
    return inside == is_second;
  }
};

/// Bands of elevation, of which every other one is the second cloud's. The square root is rounded correctly in
/// both spaces.
struct KeepByBands {
  static constexpr int most = 16;

  float tangents[most];  // where bands end, ascending; the highest has no end
  int bands;
  int second;  // 0 or 1: the parity of the bands of the second cloud

  [[nodiscard]] TESSERA_HOST_DEVICE bool operator()(float const* position, std::int64_t, bool is_second) const
  {
    using std::sqrt;
    double const x = position[0];
    double const y = position[1];
    double const distance = sqrt(x * x + y * y);
    int band = 0;
    while (band < bands - 1 && position[2] >= tangents[band] * distance) { ++band; }
    return (band % 2 == second) == is_second;
  }
};

template <class Space>
[[nodiscard]] LabelledPoints<Space> mix(PointSources const& sources, int channels, MixOptions const& options,
                                        std::uint64_t seed, Execution<Space> const& exec)
{
  char const* const who = "mix_points";
  options.check(who);
  bool const has_labels = sources.first.labels != nullptr || sources.second.labels != nullptr;
  Random random{seed, 4};
  auto const select = [&](auto const& keep) {
    return select_points(sources, channels, has_labels, keep, PointTransform{}, exec, who);
  };
  if (options.mix == PointMix::together) { return select(KeepAllPoints{}); }
  if (options.mix == PointMix::sector) {
    auto const begin = random.uniform(-3.141592653589793, 3.141592653589793);
    auto const end = begin + random.uniform(options.smallest_sector, options.largest_sector);
    return select(KeepBySector{{static_cast<float>(std::cos(begin)), static_cast<float>(std::sin(begin))},
                               {static_cast<float>(std::cos(end)), static_cast<float>(std::sin(end))}});
  }
  KeepByBands keep{};
  keep.bands = options.bands;
  keep.second = random.chance(0.5) ? 1 : 0;
  for (int band = 0; band < options.bands - 1; ++band) {
    auto const share = options.bands > 2 ? static_cast<double>(band) / (options.bands - 2) : 0.5;
    keep.tangents[band] =
        static_cast<float>(std::tan(options.lowest + (options.highest - options.lowest) * share));
  }
  return select(keep);
}

inline void expect_alike(std::int64_t first_rows, std::int64_t second_rows, int first_channels,
                         int second_channels, bool first_labels, bool second_labels)
{
  expects(first_channels == second_channels || first_rows == 0 || second_rows == 0, "mix_points: a cloud of ",
          first_channels, " channels and one of ", second_channels);
  expects(first_labels == second_labels || first_rows == 0 || second_rows == 0,
          "mix_points: only one of the clouds has labels");
}

}  // namespace detail

/// One cloud of two, for training: points of `first`, then those of `second`, each where `options` says, with
/// their features and labels. Augment them before, each with a seed of its own.
///
/// What is drawn, the sector or which bands, is a function of (options, seed). Host and device give the same
/// bits.
/// @throws invalid_argument  an option is out of range; the clouds differ in channels, or only one has labels;
///                           there are 2^31 - 1 points or more
/// Cost: two passes over the points and a scan.
/// Stream: enqueues; waits once for the number of points, but for PointMix::together.
/// Determinism: same clouds, options and seed, same bits.
template <class Space>
[[nodiscard]] LabelledPoints<Space> mix_points(LabelledPoints<Space> const& first,
                                               LabelledPoints<Space> const& second, MixOptions const& options,
                                               std::uint64_t seed, Execution<Space> const& exec)
{
  first.check("mix_points");
  second.check("mix_points");
  detail::expect_alike(first.size(), second.size(), first.channels(), second.channels(), first.has_labels(),
                       second.has_labels());
  auto const channels = first.size() > 0 ? first.channels() : second.channels();
  return detail::mix(detail::PointSources{detail::source_of(first), detail::source_of(second)}, channels,
                     options, seed, exec);
}

/// The same of clouds in host memory; the result has the names and the origin of `first`, about which `second`
/// is measured anew (move_origin()).
[[nodiscard]] inline PointCloud mix_points(PointCloud const& first, PointCloud second,
                                           MixOptions const& options, std::uint64_t seed,
                                           Execution<Host> const& exec = Execution<Host>{1})
{
  first.check("mix_points");
  second.check("mix_points");
  detail::expect_alike(first.size(), second.size(), first.channels, second.channels, first.has_labels(),
                       second.has_labels());
  move_origin(second, first.origin);
  auto const& like = first.empty() ? second : first;
  auto const points = detail::mix(detail::PointSources{detail::source_of(first), detail::source_of(second)},
                                  like.channels, options, seed, exec);
  return detail::cloud_of(points, like, exec);
}

}  // namespace v0
}  // namespace tessera
