// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/buffer.hpp>
#include <tessera/core/detail/random.hpp>
#include <tessera/core/detail/sort.hpp>
#include <tessera/core/parallel.hpp>
#include <tessera/data/labelled_points.hpp>

#include <climits>
#include <cstdint>
#include <type_traits>

namespace tessera {
inline namespace v0 {
namespace detail {

/// A number of the point `index` that depends on nothing else: not on the space, the order or the threads.
[[nodiscard]] TESSERA_HOST_DEVICE inline std::uint64_t random_of(std::uint64_t seed, std::int64_t index)
{
  std::uint64_t state = seed + static_cast<std::uint64_t>(index) * 0x9e3779b97f4a7c15ULL;
  return next_random(state);
}

/// A seed for each of the things that one seed is used for.
[[nodiscard]] inline std::uint64_t seed_for(std::uint64_t seed, std::uint64_t purpose) noexcept
{
  std::uint64_t state = seed;
  state = next_random(state) ^ purpose;
  return next_random(state);
}

/// Points in one space, not owned.
struct PointSource {
  float const* positions = nullptr;      // [rows, 3]
  float const* features = nullptr;       // [rows, channels]
  std::int32_t const* labels = nullptr;  // [rows], or null
  std::int64_t rows = 0;
};

/// One cloud, or a first and a second one, whose points are numbered on.
struct PointSources {
  PointSource first;
  PointSource second;

  [[nodiscard]] TESSERA_HOST_DEVICE std::int64_t rows() const { return first.rows + second.rows; }
  [[nodiscard]] TESSERA_HOST_DEVICE bool is_second(std::int64_t i) const { return i >= first.rows; }
  [[nodiscard]] TESSERA_HOST_DEVICE PointSource const& of(std::int64_t i) const
  {
    return is_second(i) ? second : first;
  }
  [[nodiscard]] TESSERA_HOST_DEVICE std::int64_t row(std::int64_t i) const
  {
    return is_second(i) ? i - first.rows : i;
  }
};

/// x' = xx x + xy y, y' = yx x + yy y, z' = zz z, then noise on each coordinate.
///
/// Computed in double from floats: their products are exact, so that the result has the same bits whether a
/// compiler fuses multiplications with additions or not.
struct PointTransform {
  float xx = 1;
  float xy = 0;
  float yx = 0;
  float yy = 1;
  float zz = 1;
  float noise = 0;  // times bell()
  std::uint64_t noise_seed = 0;

  /// The sum of four 16-bit numbers, less its mean: a bell around 0 of standard deviation 2^16 / sqrt(3).
  [[nodiscard]] TESSERA_HOST_DEVICE double bell(std::int64_t index) const
  {
    auto bits = random_of(noise_seed, index);
    std::int64_t sum = -2 * 65535;
    for (int i = 0; i < 4; ++i, bits >>= 16) { sum += static_cast<std::int64_t>(bits & 0xffff); }
    return static_cast<double>(sum);
  }

  TESSERA_HOST_DEVICE void apply(float const* from, std::int64_t index, float* to) const
  {
    double const x = from[0];
    double const y = from[1];
    // What is infinite stays so where the other coordinate has no part in it.
    double moved[3] = {xy == 0 ? xx * x : xx * x + xy * y, yx == 0 ? yy * y : yx * x + yy * y,
                       zz * static_cast<double>(from[2])};
    for (int axis = 0; axis < 3; ++axis) {
      if (noise != 0) { moved[axis] += noise * bell(3 * index + axis); }
      to[axis] = static_cast<float>(moved[axis]);
    }
  }
};

/// marks[i] = whether point i stays; one further 0 closes the array.
template <class Keep>
struct MarkPoints {
  PointSources from;
  Keep keep;
  std::int32_t* marks;  // [rows + 1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    marks[i] = i < from.rows() && keep(from.of(i).positions + 3 * from.row(i), i, from.is_second(i)) ? 1 : 0;
  }
};

/// Moves the points that stay to their places, with all that belongs to them.
struct MovePoints {
  PointSources from;
  PointTransform transform;
  int channels;
  std::int32_t const* place;  // [rows + 1], or null: all stay
  float* positions;           // [kept, 3]
  float* features;            // [kept, channels]
  std::int32_t* labels;       // [kept], or null

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    if (place != nullptr && place[i + 1] == place[i]) { return; }
    std::int64_t const to = place != nullptr ? place[i] : i;
    auto const& source = from.of(i);
    auto const row = from.row(i);
    transform.apply(source.positions + 3 * row, i, positions + 3 * to);
    for (int c = 0; c < channels; ++c) { features[to * channels + c] = source.features[row * channels + c]; }
    if (labels != nullptr) { labels[to] = source.labels[row]; }
  }
};

/// What select_points() is given where every point stays.
struct KeepAllPoints {};

/// The points for which `keep(position, index, is_second)`, in their order, transformed.
/// Stream: waits once for their number, unless all stay.
template <class Space, class Keep>
[[nodiscard]] LabelledPoints<Space> select_points(PointSources const& from, int channels, bool has_labels,
                                                  Keep const& keep, PointTransform const& transform,
                                                  Execution<Space> const& exec, char const* who)
{
  auto const rows = from.rows();
  expects(rows < INT_MAX, who, ": ", rows, " points are more than the ", INT_MAX - 1, " that indices hold");
  Buffer<std::int32_t, Space> place;
  auto kept = rows;
  if constexpr (!std::is_same_v<Keep, KeepAllPoints>) {
    place = Buffer<std::int32_t, Space>{rows + 1, exec};
    for_each(rows + 1, MarkPoints<Keep>{from, keep, place.data()}, exec);
    Scan<Space>::exclusive(place.data(), place.data(), rows + 1, exec);
    kept = download(place.data() + rows, 1, exec)[0];
  }
  LabelledPoints<Space> result{{kept, 3, exec}, {channels == 0 ? 0 : kept, channels, exec}, {}};
  if (has_labels) { result.labels = Buffer<std::int32_t, Space>{kept, exec}; }
  for_each(rows,
           MovePoints{from, transform, channels, place.data(), result.positions.data(),
                      result.features.data(), result.labels.data()},
           exec);
  return result;
}

template <class Space>
[[nodiscard]] PointSource source_of(LabelledPoints<Space> const& points)
{
  return {points.positions.data(), points.features.data(), points.labels.data(), points.size()};
}

[[nodiscard]] inline PointSource source_of(PointCloud const& cloud)
{
  return {cloud.positions.data(), cloud.features.data(), cloud.has_labels() ? cloud.labels.data() : nullptr,
          cloud.size()};
}

/// `points` as a cloud that is otherwise like `like`.
[[nodiscard]] inline PointCloud cloud_of(LabelledPoints<Host> const& points, PointCloud const& like,
                                         Execution<Host> const& exec)
{
  auto cloud = download_points(points, exec);
  cloud.channels = like.channels;
  cloud.feature_names = like.feature_names;
  cloud.origin = like.origin;
  return cloud;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
