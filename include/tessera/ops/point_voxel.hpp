// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/detail/point_voxel.hpp>
#include <tessera/ops/record.hpp>

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace ops {

/// Means of the points of `z` on the voxels of another tensor, or on a set.
template <int Dim, class Scalar, class Space>
struct PointToVoxelRecord final
    : FunctionRecord<PointToVoxelRecord<Dim, Scalar, Space>, Space, SparseTensor<Dim, Scalar, Space>,
                     PointTensor<Dim, Scalar, Space>, std::vector<SparseTensor<Dim, Scalar, Space>>> {
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  using Points = PointTensor<Dim, Scalar, Space>;
  using PointToVoxelRecord::FunctionRecord::FunctionRecord;

  [[nodiscard]] char const* name() const noexcept override { return "point_to_voxel"; }
  [[nodiscard]] char const* obstacle() const noexcept override
  {
    return like().size() > 0 ? nullptr : "it names a coordinate set; give it a tensor on that set";
  }
  [[nodiscard]] Tensor compute(Points const& z, std::vector<Tensor> const& like,
                               Execution<Space> const& exec) const
  {
    detail::expects(!like.empty(), "point_to_voxel: no tensor says on which voxels");
    return detail::point_to_voxel_unrecorded(z, like[0].coordinates(), compat, exec);
  }
  /// The tensor whose voxels are meant: one, or none where a set was given.
  [[nodiscard]] Recorded<std::vector<Tensor>> const& like() const noexcept
  {
    return this->template input<1>();
  }

  Compatibility compat = Compatibility::none;
};

/// The voxels' features at the points of a tensor, whose own are not read.
template <int Dim, class Scalar, class Space>
struct VoxelToPointRecord final
    : FunctionRecord<VoxelToPointRecord<Dim, Scalar, Space>, Space, PointTensor<Dim, Scalar, Space>,
                     SparseTensor<Dim, Scalar, Space>, PointTensor<Dim, Scalar, Space>> {
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  using Points = PointTensor<Dim, Scalar, Space>;
  using VoxelToPointRecord::FunctionRecord::FunctionRecord;

  [[nodiscard]] char const* name() const noexcept override { return "voxel_to_point"; }
  [[nodiscard]] Points compute(Tensor const& x, Points const& z, Execution<Space> const& exec) const
  {
    return detail::voxel_to_point_unrecorded(x, z, interpolation, compat, exec);
  }

  Interpolation interpolation = Interpolation::multilinear;
  Compatibility compat = Compatibility::none;
};

/// The sum of two tensors on the same points.
template <int Dim, class Scalar, class Space>
struct AddPointsRecord final
    : FunctionRecord<AddPointsRecord<Dim, Scalar, Space>, Space, PointTensor<Dim, Scalar, Space>,
                     PointTensor<Dim, Scalar, Space>, PointTensor<Dim, Scalar, Space>> {
  using Points = PointTensor<Dim, Scalar, Space>;
  using AddPointsRecord::FunctionRecord::FunctionRecord;

  [[nodiscard]] char const* name() const noexcept override { return "add"; }
  [[nodiscard]] Points compute(Points const& a, Points const& b, Execution<Space> const& exec) const
  {
    return detail::add_unrecorded(a, b, exec);
  }
};

/// The voxels of a tensor as points.
template <int Dim, class Scalar, class Space>
struct PointsOfVoxelsRecord final
    : FunctionRecord<PointsOfVoxelsRecord<Dim, Scalar, Space>, Space, PointTensor<Dim, Scalar, Space>,
                     SparseTensor<Dim, Scalar, Space>> {
  using PointsOfVoxelsRecord::FunctionRecord::FunctionRecord;

  [[nodiscard]] char const* name() const noexcept override { return "points_of_voxels"; }
  [[nodiscard]] PointTensor<Dim, Scalar, Space> compute(SparseTensor<Dim, Scalar, Space> const& x,
                                                        Execution<Space> const& exec) const
  {
    return detail::points_of_voxels_unrecorded(x, exec);
  }
};

/// Voxels made of points, and the points in units of them: two outputs.
template <int Dim, class Scalar, class Space>
class InitialVoxelizeRecord final : public ReplayableRecord<Space> {
 public:
  using Points = PointTensor<Dim, Scalar, Space>;
  using Made = VoxelizedPoints<Dim, Scalar, Space>;

  InitialVoxelizeRecord(Points const& z, float size_of_points, float size_of_voxels, Made const& made)
      : input_{z},
        points_{made.points},
        voxels_{made.voxels},
        point_size_{size_of_points},
        voxel_size_{size_of_voxels}
  {}

  [[nodiscard]] char const* name() const noexcept override { return "initial_voxelize"; }
  [[nodiscard]] std::vector<VariableId> inputs() const override { return {input_.id()}; }
  [[nodiscard]] std::vector<VariableId> outputs() const override { return {points_.id(), voxels_.id()}; }
  void run(Replay<Space>& replay, Execution<Space> const& exec) const override
  {
    auto const& z = input_.in(replay);
    auto made = detail::run_recorded(
        exec,
        [&](auto const& inside) {
          return detail::initial_voxelize_unrecorded(z, point_size_, voxel_size_, inside);
        },
        [&](Made const& result) {
          return std::make_shared<InitialVoxelizeRecord>(z, point_size_, voxel_size_, result);
        });
    replay.set(points_.id(), std::move(made.points));
    replay.set(voxels_.id(), std::move(made.voxels));
  }
  [[nodiscard]] std::shared_ptr<ReplayableRecord<Space> const> description() const override
  {
    auto result = std::make_shared<InitialVoxelizeRecord>(*this);
    result->input_.give_back();
    result->points_.give_back();
    result->voxels_.give_back();
    return result;
  }

  [[nodiscard]] Recorded<Points> const& input() const noexcept { return input_; }
  [[nodiscard]] Recorded<Points> const& points() const noexcept { return points_; }
  [[nodiscard]] Recorded<SparseTensor<Dim, Scalar, Space>> const& voxels() const noexcept { return voxels_; }

 private:
  Recorded<Points> input_;
  Recorded<Points> points_;
  Recorded<SparseTensor<Dim, Scalar, Space>> voxels_;
  float point_size_;
  float voxel_size_;
};

}  // namespace ops

namespace detail {

/// @param like  a tensor on `voxels`, or null
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> point_to_voxel(PointTensor<Dim, Scalar, Space> const& z,
                                                              CoordinateSetPointer<Dim, Space> const& voxels,
                                                              SparseTensor<Dim, Scalar, Space> const* like,
                                                              Compatibility compat,
                                                              Execution<Space> const& exec)
{
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  return run_recorded(
      exec, [&](auto const& inside) { return point_to_voxel_unrecorded(z, voxels, compat, inside); },
      [&](Tensor const& y) {
        using Record = ops::PointToVoxelRecord<Dim, Scalar, Space>;
        auto record = std::make_shared<Record>(
            ops::Recorded<Tensor>{y}, ops::Recorded<PointTensor<Dim, Scalar, Space>>{z},
            ops::Recorded<std::vector<Tensor>>{like, std::size_t{like != nullptr}});
        record->compat = compat;
        return record;
      });
}

}  // namespace detail

/// Means of points on the voxels of a set: voxelize_features() by the map of `z` to `voxels`. Points whose voxel
/// is missing are left out.
/// @param compat  compat::torchsparse adds those to the mean of voxel 0 instead
/// @throws invalid_argument  the tensor has no points, there are no voxels
/// Cost: as voxelize_features(), and the map the first time (make_point_map()).
/// Stream: enqueues on `exec`, does not wait.
/// Determinism: same input, same bits.
/// Source: point_to_voxel of SPVNAS.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> point_to_voxel(PointTensor<Dim, Scalar, Space> const& z,
                                                              CoordinateSetPointer<Dim, Space> const& voxels,
                                                              Execution<Space> const& exec,
                                                              Compatibility compat = Compatibility::none)
{
  return detail::point_to_voxel<Dim, Scalar, Space>(z, voxels, nullptr, compat, exec);
}
/// The same on the voxels of `like`, whose features are not read: what nn::trace() can run again.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> point_to_voxel(PointTensor<Dim, Scalar, Space> const& z,
                                                              SparseTensor<Dim, Scalar, Space> const& like,
                                                              Execution<Space> const& exec,
                                                              Compatibility compat = Compatibility::none)
{
  return detail::point_to_voxel<Dim, Scalar, Space>(z, like.coordinates(), &like, compat, exec);
}

/// The voxels' features at the points of `z`, whose own features are not read: devoxelize_features() by the map
/// of `z` to the voxels of `x`. What interpolates a sparse tensor at arbitrary points. A point without any voxel
/// receives zero.
/// @throws invalid_argument  the tensor has no coordinates, or no points
/// Cost: as devoxelize_features(), and the map the first time (make_point_map()).
/// Stream: enqueues on `exec`, does not wait.
/// Determinism: same input, same bits.
/// Source: voxel_to_point of SPVNAS.
template <int Dim, class Scalar, class Space>
[[nodiscard]] PointTensor<Dim, Scalar, Space> voxel_to_point(
    SparseTensor<Dim, Scalar, Space> const& x, PointTensor<Dim, Scalar, Space> const& z,
    Execution<Space> const& exec, Interpolation interpolation = Interpolation::multilinear,
    Compatibility compat = Compatibility::none)
{
  using Record = ops::VoxelToPointRecord<Dim, Scalar, Space>;
  using Points = PointTensor<Dim, Scalar, Space>;
  return detail::run_recorded(
      exec,
      [&](auto const& inside) {
        return detail::voxel_to_point_unrecorded(x, z, interpolation, compat, inside);
      },
      [&](Points const& y) {
        auto record = std::make_shared<Record>(ops::Recorded<Points>{y},
                                               ops::Recorded<SparseTensor<Dim, Scalar, Space>>{x},
                                               ops::Recorded<Points>{z});
        record->interpolation = interpolation;
        record->compat = compat;
        return record;
      });
}

/// The sum of two tensors on the same points: `y[i, c] = a[i, c] + b[i, c]`.
/// @throws invalid_argument  other points (PointTensor::points()) or channels
/// Cost: one pass over the features.
/// Stream: enqueues one kernel, does not wait.
/// Determinism: same input, same bits.
template <int Dim, class Scalar, class Space>
[[nodiscard]] PointTensor<Dim, Scalar, Space> add(PointTensor<Dim, Scalar, Space> const& a,
                                                  PointTensor<Dim, Scalar, Space> const& b,
                                                  Execution<Space> const& exec)
{
  using Variable = ops::Recorded<PointTensor<Dim, Scalar, Space>>;
  return detail::run_recorded(
      exec, [&](auto const& inside) { return detail::add_unrecorded(a, b, inside); },
      [&](auto const& y) {
        using Record = ops::AddPointsRecord<Dim, Scalar, Space>;
        return std::make_shared<Record>(Variable{y}, Variable{a}, Variable{b});
      });
}

/// Makes voxels of points: `position * point_size * (1 / voxel_size)` in single precision is rounded down, and
/// points of one cell become a voxel with the mean of their features.
///
/// | name    | shape                  | memory | holds                                                      |
/// |---------|------------------------|--------|------------------------------------------------------------|
/// | z       | [num_points, channels] | Space  | positions in units of `point_size`                         |
/// | returns |                        | Space  | the points in units of `voxel_size`; voxels, lexicographic |
///
/// Points that are not finite are in no voxel. The gradient for the points' features is
/// voxelize_features_backward() by the returned points' map to the voxels.
/// @throws invalid_argument  sizes that are not positive; the tensor has no points; a voxel beyond 2^30; a point
/// of a batch entry that `z` does not have
/// Cost: a sort of the points by voxel, and some passes.
/// Stream: enqueues on `exec`; waits twice, for the bounds and the number of voxels.
/// Determinism: same input, same bits, on Host and Device.
/// Source: initial_voxelize of SPVNAS; the factor is PyTorch's on a GPU.
template <int Dim, class Scalar, class Space>
[[nodiscard]] VoxelizedPoints<Dim, Scalar, Space> initial_voxelize(PointTensor<Dim, Scalar, Space> const& z,
                                                                   float point_size, float voxel_size,
                                                                   Execution<Space> const& exec)
{
  return detail::run_recorded(
      exec,
      [&](auto const& inside) {
        return detail::initial_voxelize_unrecorded(z, point_size, voxel_size, inside);
      },
      [&](auto const& made) {
        using Record = ops::InitialVoxelizeRecord<Dim, Scalar, Space>;
        return std::make_shared<Record>(z, point_size, voxel_size, made);
      });
}

/// The voxels of a tensor as points at their lower corners, `position = coordinate * tensor_stride`, with a copy
/// of their features. Rows that are not in use are points in no voxel.
/// @throws invalid_argument  the tensor has no coordinates
/// Cost: one pass over both.
/// Stream: enqueues a kernel and a copy, does not wait.
/// Determinism: same input, same points.
template <int Dim, class Scalar, class Space>
[[nodiscard]] PointTensor<Dim, Scalar, Space> points_of_voxels(SparseTensor<Dim, Scalar, Space> const& x,
                                                               Execution<Space> const& exec)
{
  return detail::run_recorded(
      exec, [&](auto const& inside) { return detail::points_of_voxels_unrecorded(x, inside); },
      [&](auto const& z) {
        using Record = ops::PointsOfVoxelsRecord<Dim, Scalar, Space>;
        return std::make_shared<Record>(ops::Recorded<PointTensor<Dim, Scalar, Space>>{z},
                                        ops::Recorded<SparseTensor<Dim, Scalar, Space>>{x});
      });
}

}  // namespace v0
}  // namespace tessera
