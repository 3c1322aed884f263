// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/points_view.hpp>
#include <tessera/core/buffer.hpp>
#include <tessera/core/matrix.hpp>
#include <tessera/points/point_cloud.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace tessera {
inline namespace v0 {

/// The points of one cloud with what is known of each, in memory of a space.
///
/// | name      | shape               | memory | holds                        |
/// |-----------|---------------------|--------|------------------------------|
/// | positions | [size(), 3]         | Space  | x, y, z                      |
/// | features  | [size(), channels]  | Space  | 0 x 0 where there are none   |
/// | labels    | [size()], or empty  | Space  | the class of each point      |
template <class Space>
struct LabelledPoints {
  Matrix<float, Space> positions;
  Matrix<float, Space> features;
  Buffer<std::int32_t, Space> labels;

  [[nodiscard]] std::int64_t size() const noexcept { return positions.rows(); }
  [[nodiscard]] int channels() const noexcept { return static_cast<int>(features.columns()); }
  [[nodiscard]] bool has_labels() const noexcept { return !labels.empty(); }

  /// What sparse_quantize() and others read, as long as this lives.
  [[nodiscard]] PointsView<float> view() const
  {
    PointsView<float> points;
    points.positions = MatrixView<float const>{positions.view()};
    if (features.columns() > 0) { points.features = MatrixView<float const>{features.view()}; }
    return points;
  }

  /// Throws invalid_argument, begun with `who`, unless the arrays have the shapes of the table above.
  void check(std::string const& who) const
  {
    detail::expects(positions.columns() == 3 || size() == 0, who, ": positions of ", positions.columns(),
                    " columns");
    detail::expects(features.columns() == 0 || features.rows() == size(), who, ": ", size(), " points with ",
                    features.rows(), " rows of features");
    detail::expects(labels.empty() || labels.size() == size(), who, ": ", size(), " points with ",
                    labels.size(), " labels");
  }
};

/// The points of a cloud in `Space`; names of features and the origin stay behind.
/// @throws invalid_argument  the cloud's arrays do not fit together
/// Cost: three copies.
/// Stream: enqueues them; waits only as long as they read the cloud.
template <class Space>
[[nodiscard]] LabelledPoints<Space> upload_points(PointCloud const& cloud, Execution<Space> const& exec)
{
  cloud.check("upload_points");
  return {upload_matrix(cloud.positions, 3, exec), upload_matrix(cloud.features, cloud.channels, exec),
          upload(cloud.labels, exec)};
}

/// The same points as a cloud in host memory, about origin 0 and with features without names.
/// @throws invalid_argument  the arrays do not fit together
/// Cost: three copies.
/// Stream: waits for what was enqueued on `exec`.
template <class Space>
[[nodiscard]] PointCloud download_points(LabelledPoints<Space> const& points, Execution<Space> const& exec)
{
  points.check("download_points");
  PointCloud cloud;
  cloud.positions = download(points.positions.data(), points.positions.size(), exec);
  cloud.features = download(points.features.data(), points.features.size(), exec);
  cloud.channels = points.channels();
  cloud.labels = download(points.labels, exec);
  return cloud;
}

}  // namespace v0
}  // namespace tessera
