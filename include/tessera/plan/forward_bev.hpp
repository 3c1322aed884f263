// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/plan/detail/model_view.hpp>
#include <tessera/tensor/dense.hpp>

#include <type_traits>

namespace tessera {
inline namespace v0 {

/// A model seen by its `forward_bev()`: forward_bev(model) makes it. It refers to the model, which must
/// outlive it and every plan made of it.
/// @tparam Element  of the map; void: that of the model
template <class Model, class Element = void>
class ForwardBev : public detail::ModelView<Model> {
 public:
  using typename detail::ModelView<Model>::Tensor;

  ForwardBev(Model& model, DenseLayout layout) : detail::ModelView<Model>{model}, layout_{layout} {}

  /// model.forward_bev().
  template <class Space>
  [[nodiscard]] auto forward(Tensor const& x, Execution<Space> const& exec) const
  {
    return this->model_->template forward_bev<Element>(x, exec, layout_);
  }

 private:
  DenseLayout layout_;
};

/// A model as Plan and nn::fuse() take it, for the dense map of its `forward_bev()` in place of the voxels of
/// `forward()`: `Plan plan{forward_bev(encoder), limits, exec}`, `auto fast = nn::fuse(forward_bev(encoder),
/// x, exec)`.
/// @tparam Element  of the map, e.g. `forward_bev<__half>(encoder)`; without it that of the model
template <class Element = void, class Model>
[[nodiscard]] ForwardBev<Model, Element> forward_bev(Model& model,
                                                     DenseLayout layout = DenseLayout::channels_first)
{
  return {model, layout};
}

}  // namespace v0
}  // namespace tessera
