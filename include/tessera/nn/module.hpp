// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/parameter.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace nn {

/// What every layer and network has: named parameters, named children, and whether it trains. A network is a
/// tree of these, and the names joined by dots are those of the corresponding PyTorch state_dict.
///
/// Children and parameters are registered once, in the constructor; modules are neither copied nor moved, so
/// the pointers registered stay good.
class ModuleBase {
 public:
  ModuleBase() = default;
  ModuleBase(ModuleBase const&) = delete;
  ModuleBase& operator=(ModuleBase const&) = delete;
  virtual ~ModuleBase() = default;

  /// Every parameter and buffer of this module and those below it, in order of registration, names prefixed.
  [[nodiscard]] std::vector<ParameterView> parameters(std::string const& prefix = {}) const
  {
    std::vector<ParameterView> result;
    for (auto const& own : parameters_) {
      result.push_back(own);
      result.back().name = prefix + own.name;
    }
    for (auto const& [name, child] : children_) {
      for (auto& view : child->parameters(prefix + name + ".")) { result.push_back(std::move(view)); }
    }
    return result;
  }

  /// Sets this module and those below it to training (batch statistics, dropout) or evaluation (the default).
  void train(bool on = true)
  {
    training_ = on;
    for (auto const& [name, child] : children_) { child->train(on); }
  }
  void eval() { train(false); }
  [[nodiscard]] bool is_training() const noexcept { return training_; }

  /// The direct children with their names.
  [[nodiscard]] std::vector<std::pair<std::string, ModuleBase*>> const& children() const noexcept
  {
    return children_;
  }

 protected:
  template <class T, class Space>
  void register_parameter(std::string name, ParameterRole role, Parameter<T, Space>& parameter, DType dtype,
                          std::vector<int> kernel_size = {})
  {
    parameters_.push_back({std::move(name), role, dtype, parameter.shape(), std::move(kernel_size),
                           parameter.data(), parameter.size(), std::is_same_v<Space, Device>});
  }
  void register_child(std::string name, ModuleBase& child)
  {
    children_.emplace_back(std::move(name), &child);
  }

 private:
  std::vector<ParameterView> parameters_;
  std::vector<std::pair<std::string, ModuleBase*>> children_;
  bool training_ = false;
};

/// A module from one sparse tensor to one.
template <int Dim, class Scalar, class Space = Device>
class Module : public ModuleBase {
 public:
  using Tensor = SparseTensor<Dim, Scalar, Space>;

  [[nodiscard]] virtual Tensor forward(Tensor const& x, Execution<Space> const& exec) = 0;
  [[nodiscard]] Tensor operator()(Tensor const& x, Execution<Space> const& exec) { return forward(x, exec); }
};

/// A module whose type only its maker knows: what a Registry builds.
template <int Dim, class Scalar, class Space = Device>
using ModulePointer = std::unique_ptr<Module<Dim, Scalar, Space>>;

/// Modules one after the other, named "0", "1", ... as PyTorch names them (or as told).
template <int Dim, class Scalar, class Space = Device>
class Sequential : public Module<Dim, Scalar, Space> {
 public:
  using typename Module<Dim, Scalar, Space>::Tensor;

  /// Appends a module made in place: `sequential.template add<Conv<3, float>>(options, exec)`.
  template <class Layer, class... Arguments>
  Layer& add(Arguments&&... arguments)
  {
    auto layer = std::make_unique<Layer>(std::forward<Arguments>(arguments)...);
    Layer& result = *layer;
    append(std::move(layer));
    return result;
  }

  /// Appends a module that is there already, of whatever type; named by its number, or as told.
  /// @throws invalid_argument  there is none
  void append(std::unique_ptr<Module<Dim, Scalar, Space>> layer, std::string name = {})
  {
    detail::expects(layer != nullptr, "Sequential: there is no module to append");
    this->register_child(name.empty() ? std::to_string(layers_.size()) : std::move(name), *layer);
    layers_.push_back(std::move(layer));
  }

  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
  {
    Tensor y = x;
    for (auto const& layer : layers_) { y = layer->forward(y, exec); }
    return y;
  }
  [[nodiscard]] std::size_t size() const noexcept { return layers_.size(); }
  [[nodiscard]] Module<Dim, Scalar, Space>& operator[](std::size_t i) { return *layers_.at(i); }

 private:
  std::vector<std::unique_ptr<Module<Dim, Scalar, Space>>> layers_;
};

}  // namespace nn
}  // namespace v0
}  // namespace tessera
