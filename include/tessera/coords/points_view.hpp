// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/detail/batch_entries.hpp>
#include <tessera/coords/detail/point_rows.hpp>
#include <tessera/core/strided_view.hpp>

#include <climits>
#include <cstdint>
#include <optional>

namespace tessera {
inline namespace v0 {

/// Points of one or several clouds in one space, not owned. Rows may be anywhere in memory (StridedView).
///
/// The clouds of a batch are told apart by `batch` or by `offsets`, and `num_batches` is their number.
/// Without either all points are one cloud, whose voxels have batch entry `batch_entry`.
template <class Scalar>
struct PointsView {
  StridedView<float const> positions;    ///< [num_points, Dim]
  StridedView<Scalar const> features{};  ///< [num_points, channels]; left out: no channels
  std::int32_t const* batch = nullptr;   ///< [num_points] the cloud of each point, in [0, num_batches)
  int batch_entry = 0;
  int num_batches = 0;  ///< number of clouds; 0 means batch_entry + 1, and is not enough for a batch
  /// [num_batches + 1] cloud b is the points from offsets[b] up to offsets[b + 1]; ascending from 0 to
  /// num_points
  std::int32_t const* offsets = nullptr;
};

/// Rows of which the first `dim` columns are the position and the rest features, as most sensors give them.
/// @throws invalid_argument  fewer columns
[[nodiscard]] inline PointsView<float> interleaved_points(StridedView<float const> const& rows, int dim = 3)
{
  detail::expects(dim >= 1 && rows.columns >= dim, "interleaved_points: points have ", rows.columns,
                  " columns; the first ", dim, " are the position");
  PointsView<float> points;
  points.positions = rows.columns_from(0, dim);
  points.features = rows.columns_from(dim, rows.columns - dim);
  return points;
}

namespace detail {

/// `points` with shapes, batch and number of clouds checked. @throws invalid_argument
template <int Dim, class Scalar>
[[nodiscard]] PointRows point_rows(PointsView<Scalar> const& points, char const* who)
{
  auto const rows = points.positions.rows;
  check_view(points.positions, who, "positions");
  check_view(points.features, who, "features");
  expects(points.positions.columns == Dim, who, "positions have ", points.positions.columns, " columns, not ",
          Dim);
  expects(rows < INT_MAX, who, rows, " points are more than the ", INT_MAX - 1, " that indices hold");
  expects(points.features.rows == rows || points.features.columns == 0, who, rows, " points but ",
          points.features.rows, " rows of features");
  bool const is_batch = points.batch != nullptr || points.offsets != nullptr;
  expects(points.batch == nullptr || points.offsets == nullptr, who,
          "a batch is told by the cloud of each point or by offsets, not by both");
  expects(points.batch_entry >= 0 && points.batch_entry < INT_MAX, who, "batch entry ", points.batch_entry);
  int const batches = points.num_batches == 0 && !is_batch ? points.batch_entry + 1 : points.num_batches;
  expects(batches >= 1, who, batches, " clouds; num_batches must be given for points of several");
  expects(is_batch || points.batch_entry < batches, who, "batch entry ", points.batch_entry, " of only ",
          batches, " clouds");
  check_num_entries(batches, rows, who);
  return {points.positions, points.batch, points.offsets, rows, points.batch_entry, batches};
}

/// Rows of one cloud that begin with x, y, z.
[[nodiscard]] inline PointsView<float> points_of_rows(StridedView<float const> const& rows, int batch_entry,
                                                      char const* who)
{
  expects(rows.columns >= 3, who, "points have ", rows.columns, " columns; the first 3 are x, y, z");
  auto points = interleaved_points(rows);
  points.batch_entry = batch_entry;
  return points;
}

/// The one batch entry that all points are in, where they are of one cloud.
[[nodiscard]] inline std::optional<int> only_entry(PointRows const& points)
{
  return points.is_batch() ? std::nullopt : std::optional<int>{points.entry};
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
