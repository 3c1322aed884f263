// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/module.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Whether `layer.forward(input, exec)` compiles.
template <class Layer, class Input, class Space, class = void>
struct is_input : std::false_type {};
template <class Layer, class Input, class Space>
struct is_input<Layer, Input, Space,
                std::void_t<decltype(std::declval<Layer&>().forward(
                    std::declval<Input const&>(), std::declval<Execution<Space> const&>()))>>
    : std::true_type {};

}  // namespace detail

namespace nn {

/// Modules one after the other, named "0", "1", ... as PyTorch names them (or as told). There are two forms:
///
/// `Sequential<3, float>` is a Module and holds Modules, from sparse tensor to sparse tensor, as many as
/// add() and append() give it at run time.
///
/// `Sequential<3, float, Device, Conv<3, float>, GlobalAveragePool<3, float>, Linear<3, float>>` names its
/// layers, each of which takes what the one before returns; see below.
template <int Dim, class Scalar, class Space = Device, class... Layers>
class Sequential;

template <int Dim, class Scalar, class Space>
class Sequential<Dim, Scalar, Space> : public Module<Dim, Scalar, Space> {
 public:
  using typename Module<Dim, Scalar, Space>::Tensor;

  /// Appends a module made in place: `sequential.template add<Conv<3, float>>(options, exec)`.
  template <class Layer, class... Arguments>
  Layer& add(Arguments&&... arguments)
  {
    static_assert(
        std::is_base_of_v<Module<Dim, Scalar, Space>, Layer>,
        "Sequential::add: the layer must be a Module of the same Dim, Scalar and Space, from sparse "
        "tensor to sparse tensor; others go into a Sequential that names its layers");
    auto layer = std::make_unique<Layer>(std::forward<Arguments>(arguments)...);
    Layer& result = *layer;
    append(std::move(layer));
    return result;
  }

  /// Appends a module that is there already, of whatever type; named by its number, or as told.
  /// @throws invalid_argument  there is none, or its name is taken
  void append(std::unique_ptr<Module<Dim, Scalar, Space>> layer, std::string name = {})
  {
    detail::expects(layer != nullptr, "Sequential: there is no module to append");
    if (name.empty()) { name = std::to_string(layers_.size()); }
    for (auto const& [taken, child] : this->children()) {
      detail::expects(taken != name, "Sequential: there is a module \"", name, "\" already");
    }
    this->register_child(std::move(name), *layer);
    layers_.push_back(std::move(layer));
  }

  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
  {
    return forward_from(0, x, exec);
  }
  /// The layers from number `first` on. @throws invalid_argument  there are fewer, and what a layer says
  [[nodiscard]] Tensor forward_from(std::size_t first, Tensor const& x, Execution<Space> const& exec)
  {
    detail::expects(first <= layers_.size(), "Sequential: layer ", first, " of ", layers_.size());
    Tensor y = x;
    for (std::size_t i = first; i < layers_.size(); ++i) { y = layers_[i]->forward(y, exec); }
    return y;
  }

  [[nodiscard]] std::size_t size() const noexcept { return layers_.size(); }
  [[nodiscard]] Module<Dim, Scalar, Space>& operator[](std::size_t i) { return *layers_.at(i); }

 private:
  std::vector<std::unique_ptr<Module<Dim, Scalar, Space>>> layers_;
};

/// Modules one after the other whose types are known, so that they need not go from sparse tensor to sparse
/// tensor; those to a matrix, to a dense map or of one's own will do:
///
/// `Sequential net{std::make_unique<Conv<3, float>>(options, exec),
///                 std::make_unique<GlobalAveragePool<3, float>>(),
///                 std::make_unique<Linear<3, float>>(LinearOptions(32, 10), exec)};`
///
/// A layer is a ModuleBase with `forward(input, exec)`; what does not fit together does not compile.
/// Cost, stream, determinism: those of its layers.
template <int Dim, class Scalar, class Space, class First, class... Rest>
class Sequential<Dim, Scalar, Space, First, Rest...> final : public ModuleBase {
  static_assert(detail::layer::LayerArguments<Dim, Scalar, Space>::are_valid);
  static_assert((std::is_base_of_v<ModuleBase, First> && ... && std::is_base_of_v<ModuleBase, Rest>),
                "Sequential: every layer must be a module");

 public:
  using Tensor = SparseTensor<Dim, Scalar, Space>;

  /// Takes the layers. @throws invalid_argument  one of them is null
  explicit Sequential(std::unique_ptr<First> first, std::unique_ptr<Rest>... rest)
      : layers_{std::move(first), std::move(rest)...}
  {
    std::apply([&](auto const&... layer) { (register_next(layer), ...); }, layers_);
  }

  /// What the last layer returns of what the others do. @throws invalid_argument  what a layer says
  [[nodiscard]] auto forward(Tensor const& x, Execution<Space> const& exec)
  {
    return run<1>(std::get<0>(layers_)->forward(x, exec), exec);
  }
  [[nodiscard]] auto operator()(Tensor const& x, Execution<Space> const& exec) { return forward(x, exec); }

  static constexpr std::size_t size() noexcept { return 1 + sizeof...(Rest); }
  /// Layer number `I`.
  template <std::size_t I>
  [[nodiscard]] auto& get() noexcept
  {
    return *std::get<I>(layers_);
  }

 private:
  template <class Layer>
  void register_next(std::unique_ptr<Layer> const& layer)
  {
    detail::expects(layer != nullptr, "Sequential: layer ", this->children().size(), " is null");
    this->register_child(std::to_string(this->children().size()), *layer);
  }

  /// The layers from number `I` on.
  template <std::size_t I, class Input>
  [[nodiscard]] auto run(Input&& x, Execution<Space> const& exec)
  {
    if constexpr (I == sizeof...(Rest) + 1) {
      return std::forward<Input>(x);
    } else {
      using Layer = std::tuple_element_t<I, decltype(layers_)>;
      static_assert(detail::is_input<typename Layer::element_type, Input, Space>::value,
                    "Sequential: a layer does not take what the layer before it returns");
      return run<I + 1>(std::get<I>(layers_)->forward(x, exec), exec);
    }
  }

  std::tuple<std::unique_ptr<First>, std::unique_ptr<Rest>...> layers_;
};

template <class First, class... Rest>
Sequential(std::unique_ptr<First>, std::unique_ptr<Rest>...)
    -> Sequential<First::Tensor::dim, typename First::Tensor::scalar, typename First::Tensor::space, First,
                  Rest...>;

}  // namespace nn
}  // namespace v0
}  // namespace tessera
