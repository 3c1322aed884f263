// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/tensor/dense.hpp>

#include <type_traits>
#include <utility>

namespace tessera {
inline namespace v0 {

/// A model seen by its `forward_bev()`: forward_bev(model) makes it. It refers to the model, which must
/// outlive it and every plan made of it.
/// @tparam Element  of the map; void: that of the model
template <class Model, class Element = void>
class ForwardBev {
 public:
  using Tensor = typename Model::Tensor;
  static constexpr bool is_model_view = true;

  ForwardBev(Model& model, DenseLayout layout) : model_{&model}, layout_{layout} {}

  /// model.forward_bev().
  template <class Space>
  [[nodiscard]] auto forward(Tensor const& x, Execution<Space> const& exec) const
  {
    return model_->template forward_bev<Element>(x, exec, layout_);
  }
  /// The model's parameters, by which a plan names what is out of date.
  template <class M = Model>
  [[nodiscard]] auto parameters() const -> decltype(std::declval<M const&>().parameters())
  {
    return static_cast<M const*>(model_)->parameters();
  }
  /// Whether the model is in training, which trace() refuses.
  template <class M = Model>
  [[nodiscard]] auto is_training() const -> decltype(std::declval<M const&>().is_training())
  {
    return static_cast<M const*>(model_)->is_training();
  }
  /// The model's options, from which a plan takes the number of channels.
  template <class M = Model>
  [[nodiscard]] auto options() const -> decltype(std::declval<M const&>().options())
  {
    return static_cast<M const*>(model_)->options();
  }

 private:
  Model* model_;
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
