// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// What a view of a model passes on of it: all that Plan, nn::trace() and nn::fuse() ask for but `forward`.
template <class Model>
class ModelView {
 public:
  using Tensor = typename Model::Tensor;
  static constexpr bool is_model_view = true;

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

 protected:
  explicit ModelView(Model& model) : model_{&model} {}

  Model* model_;  // NOLINT(readability-identifier-naming,*-non-private-member-variables-in-classes)
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
