// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/detail/point_voxel.hpp>
#include <tessera/ops/initial_voxelize.hpp>
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
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    auto const& z = this->input();
    if (!gradients.wants(z.id())) { return; }
    auto const grad = gradients.template of<Scalar>(this->output().id());
    if (z.value() == nullptr) {  // no points
      gradients.add(z.id(), Matrix<Scalar, Space>{0, grad.columns, exec}, exec);
      return;
    }
    auto const map = z.value()->points()->map_to(this->output().value()->coordinates(),
                                                 PointCells::containing, compat, exec);
    gradients.add(z.id(), voxelize_features_backward<Scalar>(grad, *map, exec), exec);
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/)
  {
    this->input().give_features_back();
    this->template input<1>().give_back();
    this->output().give_features_back();
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
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    auto const& x = this->input();
    auto const* const z = this->template input<1>().value();
    if (!gradients.wants(x.id())) { return; }
    auto const grad = gradients.template of<Scalar>(this->output().id());
    gradients.add(x.id(), detail::voxel_to_point_gradient(grad, *x.value(), z, interpolation, compat, exec),
                  exec);
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/)
  {
    this->input().give_features_back();
    this->template input<1>().give_features_back();
    this->output().give_back();
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
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    gradients.template pass<Scalar>(this->output().id(), this->input().id(), exec);
    gradients.template pass<Scalar>(this->output().id(), this->template input<1>().id(), exec);
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/) { this->give_all_back(); }
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
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    gradients.template pass<Scalar>(this->output().id(), this->input().id(), exec);
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/) { this->give_all_back(); }
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

/// Means of points on the voxels of a set: voxelize_features() by the map of `z` to `voxels`. Points whose
/// voxel is missing are left out.
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

/// The voxels' features at the points of `z`, whose own features are not read: devoxelize_features() by the
/// map of `z` to the voxels of `x`. What interpolates a sparse tensor at arbitrary points. A point without
/// any voxel receives zero.
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

/// The voxels of a tensor as points at their lower corners, `position = coordinate * tensor_stride`, with a
/// copy of their features. Rows that are not in use are points in no voxel.
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
