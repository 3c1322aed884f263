// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/data/labelled_points.hpp>
#include <tessera/points/point_cloud.hpp>

#include <climits>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {

/// The clouds of a batch, one after the other, in memory of a space.
template <class Space>
struct PointBatch {
  LabelledPoints<Space> points;         ///< of all clouds
  Buffer<std::int32_t, Space> offsets;  ///< [num_clouds + 1] where each begins
  int num_clouds = 0;

  /// What sparse_quantize() reads, as long as this lives: cloud b is batch entry b.
  [[nodiscard]] PointsView<float> view() const
  {
    auto result = points.view();
    result.offsets = offsets.data();
    result.num_batches = num_clouds;
    return result;
  }
};

/// Several clouds as one batch in `Space`; names of features stay behind, and each cloud is about its own
/// origin.
/// @throws invalid_argument   there is no cloud; clouds with points differ in channels, or only some have
///                           labels; there are 2^31 - 1 points or more
/// Cost: one copy on the host and one to `Space`.
/// Stream: enqueues the copies; waits only as long as they read host memory.
/// Determinism: copies.
template <class Space>
[[nodiscard]] PointBatch<Space> upload_batch(std::vector<PointCloud> const& clouds,
                                             Execution<Space> const& exec)
{
  char const* const who = "upload_batch";
  detail::expects(!clouds.empty(), who, ": a batch of no clouds");
  PointCloud all;
  std::vector<std::int32_t> offsets{0};
  for (std::size_t i = 0; i < clouds.size(); ++i) {
    auto const& cloud = clouds[i];
    cloud.check(who);
    if (!cloud.empty()) {
      if (all.empty()) { all.channels = cloud.channels; }
      detail::expects(cloud.channels == all.channels, who, ": cloud ", i, " has ", cloud.channels,
                      " channels, those before have ", all.channels);
      detail::expects(all.empty() || cloud.has_labels() == all.has_labels(), who, ": cloud ", i, " has ",
                      cloud.has_labels() ? "" : "no ", "labels, unlike those before");
      all.positions.insert(all.positions.end(), cloud.positions.begin(), cloud.positions.end());
      all.features.insert(all.features.end(), cloud.features.begin(), cloud.features.end());
      all.labels.insert(all.labels.end(), cloud.labels.begin(), cloud.labels.end());
    }
    detail::expects(all.size() < INT_MAX, who, ": ", all.size(), " points are more than the ", INT_MAX - 1,
                    " that indices hold");
    offsets.push_back(static_cast<std::int32_t>(all.size()));
  }
  return {upload_points(all, exec), upload(offsets, exec), static_cast<int>(clouds.size())};
}

}  // namespace v0
}  // namespace tessera
