// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "points.hpp"
#include "program.hpp"

#include <tessera/points/point_cloud.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

namespace program {

/// Where a channel of a network's input comes from: a column of the points, times a factor, or one value.
struct InputChannel {
  int column = -1;  // 0 to 2 of the position, then those of the features; -1: none
  double scale = 1;
  float value = 0;  // where there is no column
};

/// The channels of points whose first features are `cloud`'s; its points do not matter.
using InputChannels = std::vector<InputChannel>;

/// The first three channels: x, y, z.
[[nodiscard]] inline InputChannels position_channels()
{
  return {{0}, {1}, {2}};
}

/// x, y, z and as many features as the network takes, of one only the intensity; intensities scaled.
/// @throws Failure  the points have fewer
[[nodiscard]] inline InputChannels segmentation_channels(tessera::PointCloud const& cloud, int in_channels,
                                                         double intensity_scale)
{
  int const extra = in_channels - 3;
  if (extra < 0 || extra > cloud.channels) {
    throw Failure{"the network takes " + std::to_string(in_channels) +
                  " channels, but a point of this scan has x, y, z and " + std::to_string(cloud.channels) +
                  " more"};
  }
  int const intensity = std::max(0, intensity_channel(cloud));
  int const first = extra == 1 ? intensity : 0;
  auto channels = position_channels();
  for (int k = first; k < first + extra; ++k) {
    channels.push_back({3 + k, k == intensity ? intensity_scale : 1});
  }
  return channels;
}

/// The channel of that name; -1 where there is none.
[[nodiscard]] inline int channel_named(tessera::PointCloud const& cloud, char const* name)
{
  auto const& names = cloud.feature_names;
  auto const found = std::find(names.begin(), names.end(), name);
  return found == names.end() ? -1 : static_cast<int>(found - names.begin());
}

/// x, y, z, intensity, and as fifth channel the age of the sweep; Waymo's is the elongation of the pulse.
/// @throws Failure  the network takes others
[[nodiscard]] inline InputChannels detector_channels(tessera::PointCloud const& cloud, int in_channels,
                                                     double intensity_scale, bool elongation, float age)
{
  if (in_channels < 3 || in_channels > 5) {
    throw Failure{"the network takes " + std::to_string(in_channels) +
                  " channels; those known are x, y, z, intensity and the age of a sweep"};
  }
  auto channels = position_channels();
  auto const add = [&](int channel, double scale) {
    channels.push_back({channel < 0 ? -1 : 3 + channel, scale});
  };
  if (in_channels >= 4) { add(intensity_channel(cloud), intensity_scale); }
  if (in_channels == 5 && elongation) { add(channel_named(cloud, "elongation"), 1); }
  if (in_channels == 5 && !elongation) { channels.push_back({-1, 1, age}); }
  return channels;
}

/// Writes one channel after the other of `count` points: `value(i, column)` gives the numbers.
template <class Value>
void write_input(InputChannels const& channels, std::size_t count, Value const& value, float* to)
{
  for (std::size_t k = 0; k < channels.size(); ++k) {
    auto const [column, scale, constant] = channels[k];
    for (std::size_t i = 0; i < count; ++i) {
      auto& out = to[i * channels.size() + k];
      if (column < 0) {
        out = constant;
      } else if (scale == 1) {
        out = value(i, static_cast<std::size_t>(column));
      } else {
        out = static_cast<float>(scale * double{value(i, static_cast<std::size_t>(column))});
      }
    }
  }
}

/// The same of a cloud, whose arrays are apart.
inline void write_input(InputChannels const& channels, tessera::PointCloud const& cloud, float* to)
{
  auto const features = static_cast<std::size_t>(cloud.channels);
  write_input(
      channels, static_cast<std::size_t>(cloud.size()),
      [&](std::size_t i, std::size_t column) {
        return column < 3 ? cloud.positions[3 * i + column] : cloud.features[features * i + column - 3];
      },
      to);
}

/// [num_points, channels] of one or several clouds after what `input` holds.
inline void append_input(InputChannels const& channels, tessera::PointCloud const& cloud,
                         std::vector<float>& input)
{
  auto const before = input.size();
  input.resize(before + static_cast<std::size_t>(cloud.size()) * channels.size());
  write_input(channels, cloud, input.data() + before);
}

}  // namespace program
