// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/detail/layer_arguments.hpp>
#include <tessera/nn/parameter.hpp>
#include <tessera/ops/combine.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
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
  /// @throws invalid_argument  the module or one below it is fused
  [[nodiscard]] std::vector<WritableParameter> writable_parameters(std::string const& prefix = {})
  {
    expect_unfused("writable_parameters");
    std::vector<WritableParameter> result;
    visit_parameters(prefix, [&](std::string const& before, Registered const& own) {
      result.emplace_back(own.view(before), *own.parameter);
    });
    return result;
  }

  /// The states of the random number generators of this module and those below it, by name: what a checkpoint of a
  /// training keeps besides parameters.
  [[nodiscard]] std::vector<std::pair<std::string, std::uint64_t*>> random_states(
      std::string const& prefix = {})
  {
    std::vector<std::pair<std::string, std::uint64_t*>> result;
    visit_modules(prefix, [&](std::string const& before, ModuleBase const& module) {
      for (auto const& [name, state] : module.random_states_) { result.emplace_back(before + name, state); }
    });
    return result;
  }

  /// Throws where fuse() has folded layers into parameters of this module or of one below it, which then are no
  /// longer a checkpoint's: the one rule for who loads, saves, trains or otherwise writes.
  /// @param who  does it: "load"
  void expect_unfused(char const* who) const
  {
    detail::expects(!fused_, who,
                    ": the module is fused for inference, so its parameters are no longer those "
                    "of a checkpoint; do it before fuse()");
    for (auto const& [name, child] : children_) { child->expect_unfused(who); }
  }

  /// Sets this module and those below it to training (batch statistics, dropout) or evaluation (the default).
  /// @throws invalid_argument  training of a fused module; nothing changes then
  void train(bool on = true)
  {
    if (on) { expect_unfused("train"); }
    training_ = on;
    for (auto const& [name, child] : children_) { child->train(on); }
  }
  void eval() { train(false); }
  [[nodiscard]] bool is_training() const noexcept { return training_; }

  /// Whether fuse() has rewritten parameters below this module, which then are no longer a checkpoint's.
  [[nodiscard]] bool is_fused() const noexcept { return fused_; }

  /// The direct children with their names.
  [[nodiscard]] std::vector<std::pair<std::string, ModuleBase*>> const& children() const noexcept
  {
    return children_;
  }

  /// Joins layers as nn::fuse() says: those of this module where it knows their order, and those of its
  /// children. Use nn::fuse().
  template <class Space>
  void fuse_below(Execution<Space> const& exec);

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
  /// of a checkpoint: names of its parameters become `name.weight`, ..., and train(), fuse(), tune(),
  /// calibrate() and io::load() reach it. Members are declared before they are registered.
  /// @param name  may have dots; empty: parameters of `child` are called as if they were this module's own
  /// @throws invalid_argument  another child has that name
  void register_child(std::string name, ModuleBase& child)
  {
    for (auto const& [taken, other] : children_) {
      detail::expects(taken != name, "register_child: there is a child \"", name, "\" already");
    }
    children_.emplace_back(std::move(name), &child);
  }
  /// To be called in the constructor of a layer that draws random numbers: `state` is all that the next ones follow from,
  /// and stays where it is.
  void register_random_state(std::string name, std::uint64_t& state)
  {
    random_states_.emplace_back(std::move(name), &state);
  }
  void mark_fused() noexcept { fused_ = true; }

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
  std::vector<std::pair<std::string, std::uint64_t*>> random_states_;
  std::vector<std::pair<std::string, ModuleBase*>> children_;
  bool training_ = false;
  bool fused_ = false;
};

/// A module that knows the order of its layers, and so can join them.
template <class Space>
class Fusable {
 public:
  virtual ~Fusable() = default;
  /// Joins the layers of this module and of those below it. Use nn::fuse().
  virtual void fuse(Execution<Space> const& exec) = 0;
};

template <class Space>
void ModuleBase::fuse_below(Execution<Space> const& exec)
{
  mark_fused();
  for (auto const& [name, child] : children_) {
    if (auto* const layer = dynamic_cast<Fusable<Space>*>(child); layer != nullptr) {
      layer->fuse(exec);
    } else {
      child->fuse_below(exec);
    }
  }
}

/// A module from one sparse tensor to one.
template <int Dim, class Scalar, class Space = Device>
class Module : public ModuleBase,
               public Fusable<Space>,
               private detail::layer::LayerArguments<Dim, Scalar, Space> {
 public:
  using Tensor = SparseTensor<Dim, Scalar, Space>;

  [[nodiscard]] virtual Tensor forward(Tensor const& x, Execution<Space> const& exec) = 0;
  [[nodiscard]] Tensor operator()(Tensor const& x, Execution<Space> const& exec) { return forward(x, exec); }

  /// `activation(forward(x) + residual)`, in one pass over the features where the module can; activation and
  /// slope are those of `epilogue`.
  /// @throws invalid_argument  the residual stands on other voxels than the output, or has other channels
  [[nodiscard]] virtual Tensor forward_add(Tensor const& x, Tensor const& residual,
                                           Epilogue<Scalar> const& epilogue, Execution<Space> const& exec)
  {
    return detail::add_activate(forward(x, exec), residual, epilogue.activation, epilogue.slope,
                                "residual block", exec);
  }

  /// `forward(cat({a, b}))`, without the copy where the module can: `a` [rows, m] and `b` [rows, n] on the
  /// same voxels, for a module of m + n input channels.
  /// @throws invalid_argument  the two stand on different voxels, and what forward() throws
  /// Cost: that of forward(), and a copy of both where takes_pair() is false.
  /// Stream: as forward().
  /// Determinism: as forward().
  [[nodiscard]] Tensor forward_cat(Tensor const& a, Tensor const& b, Execution<Space> const& exec)
  {
    return takes_pair(a, b, exec) ? forward_pair(a, b, exec) : forward(cat({a, b}, exec), exec);
  }

  /// @name For forward_cat()
  /// @{

  /// Whether forward_pair() reads both tensors as they are.
  [[nodiscard]] virtual bool takes_pair(Tensor const& /*a*/, Tensor const& /*b*/,
                                        Execution<Space> const& /*exec*/) const
  {
    return false;
  }
  [[nodiscard]] virtual Tensor forward_pair(Tensor const& a, Tensor const& b, Execution<Space> const& exec)
  {
    return forward(cat({a, b}, exec), exec);
  }
  /// @}

  /// The activation that this module is, if it is one.
  [[nodiscard]] virtual Epilogue<Scalar> as_epilogue() const { return {}; }

  /// @name For nn::fuse()
  /// @{

  /// Joins the layers of this module, where it has several. The default joins those of its children.
  void fuse(Execution<Space> const& exec) override { this->fuse_below(exec); }

  /// From now on puts out `scale[c] * y[i, c] + shift[c]`; false where the module cannot, or its scalar does not
  /// hold what weight and bias would be. `scale` and `shift` [channels] are in `Space`.
  virtual bool scale_output(accumulator_t<Scalar> const* /*scale*/, accumulator_t<Scalar> const* /*shift*/,
                            Execution<Space> const& /*exec*/)
  {
    return false;
  }

  /// From now on puts out the activation of `epilogue` of what it did; false where the module cannot.
  virtual bool activate_output(Epilogue<Scalar> const& /*epilogue*/) { return false; }

  /// Leaves its work to `before`, whose output it reads and nobody else does, and hands on what it is given;
  /// false where it cannot.
  virtual bool fuse_into(Module& /*before*/, Execution<Space> const& /*exec*/) { return false; }
  /// @}
};

/// Rewrites a module in evaluation for faster inference: batch normalisation goes into the convolution before
/// it, `weight' = weight * s`, `bias' = bias * s + b - mean * s` with `s = gamma / sqrt(variance + eps)`;
/// activations and sums of residual blocks too. Weights are then packed as the space's kernels read them.
///
/// Outputs stay the same up to the rounding of the new weights. Load a checkpoint before: the parameters of a
/// fused module are no longer a checkpoint's (ModuleBase::expect_unfused()). Names and shapes of parameters stay; fusing twice changes nothing.
///
/// Norms and activations are folded where one module knows their order: in a Sequential and the blocks. A
/// network of one's own that calls its members one by one has each member fused by itself.
/// @throws invalid_argument  the module is in training, or in another space than `exec`
/// A norm whose weights or shifts would not be finite in the layer's scalar, as a half is not above 65504, stays
/// a layer of its own. What is folded is rounded once more: to nearest, below 2^-14 in a half to a multiple of
/// 2^-24.
/// Cost: three passes over the weights.
/// Stream: enqueues a few kernels per layer, and waits once for each norm.
/// Determinism: same parameters, same result.
/// Source: batch-norm folding (Jacob et al., CVPR 2018, and every inference engine).
template <class Space>
void fuse(ModuleBase& network, Execution<Space> const& exec)
{
  detail::expects(!network.is_training(), "fuse: the module is in training; call eval()");
  for (auto const& parameter : network.parameters()) {
    detail::expects(parameter.on_device == std::is_same_v<Space, Device>, "fuse: the module is on the ",
                    parameter.on_device ? "device" : "host", ", the execution is not");
  }
  if (auto* const whole = dynamic_cast<Fusable<Space>*>(&network); whole != nullptr) {
    whole->fuse(exec);
  } else {
    network.fuse_below(exec);
  }
}

/// A module whose type only its factory knows: what a Registry builds.
template <int Dim, class Scalar, class Space = Device>
using ModulePointer = std::unique_ptr<Module<Dim, Scalar, Space>>;

}  // namespace nn
}  // namespace v0
}  // namespace tessera
