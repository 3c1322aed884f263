// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate_set.hpp>
#include <tessera/core/detail/sort.hpp>
#include <tessera/core/matrix.hpp>
#include <tessera/hash/coordinate_table.hpp>
#include <tessera/kmap/detail/point_terms.hpp>
#include <tessera/kmap/policies.hpp>
#include <tessera/kmap/rules/rules.hpp>

#include <climits>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>

namespace tessera {
inline namespace v0 {

/// Which voxels a point is joined to.
enum class PointCells : std::uint8_t {
  containing,  ///< the voxel that it is in
  corners,     ///< the 2^Dim voxels at the corners of its cell, weighted by multilinear interpolation
  first,       ///< corner 0 alone with the weight that `corners` gives it: TorchSparse's "nearest"
};

/// Which voxels belong to which points, and how much of each: row i of `rows` and `weights` are the terms of
/// point i, and segment m of the transpose those of voxel m.
template <class Space>
class PointMap {
 public:
  /// The transpose: the terms of voxel m are `terms[begin[m]]` up to `terms[begin[m + 1]]`, ascending; term t
  /// is `rows[t]`, of point `t / volume`.
  struct Segments {
    Buffer<std::int32_t, Space> begin;  // [num_voxels + 1]
    Buffer<std::int32_t, Space> terms;  // [num_points * volume], of which begin[num_voxels] are in use
  };

  /// Takes `rows` [num_points, volume], each a row of the voxels, or another number where there is none, and
  /// `weights` of that shape, or none: ones.
  /// @throws invalid_argument  sizes that do not fit together, 2^31 terms or more
  PointMap(Buffer<std::int32_t, Space>&& rows, Buffer<float, Space>&& weights, std::int64_t num_points,
           std::int64_t num_voxels, int volume)
      : rows_{std::move(rows)},
        weights_{std::move(weights)},
        num_points_{num_points},
        num_voxels_{num_voxels},
        volume_{volume}
  {
    detail::expects(volume >= 1 && num_points >= 0 && num_points <= INT_MAX / volume,
                    "PointMap: ", num_points, " points of ", volume,
                    " voxels each are more than indices hold");
    detail::expects(num_voxels >= 0 && num_voxels < INT_MAX, "PointMap: ", num_voxels, " voxels");
    detail::expects(rows_.size() == num_points * volume, "PointMap: ", rows_.size(), " rows for ", num_points,
                    " points of ", volume, " voxels each");
    detail::expects(weights_.empty() || weights_.size() == rows_.size(), "PointMap: ", weights_.size(),
                    " weights for ", rows_.size(), " rows");
  }

  [[nodiscard]] std::int64_t num_points() const noexcept { return num_points_; }
  /// Rows of the voxels' set, their capacity: in use or not.
  [[nodiscard]] std::int64_t num_voxels() const noexcept { return num_voxels_; }
  /// Voxels of a point: 1 or 2^Dim.
  [[nodiscard]] int volume() const noexcept { return volume_; }
  /// [num_points, volume] in `Space`; where there is no voxel -1, or what the constructor was given.
  [[nodiscard]] std::int32_t const* rows() const noexcept { return rows_.data(); }
  /// [num_points, volume] in `Space`, or null: ones.
  [[nodiscard]] float const* weights() const noexcept { return weights_.data(); }

  /// The transpose, made at the first call and kept.
  /// Cost: a sort of the terms by voxel, the first time.
  /// Stream: enqueues on `exec`, does not wait.
  /// Determinism: same map, same segments.
  [[nodiscard]] Segments const& segments(Execution<Space> const& exec)
  {
    std::lock_guard lock{mutex_};
    if (!segments_) { segments_.emplace(make_segments(exec)); }
    return *segments_;
  }

 private:
  [[nodiscard]] Segments make_segments(Execution<Space> const& exec) const
  {
    auto const num_terms = rows_.size();
    Segments result{{num_voxels_ + 1, exec}, {num_terms, exec}};
    Buffer<std::uint32_t, Space> unsorted{num_terms, exec};
    Buffer<std::uint32_t, Space> keys{num_terms, exec};
    Buffer<std::int32_t, Space> terms{num_terms, exec};
    auto const none = static_cast<std::uint32_t>(num_voxels_);
    for_each(num_terms, detail::PackTerms{rows_.data(), none, unsorted.data(), terms.data()}, exec);
    detail::Sort<Space>::pairs(unsorted.data(), terms.data(), keys.data(), result.terms.data(), num_terms,
                               detail::bits_for(num_voxels_ + 1), exec);
    for_each(num_voxels_ + 1, detail::FindSegment{keys.data(), num_terms, result.begin.data()}, exec);
    return result;
  }

  Buffer<std::int32_t, Space> rows_;
  Buffer<float, Space> weights_;
  std::int64_t num_points_;
  std::int64_t num_voxels_;
  int volume_;
  std::optional<Segments> segments_;
  std::mutex mutex_;
};

/// The weights of multilinear interpolation for voxels that are known, as make_point_map() has them.
/// TorchSparse's `calc_ti_weights`, whose `scale` is the stride.
///
/// | name      | shape                         | memory | holds                                           |
/// |-----------|-------------------------------|--------|-------------------------------------------------|
/// | positions | [num_points, 1 + Dim] float   | Space  | (batch, x, y, ...) in voxels of the finest grid |
/// | rows      | [num_points, 2^Dim]           | Space  | the voxel at each corner; negative: none        |
/// | returns   | [num_points, 2^Dim]           | Space  | weights; corners with the last axis fastest     |
///
/// @throws invalid_argument  positions without 1 + Dim columns, rows of another shape
/// Cost: one pass.
/// Stream: enqueues one kernel, does not wait.
/// Determinism: same input, same bits.
template <int Dim, class Space>
[[nodiscard]] Matrix<float, Space> interpolation_weights(MatrixView<float const> const& positions,
                                                         MatrixView<std::int32_t const> const& rows,
                                                         IntArray<Dim> const& stride,
                                                         Execution<Space> const& exec)
{
  constexpr int corners = detail::num_corners<Dim>;
  detail::expects(positions.columns == 1 + Dim && rows.columns == corners && rows.rows == positions.rows,
                  "interpolation_weights: positions [", positions.rows, ", ", positions.columns,
                  "] and rows [", rows.rows, ", ", rows.columns, "]; they must be [num_points, ", 1 + Dim,
                  "] and [num_points, ", corners, "]");
  Matrix<float, Space> weights{positions.rows, corners, exec};
  for_each(positions.rows, detail::WeighCorners<Dim>{positions.data, stride, rows.data, weights.data()},
           exec);
  return weights;
}

/// Finds the voxels of points: `cell = floor(position / tensor_stride)` in single precision, axis by axis.
///
/// | name      | shape                         | memory | holds                                                |
/// |-----------|-------------------------------|--------|------------------------------------------------------|
/// | positions | [num_points, 1 + Dim] float   | Space  | (batch, x, y, ...) in voxels of the finest grid      |
/// | voxels    |                               | Space  | any set; its tensor stride is the size of a cell     |
///
/// With PointCells::corners the weight of corner k is the product over the axes of `f`, or of `1 - f` for a
/// lower corner, `f` being the position in the cell; corners without a voxel weigh 0, and the others are
/// divided by `sum + 1e-8`. Corners are counted with the last axis fastest. A point that is not finite, or
/// beyond 2^30 cells, or of a batch entry that the set does not have, has no voxels.
/// @param compat  compat::torchsparse joins points whose voxel is missing to voxel 0 (PointCells::containing)
/// @param count   [1] in `Space`: how many of the rows are points; null: all. The others, whose positions must
///                not be finite, are in no voxel
/// @throws invalid_argument  positions without 1 + Dim columns, and what coordinate_table() throws
///
/// Cost: one look-up per term, and the set's table where it is not there yet.
/// Stream: enqueues on `exec`, does not wait.
/// Determinism: same input, same bits.
/// Source: calc_ti_weights and sphashquery of TorchSparse; point_to_voxel of SPVNAS.
template <int Dim, class Space>
[[nodiscard]] std::shared_ptr<PointMap<Space>> make_point_map(MatrixView<float const> const& positions,
                                                              CoordinateSet<Dim, Space>& voxels,
                                                              PointCells cells, Compatibility compat,
                                                              Execution<Space> const& exec,
                                                              std::int32_t const* count = nullptr)
{
  detail::expects(positions.columns == 1 + Dim || positions.rows == 0, "point map: positions have ",
                  positions.columns, " columns but ", Dim, " dimensions need ", 1 + Dim, " (batch first)");
  bool const containing = cells == PointCells::containing;
  int const volume = containing ? 1 : detail::num_corners<Dim>;
  auto const num_points = positions.rows;
  detail::expects(num_points <= INT_MAX / volume, "point map: ", num_points, " points of ", volume,
                  " voxels each are more than indices hold");
  Buffer<std::int32_t, Space> rows{num_points * volume, exec};
  Buffer<float, Space> weights{containing ? 0 : num_points * volume, exec};
  bool const joins_first = rules::visit(compat, [](auto rules) { return rules.joins_lost_points; });
  coordinate_table(voxels, exec)->visit([&](auto const& table) {
    using Key = typename std::decay_t<decltype(table.packing)>::KeyType;
    auto const& stride = voxels.tensor_stride();
    if (containing) {
      for_each(num_points,
               detail::FindVoxels<Dim, Key>{positions.data,
                                            stride,
                                            table,
                                            joins_first,
                                            {num_points, count},
                                            voxels.row_count(),
                                            rows.data()},
               exec);
    } else {
      for_each(num_points,
               detail::FindCorners<Dim, Key>{positions.data, stride, table, rows.data(), weights.data()},
               exec);
    }
  });
  auto const make = [&](auto& own_rows, auto& own_weights, int own_volume) {
    return std::make_shared<PointMap<Space>>(std::move(own_rows), std::move(own_weights), num_points,
                                             voxels.capacity(), own_volume);
  };
  if (cells != PointCells::first) { return make(rows, weights, volume); }
  Buffer<std::int32_t, Space> first{num_points, exec};
  Buffer<float, Space> first_weight{num_points, exec};
  for_each(num_points, detail::TakeFirstColumn<std::int32_t>{rows.data(), volume, first.data()}, exec);
  for_each(num_points, detail::TakeFirstColumn<float>{weights.data(), volume, first_weight.data()}, exec);
  return make(first, first_weight, 1);
}

}  // namespace v0
}  // namespace tessera
