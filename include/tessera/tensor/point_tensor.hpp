// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/fixed_quantize.hpp>
#include <tessera/core/detail/cache.hpp>
#include <tessera/core/matrix.hpp>
#include <tessera/core/row_count.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/kmap/point_map.hpp>
#include <tessera/kmap/rules/rules.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <climits>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The map from the points of a set to the voxels of another.
template <int Dim, class Space>
struct PointMapKey {
  using Value = PointMap<Space>;

  CoordinateSetPointer<Dim, Space> voxels;  // kept alive, so that its address names it
  PointCells cells;
  bool joins_lost_points;

  friend bool operator==(PointMapKey const& a, PointMapKey const& b)
  {
    return a.voxels == b.voxels && a.cells == b.cells && a.joins_lost_points == b.joins_lost_points;
  }
};

}  // namespace detail

/// The positions of a point tensor, and the maps that join them to voxels.
///
/// Points whose position is not finite are in no voxel. Where only the space knows how many points there are,
/// rows that are not in use hold NaN.
template <int Dim, class Space>
class PointSet {
 public:
  using Count = std::shared_ptr<Buffer<std::int32_t, Space> const>;

  /// @param positions  [num_points, 1 + Dim] (batch, x, y, ...)
  /// @param room       for the voxels that initial_voxelize() makes of them, whose number then stays in the
  ///                   space; without it they are counted
  /// @param count      [1] how many of the rows are points, where the host does not know
  /// @param voxels     in whose errors is noted what is wrong with the points; null: see voxels()
  /// @throws invalid_argument  other columns, no batch entries, 2^31 points or more
  PointSet(Matrix<float, Space>&& positions, int num_batches, std::optional<VoxelRoom<Dim>> room = {},
           Count count = nullptr, CoordinateSetPointer<Dim, Space> voxels = nullptr)
      : positions_{std::move(positions)},
        num_batches_{num_batches},
        room_{std::move(room)},
        count_{std::move(count)},
        voxels_{std::move(voxels)}
  {
    detail::expects(positions_.columns() == 1 + Dim, "PointSet: positions have ", positions_.columns(),
                    " columns but ", Dim, " dimensions need ", 1 + Dim, " (batch first)");
    detail::expects(positions_.rows() < INT_MAX, "PointSet: ", positions_.rows(), " points");
    detail::expects(num_batches >= 1, "PointSet: ", num_batches, " batch entries; at least 1");
  }

  /// Rows, in use or not.
  [[nodiscard]] std::int64_t num_points() const noexcept { return positions_.rows(); }
  /// Rows in use, for kernels.
  [[nodiscard]] RowCount row_count() const noexcept
  {
    return {positions_.rows(), count_ != nullptr ? count_->data() : nullptr};
  }
  /// How many rows are in use, where only the space knows; null: all.
  [[nodiscard]] Count const& count() const noexcept { return count_; }
  [[nodiscard]] int num_batches() const noexcept { return num_batches_; }
  /// Where voxels that are made of the points have to fit, if told.
  [[nodiscard]] std::optional<VoxelRoom<Dim>> const& voxel_room() const noexcept { return room_; }
  /// The sets that were made of the points in that room: what went wrong is noted in them
  /// (CoordinateSet::check()), and they live as long as the points.
  [[nodiscard]] std::vector<CoordinateSetPointer<Dim, Space>> voxels_in_room() const
  {
    std::lock_guard lock{mutex_};
    return in_room_;
  }
  /// The voxels that the points were made with, or the first that were made of them in that room: in them
  /// kernels note what is wrong with the points' rows (CoordinateSet::check()). Null where there are none.
  [[nodiscard]] CoordinateSetPointer<Dim, Space> voxels() const
  {
    if (voxels_ != nullptr) { return voxels_; }
    std::lock_guard lock{mutex_};
    return in_room_.empty() ? nullptr : in_room_.front();
  }
  /// For initial_voxelize().
  void add_voxels_in_room(CoordinateSetPointer<Dim, Space> voxels)
  {
    std::lock_guard lock{mutex_};
    in_room_.push_back(std::move(voxels));
  }
  /// [num_points, 1 + Dim] in `Space`: batch entry first, then the position in voxels of the finest grid.
  [[nodiscard]] MatrixView<float const> positions() const noexcept { return positions_.view(); }

  /// The map to `voxels`, made at the first call and kept: make_point_map().
  /// @throws invalid_argument  there are no voxels, and what make_point_map() throws
  /// Cost, stream, determinism: as make_point_map(), the first time.
  [[nodiscard]] std::shared_ptr<PointMap<Space>> map_to(CoordinateSetPointer<Dim, Space> const& voxels,
                                                        PointCells cells, Compatibility compat,
                                                        Execution<Space> const& exec)
  {
    detail::expects(voxels != nullptr, "point map: there are no voxels");
    bool const joins = cells == PointCells::containing &&
                       rules::visit(compat, [](auto rules) { return rules.joins_lost_points; });
    std::lock_guard lock{mutex_};
    return maps_.get_or_make(detail::PointMapKey<Dim, Space>{voxels, cells, joins}, [&] {
      return make_point_map(positions(), *voxels, cells, compat, exec, row_count().count);
    });
  }

 private:
  Matrix<float, Space> positions_;
  int num_batches_;
  std::optional<VoxelRoom<Dim>> room_;
  Count count_;
  CoordinateSetPointer<Dim, Space> voxels_;
  std::vector<CoordinateSetPointer<Dim, Space>> in_room_;
  detail::Cache maps_;
  mutable std::mutex mutex_;
};

/// Features on points that need not lie on a grid: row i of the features belongs to position i.
///
/// A value that is cheap to copy: copies share positions and features, neither of which ever changes. Tensors
/// of other features on the same points share the maps to voxels too (PointSet).
///
/// @tparam Dim     1 to 6 spatial axes
/// @tparam Scalar  float, double, __half or __nv_bfloat16
/// @tparam Space   Device (default) or Host
template <int Dim, class Scalar, class Space = Device>
class PointTensor {
  static_assert(Dim >= 1 && Dim <= 6, "PointTensor: Dim must be 1 to 6");
  static_assert(
      ScalarTraits<Scalar>::is_feature,
      "PointTensor: Scalar must be float, double, __half or __nv_bfloat16 (include core/scalar.cuh)");
  static_assert(is_space<Space>::value, "PointTensor: Space must be Host or Device");

 public:
  static constexpr int dim = Dim;
  using scalar = Scalar;
  using space = Space;
  using Set = PointSet<Dim, Space>;

  /// No points; to be assigned to, copied, and asked for its sizes, which are 0.
  PointTensor() = default;

  /// A tensor from positions and features in `Space`, both copied.
  ///
  /// | name      | shape                  | memory | holds                                               |
  /// |-----------|------------------------|--------|-----------------------------------------------------|
  /// | positions | [num_points, 1 + Dim]  | Space  | (batch, x, y, ...) float; not finite: in no voxel   |
  /// | features  | [num_points, channels] | Space  | any values; NaN flows through                       |
  ///
  /// @param num_batches  batch entries are [0, num_batches)
  /// @throws invalid_argument  the numbers of rows differ, and what PointSet says
  /// Cost: two copies.
  /// Stream: enqueues them, does not wait.
  /// Determinism: same input, same tensor.
  PointTensor(MatrixView<float const> const& positions, MatrixView<Scalar const> const& features,
              Execution<Space> const& exec, int num_batches = 1)
      : PointTensor{std::make_shared<Set>(Matrix<float, Space>{copy(positions.data, positions.size(), exec),
                                                               positions.rows, positions.columns},
                                          num_batches),
                    Matrix<Scalar, Space>{copy(features.data, features.size(), exec), features.rows,
                                          features.columns}}
  {}

  /// A tensor on the points of `points`; takes `features` [num_points, channels].
  /// @throws invalid_argument  there are no points, the numbers of rows differ
  PointTensor(std::shared_ptr<Set> points, Matrix<Scalar, Space>&& features)
      : points_{std::move(points)}, features_{std::move(features)}
  {
    detail::expects(points_ != nullptr, "PointTensor: no points");
    detail::expects(points_->num_points() == features_.rows(), "PointTensor: ", points_->num_points(),
                    " positions but ", features_.rows(), " rows of features");
  }

  [[nodiscard]] std::int64_t num_points() const noexcept { return points_ ? points_->num_points() : 0; }
  [[nodiscard]] int channels() const noexcept { return static_cast<int>(features_.columns()); }
  /// [num_points, channels] in `Space`.
  [[nodiscard]] MatrixView<Scalar const> features() const noexcept { return features_.view(); }
  /// The same as a matrix, which layers of rows take: it shares the tensor's elements and identity.
  [[nodiscard]] Matrix<Scalar, Space> const& matrix() const noexcept { return features_; }
  /// The identity of the features, which copies of the tensor share; 0 of a tensor made by default.
  [[nodiscard]] VariableId id() const noexcept { return features_.id(); }
  /// How often mark_written() was called on these features.
  [[nodiscard]] std::uint64_t version() const noexcept { return features_.version(); }
  /// To be called by whoever writes the features in place, as SparseTensor::mark_written().
  void mark_written() const noexcept { features_.mark_written(); }
  /// The same points and features, not copied, as another variable: see SparseTensor::detached().
  [[nodiscard]] PointTensor detached() const
  {
    auto result = *this;
    result.features_ = features_.detached();
    return result;
  }
  /// The positions and their maps; null where there are none.
  [[nodiscard]] std::shared_ptr<Set> const& points() const noexcept { return points_; }

  /// The same points with other features.
  [[nodiscard]] PointTensor with_features(Matrix<Scalar, Space>&& features) const
  {
    return PointTensor{points_, std::move(features)};
  }
  /// The same features on other points, as another variable.
  /// @throws invalid_argument  there are not as many
  [[nodiscard]] PointTensor with_points(std::shared_ptr<Set> points) const
  {
    detail::expects(points != nullptr && points->num_points() == num_points(), "PointTensor: ", num_points(),
                    " rows of features for other points");
    auto result = *this;
    result.points_ = std::move(points);
    result.features_ = detail::ShareMatrix::alias(features_);
    return result;
  }

  /// Features on the host, row-major.
  /// Stream: waits.
  [[nodiscard]] std::vector<Scalar> features_on_host(Execution<Space> const& exec) const
  {
    return download(features().data, features().size(), exec);
  }

 private:
  std::shared_ptr<Set> points_;
  Matrix<Scalar, Space> features_;
};

namespace detail {

/// Throws if `z` was made by default; `who` begins the sentence.
template <int Dim, class Scalar, class Space>
void expect_points(PointTensor<Dim, Scalar, Space> const& z, char const* who)
{
  expects(z.points() != nullptr, who, ": the tensor has no points");
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
