// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/matrix.hpp>
#include <tessera/ops/custom.hpp>
#include <tessera/plan/detail/model_view.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

namespace tessera {
inline namespace v0 {

/// A model of points seen as one of voxels, each of which is a point: forward_voxels(model) makes it. It
/// refers to the model, which must outlive it and every plan made of it.
template <class Model>
class ForwardVoxels : public detail::ModelView<Model> {
 public:
  using typename detail::ModelView<Model>::Tensor;

  explicit ForwardVoxels(Model& model) : detail::ModelView<Model>{model} {}

  /// What model.forward(x) gives the points, on the voxels of `x`.
  template <class Space>
  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) const
  {
    auto const on_voxels = [](Tensor const& voxels, auto const& points, Execution<Space> const&) {
      return voxels.with_features(detail::ShareMatrix::alias(points.matrix()));
    };
    return ops::custom("on_voxels", exec, on_voxels, x, this->model_->forward(x, exec));
  }
};

/// A model of points, such as SPVCNN or SPVNAS, as Plan and nn::fuse() take it: voxels in, a row for each
/// voxel out, so that a plan of points makes their voxels and their labels too: `Plan
/// plan{forward_voxels(spvcnn), limits, exec}`.
template <class Model>
[[nodiscard]] ForwardVoxels<Model> forward_voxels(Model& model)
{
  return ForwardVoxels<Model>{model};
}

}  // namespace v0
}  // namespace tessera
