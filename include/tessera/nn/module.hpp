// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/combine.hpp>
#include <tessera/nn/detail/layer_arguments.hpp>
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
  /// @throws invalid_argument  training of a fused module
  void train(bool on = true)
  {
    detail::expects(!(on && fused_), "train: the module is fused for inference; train one that is not");
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
  void mark_fused() noexcept { fused_ = true; }

 private:
  std::vector<ParameterView> parameters_;
  std::vector<std::pair<std::string, ModuleBase*>> children_;
  bool training_ = false;
  bool fused_ = false;
};

/// A module from one sparse tensor to one.
template <int Dim, class Scalar, class Space = Device>
class Module : public ModuleBase, private detail::LayerArguments<Dim, Scalar, Space> {
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
    using Function = detail::AddActivateFunction<accumulator_t<Scalar>>;
    return detail::map_both(forward(x, exec), residual, Function{epilogue.activation, epilogue.slope},
                            "residual block", exec);
  }

  /// `forward(cat({a, b}))`, without the copy where the module can: `a` [rows, m] and `b` [rows, n] on the
  /// same voxels, for a module of m + n input channels.
  /// @throws invalid_argument  the two stand on different voxels, and what forward() says
  /// Cost: that of forward(), and a copy of both where takes_pair() is false. Stream: as forward().
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
  virtual void fuse(Execution<Space> const& exec) { fuse_children(*this, exec); }

  /// From now on puts out `scale[c] * y[i, c] + shift[c]`; false where the module cannot. `scale` and `shift`
  /// [channels] lie in `Space`.
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

 protected:
  /// fuse() of everything below `parent`, also below modules of other kinds.
  void fuse_children(ModuleBase& parent, Execution<Space> const& exec)
  {
    this->mark_fused();
    for (auto const& [name, child] : parent.children()) {
      if (auto* const layer = dynamic_cast<Module*>(child); layer != nullptr) {
        layer->fuse(exec);
      } else {
        fuse_children(*child, exec);
      }
    }
  }
};

/// Rewrites a module in evaluation for faster inference: batch normalisation goes into the convolution before
/// it, `weight' = weight * s`, `bias' = bias * s + b - mean * s` with `s = gamma / sqrt(variance + eps)`;
/// activations and sums of residual blocks too. Weights are then laid out as the space's kernels read them,
/// once more beside the parameters.
///
/// Outputs stay the same up to the rounding of the new weights. Load a checkpoint before: a fused module can
/// neither be loaded nor trained. Names and shapes of parameters stay; fusing twice changes nothing.
/// @throws invalid_argument  the module is in training
/// Cost: two passes over the weights, and their memory once more. Stream: enqueues a few kernels a layer,
/// does not wait. Determinism: same parameters, same result. Source: batch-norm folding (Jacob et al., CVPR
/// 2018, and every inference engine).
template <int Dim, class Scalar, class Space>
void fuse(Module<Dim, Scalar, Space>& network, Execution<Space> const& exec)
{
  detail::expects(!network.is_training(), "fuse: the module is in training; call eval()");
  network.fuse(exec);
}

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
  /// @throws invalid_argument  there is none, its name is taken, or the modules have been fused
  void append(std::unique_ptr<Module<Dim, Scalar, Space>> layer, std::string name = {})
  {
    detail::expects(layer != nullptr, "Sequential: there is no module to append");
    detail::expects(!this->is_fused(), "Sequential: fused for inference; append before that");
    if (name.empty()) { name = std::to_string(layers_.size()); }
    for (auto const& [taken, child] : this->children()) {
      detail::expects(taken != name, "Sequential: there is a module \"", name, "\" already");
    }
    this->register_child(std::move(name), *layer);
    layers_.push_back(std::move(layer));
  }

  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
  {
    Tensor y = x;
    for (auto const& layer : layers_) { y = layer->forward(y, exec); }
    return y;
  }

  [[nodiscard]] Tensor forward_add(Tensor const& x, Tensor const& residual, Epilogue<Scalar> const& epilogue,
                                   Execution<Space> const& exec) override
  {
    if (layers_.empty()) { return Module<Dim, Scalar, Space>::forward_add(x, residual, epilogue, exec); }
    return add_from(0, x, residual, epilogue, exec);
  }

  [[nodiscard]] bool takes_pair(Tensor const& a, Tensor const& b, Execution<Space> const& exec) const override
  {
    return !layers_.empty() && layers_.front()->takes_pair(a, b, exec);
  }

  [[nodiscard]] Tensor forward_pair(Tensor const& a, Tensor const& b, Execution<Space> const& exec) override
  {
    Tensor y = layers_.front()->forward_pair(a, b, exec);
    for (std::size_t i = 1; i < layers_.size(); ++i) { y = layers_[i]->forward(y, exec); }
    return y;
  }

  /// `forward_add(cat({a, b}), residual, epilogue)`, without the copy where the first layer can.
  /// @throws invalid_argument  the tensors stand on different voxels, and what forward_add() says
  /// Cost, stream, determinism: as forward_cat() and forward_add().
  [[nodiscard]] Tensor forward_pair_add(Tensor const& a, Tensor const& b, Tensor const& residual,
                                        Epilogue<Scalar> const& epilogue, Execution<Space> const& exec)
  {
    if (last_layer() == 0 || !takes_pair(a, b, exec)) {
      return forward_add(cat({a, b}, exec), residual, epilogue, exec);
    }
    return add_from(1, layers_.front()->forward_pair(a, b, exec), residual, epilogue, exec);
  }

  void fuse(Execution<Space> const& exec) override
  {
    std::size_t target = 0;  // the last layer that still does something
    for (std::size_t i = 1; i < layers_.size(); ++i) {
      if (!layers_[i]->fuse_into(*layers_[target], exec)) { target = i; }
    }
    if (!layers_.empty()) { num_fused_at_end_ = layers_.size() - 1 - target; }
    this->fuse_children(*this, exec);
  }
  [[nodiscard]] std::size_t size() const noexcept { return layers_.size(); }
  [[nodiscard]] Module<Dim, Scalar, Space>& operator[](std::size_t i) { return *layers_.at(i); }

 private:
  /// The last layer that still does something. @pre  there are layers
  [[nodiscard]] std::size_t last_layer() const noexcept { return layers_.size() - 1 - num_fused_at_end_; }

  /// forward_add() from layer `first` on.
  [[nodiscard]] Tensor add_from(std::size_t first, Tensor const& x, Tensor const& residual,
                                Epilogue<Scalar> const& epilogue, Execution<Space> const& exec)
  {
    Tensor y = x;
    for (std::size_t i = first; i < last_layer(); ++i) { y = layers_[i]->forward(y, exec); }
    return layers_[last_layer()]->forward_add(y, residual, epilogue, exec);
  }

  std::vector<std::unique_ptr<Module<Dim, Scalar, Space>>> layers_;
  std::size_t num_fused_at_end_ = 0;  // layers that those before them do the work of
};

}  // namespace nn
}  // namespace v0
}  // namespace tessera
