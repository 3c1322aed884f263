// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/detail/point_voxel.hpp>
#include <tessera/ops/record.hpp>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace ops {

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
  [[nodiscard]] std::vector<std::uint64_t> input_versions() const override { return {input_.version()}; }
  [[nodiscard]] std::vector<std::uint64_t> output_versions() const override
  {
    return {points_.version(), voxels_.version()};
  }
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

  [[nodiscard]] bool has_backward() const noexcept override { return true; }
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    if (!gradients.wants(input_.id())) { return; }
    if (gradients.has(points_.id())) { gradients.template pass<Scalar>(points_.id(), input_.id(), exec); }
    if (!gradients.has(voxels_.id())) { return; }
    auto const grad = gradients.template of<Scalar>(voxels_.id());
    if (points_.value() == nullptr) {  // no points
      gradients.add(input_.id(), Matrix<Scalar, Space>{0, grad.columns, exec}, exec);
      return;
    }
    auto const map = points_.value()->points()->map_to(voxels_.value()->coordinates(), PointCells::containing,
                                                       Compatibility::none, exec);
    gradients.add(input_.id(), voxelize_features_backward<Scalar>(grad, *map, exec), exec);
  }
  [[nodiscard]] std::shared_ptr<ReplayableRecord<Space> const> for_backward(
      [[maybe_unused]] Gradients<Space> const& gradients) const override
  {
    auto result = std::make_shared<InitialVoxelizeRecord>(*this);
    result->input_.give_back();
    result->points_.give_features_back();
    result->voxels_.give_features_back();
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

/// Makes voxels of points: `position * point_size * (1 / voxel_size)` in single precision is rounded down, and
/// points of one cell become a voxel with the mean of their features.
///
/// | name    | shape                  | memory | holds                                                      |
/// |---------|------------------------|--------|------------------------------------------------------------|
/// | z       | [num_points, channels] | Space  | positions in units of `point_size`                         |
/// | returns |                        | Space  | the points in units of `voxel_size`; voxels, lexicographic |
///
/// Points that are not finite are in no voxel. Where the points have room for voxels
/// (PointSet::voxel_room()), the number of voxels stays in the space; those that do not fit, or are outside
/// its box, are left out with their points, and the set notes it (CoordinateSet::check()). The gradient for
/// the points' features is voxelize_features_backward() by the returned points' map to the voxels.
/// @throws invalid_argument  sizes that are not positive; the tensor has no points; a voxel beyond 2^30 or a
/// point of a batch entry that `z` does not have, where there is no room; what VoxelRoom says
/// Cost: a sort of the points by voxel, and some passes.
/// Stream: enqueues on `exec`; waits twice, for the bounds and the number of voxels, and not where there is room.
/// Determinism: same input, same bits, on Host and Device; those of the rows in use whether there is room or not.
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

}  // namespace v0
}  // namespace tessera
