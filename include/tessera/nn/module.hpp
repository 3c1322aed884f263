// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/detail/layer_arguments.hpp>
#include <tessera/nn/parameter.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The name of something called `name` in what is called `prefix`; either may be empty.
[[nodiscard]] inline std::string join_names(std::string const& prefix, std::string const& name)
{
  return prefix.empty() || name.empty() ? prefix + name : prefix + '.' + name;
}

}  // namespace detail

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

  /// Every parameter and buffer of this module and those below it, in order of registration, own ones first.
  /// @param prefix  put before every name
  [[nodiscard]] std::vector<ParameterView> parameters(std::string const& prefix = {}) const
  {
    std::vector<ParameterView> result;
    visit_parameters(prefix, [&](std::string const& before, Registered const& own) {
      result.push_back(own.view(before));
    });
    return result;
  }
  /// The same for who writes them: an optimizer, a loader, a collective. parameters() is for who only reads.
  [[nodiscard]] std::vector<WritableParameter> writable_parameters(std::string const& prefix = {})
  {
    std::vector<WritableParameter> result;
    visit_parameters(prefix, [&](std::string const& before, Registered const& own) {
      result.emplace_back(own.view(before), *own.parameter);
    });
    return result;
  }

  /// The states of the random number generators of this module and those below it, by name: what a checkpoint
  /// of a training keeps besides parameters.
  [[nodiscard]] std::vector<std::pair<std::string, std::uint64_t*>> random_states(
      std::string const& prefix = {})
  {
    std::vector<std::pair<std::string, std::uint64_t*>> result;
    visit_modules(prefix, [&](std::string const& before, ModuleBase const& module) {
      for (auto const& own : module.random_states_) { result.emplace_back(before + own.name, own.state); }
    });
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
  /// To be called in the constructor of a layer that has parameters: `name` as a checkpoint has it, without
  /// those of the modules around it. `parameter` must stay where it is: what it is at the time counts.
  /// @param kernel_size  of a ParameterRole::conv_weight, one number per axis
  void register_parameter(std::string name, ParameterRole role, ParameterBase& parameter,
                          std::vector<int> kernel_size = {})
  {
    parameters_.push_back({std::move(name), role, std::move(kernel_size), &parameter});
  }
  /// To be called in the constructor of a module that has others as members, for each of them in the order
  /// of a checkpoint: names of its parameters become `name.weight`, ..., and train(), tune(), calibrate()
  /// and io::load() reach it. Members are declared before they are registered.
  /// @param name  may have dots; empty: parameters of `child` are called as if they were this module's own
  /// @throws invalid_argument  another child has that name
  void register_child(std::string name, ModuleBase& child)
  {
    for (auto const& [taken, other] : children_) {
      detail::expects(taken != name, "register_child: there is a child \"", name, "\" already");
    }
    children_.emplace_back(std::move(name), &child);
    std::uint64_t next = 0;
    visit_modules({}, [&](std::string const&, ModuleBase const& module) {
      for (auto const& own : module.random_states_) {
        if (own.place != nullptr) { *own.place = next++; }
      }
    });
  }
  /// To be called in the constructor of a layer that draws random numbers: `state` is all that the next ones
  /// follow from, besides `place`. Both stay where they are.
  /// @param place  of a layer that was given no seed of its own: set to how many of those the network has before
  ///               it, in order of registration, so that layers made alike draw differently; or null
  void register_random_state(std::string name, std::uint64_t& state, std::uint64_t* place = nullptr)
  {
    random_states_.push_back({std::move(name), &state, place});
  }

 private:
  struct Registered {
    std::string name;
    ParameterRole role;
    std::vector<int> kernel_size;
    ParameterBase* parameter;

    [[nodiscard]] ParameterView view(std::string const& prefix) const
    {
      return {prefix + name,          role,        parameter->dtype(),
              parameter->shape(),     kernel_size, parameter->size(),
              parameter->on_device(), parameter};
    }
  };

  struct RandomState {
    std::string name;
    std::uint64_t* state;
    std::uint64_t* place;
  };

  /// Calls `visit(prefix, registered)` for the parameters of this module and those below it.
  template <class Visit>
  void visit_parameters(std::string const& prefix, Visit const& visit) const
  {
    visit_modules(prefix, [&](std::string const& before, ModuleBase const& module) {
      for (auto const& own : module.parameters_) { visit(before, own); }
    });
  }
  /// Calls `visit(prefix, module)` for this module and those below it.
  template <class Visit>
  void visit_modules(std::string const& prefix, Visit const& visit) const
  {
    visit(prefix, *this);
    for (auto const& [name, child] : children_) {
      child->visit_modules(name.empty() ? prefix : prefix + name + '.', visit);
    }
  }

  std::vector<Registered> parameters_;
  std::vector<RandomState> random_states_;
  std::vector<std::pair<std::string, ModuleBase*>> children_;
  bool training_ = false;
};

/// A module from one sparse tensor to one.
template <int Dim, class Scalar, class Space = Device>
class Module : public ModuleBase, private detail::layer::LayerArguments<Dim, Scalar, Space> {
 public:
  using Tensor = SparseTensor<Dim, Scalar, Space>;

  [[nodiscard]] virtual Tensor forward(Tensor const& x, Execution<Space> const& exec) = 0;
  [[nodiscard]] Tensor operator()(Tensor const& x, Execution<Space> const& exec) { return forward(x, exec); }
};

/// A module whose type only its factory knows: what a Registry builds.
template <int Dim, class Scalar, class Space = Device>
using ModulePointer = std::unique_ptr<Module<Dim, Scalar, Space>>;

}  // namespace nn
}  // namespace v0
}  // namespace tessera
