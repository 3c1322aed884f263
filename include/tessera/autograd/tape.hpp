// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/autograd/detail/gradient_store.hpp>
#include <tessera/autograd/detail/watched.hpp>
#include <tessera/core/recorder.hpp>
#include <tessera/ops/detail/known_variables.hpp>
#include <tessera/ops/record.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <typeindex>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {

/// Records what was computed from watched parameters and tensors, and differentiates it.
///
///     Tape<Space> tape;
///     tape.watch(model);                                            // its parameters, but frozen ones
///     auto const loss = ...model.forward(x, exec.with_recorder(tape))...;
///     tape.backward(loss, exec);                                    // adds to each Parameter::grad()
///
/// Only operations on what is watched, and on what came of it, are kept, with the values that their gradients
/// read. backward() runs them from the last to the first, gives back each one's values as it has run, and
/// leaves the tape empty. Gradients of parameters are added to what is there, those of tensors are made anew;
/// sums are in the order of the records, so that a step has the same bits on every run.
///
/// A tape serves one thread. What it watches must live as long as it is recorded to.
template <class Space = Device>
class Tape final : public Recorder {
 public:
  /// Told of each watched parameter in each backward(): after the last operation that adds to its gradient,
  /// in the order of these; at the end of those that no gradient reached. Work on the gradient follows on
  /// `exec`.
  using ParameterCallback = std::function<void(VariableId parameter, Execution<Space> const& exec)>;

  /// Keeps a tape from recording while it lives: what runs meanwhile is constant for the gradient.
  class Pause {
   public:
    explicit Pause(Tape& tape) : tape_{tape} { ++tape_.pauses_; }
    Pause(Pause const&) = delete;
    Pause& operator=(Pause const&) = delete;
    ~Pause() { --tape_.pauses_; }

   private:
    Tape& tape_;
  };

  // --- what to differentiate by

  /// The parameters of a model, but buffers and frozen ones; to be called again where some were frozen or
  /// freed.
  /// @tparam Scalar  of its weights; those of other layers are in it or in its accumulator
  /// @param prefix   put before every name
  /// @throws invalid_argument  a parameter is in another space or of another scalar
  template <class Scalar, class Model>
  void watch(Model& model, std::string const& prefix = {})
  {
    for (auto& parameter : model.writable_parameters(prefix)) {
      detail::with_typed<Scalar, Space>(parameter, [&](auto& typed, auto weight_scalar) {
        watch_parameter(typed, parameter.name, weight_scalar, parameter.is_trained());
      });
    }
  }
  /// The same of a model with `Tensor::scalar`, as modules have it.
  template <class Model, std::enable_if_t<detail::has_writable_parameters<Model>::value, int> = 0>
  void watch(Model& model, std::string const& prefix = {})
  {
    watch<typename Model::Tensor::scalar>(model, prefix);
  }
  /// One nn::Parameter, frozen or not.
  /// @param name  in errors
  template <class Parameter, std::enable_if_t<detail::is_parameter<Parameter>::value, int> = 0>
  void watch(Parameter& parameter, std::string name = "a parameter")
  {
    using T = std::remove_const_t<std::remove_pointer_t<decltype(std::as_const(parameter).data())>>;
    watch_parameter(parameter, std::move(name), detail::TypeIdentity<T>{}, true);
  }
  /// A tensor, matrix or dense tensor, an input for instance or a value that an operation makes, whose
  /// gradient() is then there after the next backward().
  template <class Value, std::enable_if_t<!detail::has_writable_parameters<Value>::value &&
                                              !detail::is_parameter<Value>::value,
                                          int> = 0>
  void watch(Value const& value)
  {
    detail::expects(value.id() != 0, "Tape: a value without elements cannot be watched");
    store_.want(value.id());
    watched_values_.insert(value.id());
  }

  // --- differentiating

  /// The gradients of a loss of one element.
  /// @throws invalid_argument  nothing recorded made the loss, or backward() has used that up; it has several
  ///     elements; an operation on the way has no gradient; a tensor or parameter that a gradient reads was
  ///     written since, or a tensor between the operation that made it and one that read it. Nothing was
  ///     added to any gradient then
  /// Cost: about twice that of the forward operations.
  /// Stream: enqueues on `exec`, does not wait where the operations did not.
  /// Determinism: the same bits on every run.
  template <class Value>
  void backward(Value const& loss, Execution<Space> const& exec)
  {
    using Of = detail::GradientOf<Value>;
    using T = std::remove_const_t<typename Of::Scalar>;
    auto const shape = Of::shape(loss);
    detail::expects(shape.size() == 1, "Tape: backward() of a value of ", shape.rows, " x ", shape.columns,
                    " elements; a loss has one, or give the gradient of the value");
    Matrix<T, Space> one{1, 1, exec};
    for_each(1, detail::StoreValue<T>{one.data(), static_cast<T>(1.0F)}, exec.without_recorder());
    seed(loss, std::move(one), exec);
    backward(exec);
  }
  /// The same from the gradient of any value, [rows, columns] in its scalar, which is copied.
  /// @throws invalid_argument  also: it is of another shape
  template <class Value>
  void backward(Value const& value, MatrixView<typename detail::GradientOf<Value>::Scalar const> const& grad,
                Execution<Space> const& exec)
  {
    add_gradient(value, grad, exec);
    backward(exec);
  }
  /// Adds to the gradient that backward(exec) starts with, for several losses or outputs.
  /// @throws invalid_argument  as backward()
  template <class Value>
  void add_gradient(Value const& value,
                    MatrixView<typename detail::GradientOf<Value>::Scalar const> const& grad,
                    Execution<Space> const& exec)
  {
    using T = std::remove_const_t<typename detail::GradientOf<Value>::Scalar>;
    auto const shape = detail::GradientOf<Value>::shape(value);
    detail::expects(shape.rows == grad.rows && shape.columns == grad.columns, "Tape: a gradient of ",
                    grad.rows, " x ", grad.columns, " for a value of ", shape.rows, " x ", shape.columns);
    seed(value, Matrix<T, Space>{copy(grad.data, grad.size(), exec), grad.rows, grad.columns}, exec);
  }
  /// From what add_gradient() was given.
  void backward(Execution<Space> const& exec);

  /// The gradient of a value that was watched, from the last backward().
  /// @throws invalid_argument  it was not watched, or no gradient reached it
  template <class Value>
  [[nodiscard]] auto gradient(Value const& value) const
  {
    using T = std::remove_const_t<typename detail::GradientOf<Value>::Scalar>;
    auto const found = gradients_.find(value.id());
    detail::expects(
        found != gradients_.end(),
        "Tape: there is no gradient of this value; watch() it before it is used, and let the loss "
        "depend on it");
    detail::expects(found->second.type == std::type_index{typeid(T)},
                    "Tape: the gradient of this value is of "
                    "another type");
    return detail::ShareMatrix::share(*std::static_pointer_cast<Matrix<T, Space>>(found->second.matrix));
  }
  /// Whether gradient() has one.
  template <class Value>
  [[nodiscard]] bool has_gradient(Value const& value) const
  {
    return gradients_.count(value.id()) > 0;
  }
  /// Throws unless the last backward() reached the parameter of this name.
  void expect_gradient(std::string const& name) const
  {
    for (auto const& watched : parameters_) {
      if (watched.name != name) { continue; }
      detail::expects(store_.is_reached(watched.id), "Tape: no gradient reached parameter \"", name,
                      "\"; the loss does not depend on it");
      return;
    }
    detail::fail("Tape: no parameter \"", name, "\" is watched; it is frozen, or watch() was not called");
  }
  /// The names of the watched parameters that the last backward() did not reach.
  [[nodiscard]] std::vector<std::string> unreached_parameters() const
  {
    std::vector<std::string> result;
    for (auto const& watched : parameters_) {
      if (!store_.is_reached(watched.id)) { result.push_back(watched.name); }
    }
    return result;
  }

  /// Has `callback` told of parameters; an empty one ends it.
  void on_parameter_done(ParameterCallback callback) { callback_ = std::move(callback); }

  // --- recording

  void record(std::shared_ptr<OperationRecord const> operation) override;
  /// Forgets what was recorded, the values that were watched and their gradients; parameters stay watched.
  void reset();
  /// Operations that are recorded now.
  [[nodiscard]] std::size_t num_operations() const noexcept { return nodes_.size(); }

 private:
  struct Node {
    std::shared_ptr<OperationRecord const> operation;
    ops::ReplayableRecord<Space> const* record;  // the same, or null where it is of a kind without gradients
    bool reads_used_up;                          // a value of a graph that backward() has used up
    bool reads_written;                          // one that was written after it was made or read before
    bool is_reached = false;
  };
  struct WatchedParameter {
    VariableId id;
    std::string name;
  };
  using LastReaders = std::unordered_map<VariableId, std::size_t>;

  template <class Parameter, class WeightScalar>
  void watch_parameter(Parameter& parameter, std::string name, WeightScalar weight_scalar, bool is_trained);
  template <class Value, class T>
  void seed(Value const& value, Matrix<T, Space>&& grad, Execution<Space> const& exec);
  [[nodiscard]] LastReaders check_and_mark();
  void run(LastReaders const& last_readers, Execution<Space> const& exec);

  friend struct detail::TapeAccess;

  detail::GradientStore<Space> store_;
  std::vector<Node> nodes_;
  std::vector<WatchedParameter> parameters_;
  std::unordered_set<VariableId> watched_values_;
  detail::KnownVariables known_;            // what the operations made and read, as it was then
  std::unordered_set<VariableId> used_up_;  // what the operations of the last backward() made
  typename detail::GradientStore<Space>::Entries gradients_;  // of watched values, from the last backward()
  ParameterCallback callback_;
  int pauses_ = 0;
  bool is_running_ = false;
};

}  // namespace v0
}  // namespace tessera

#include <tessera/autograd/detail/tape_run.hpp>  // IWYU pragma: export
