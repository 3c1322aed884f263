// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/autograd/tape.hpp>
#include <tessera/conv/convolution_backward.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Sets a flag while it lives.
class FlagScope {
 public:
  explicit FlagScope(bool& flag) : flag_{flag} { flag_ = true; }
  FlagScope(FlagScope const&) = delete;
  FlagScope& operator=(FlagScope const&) = delete;
  ~FlagScope() { flag_ = false; }

 private:
  bool& flag_;
};

/// Calls `undo` when it goes, unless keep() was called.
template <class Undo>
class Rollback {
 public:
  explicit Rollback(Undo undo) : undo_{std::move(undo)} {}
  Rollback(Rollback const&) = delete;
  Rollback& operator=(Rollback const&) = delete;
  ~Rollback()
  {
    if (undoes_) { undo_(); }
  }
  void keep() noexcept { undoes_ = false; }

 private:
  Undo undo_;
  bool undoes_ = true;
};

}  // namespace detail

template <class Space>
template <class Parameter, class WeightScalar>
void Tape<Space>::watch_parameter(Parameter& parameter, std::string name, WeightScalar /*weight_scalar*/,
                                  bool is_trained)
{
  using Scalar = typename WeightScalar::type;
  using Sum = std::remove_pointer_t<decltype(parameter.grad(std::declval<Execution<Space> const&>()))>;
  auto const id = parameter.id();
  auto const of_this = [&](WatchedParameter const& watched) { return watched.id == id; };
  parameters_.erase(std::remove_if(parameters_.begin(), parameters_.end(), of_this), parameters_.end());
  store_.remove_target(id);
  if (!is_trained || parameter.size() == 0) { return; }
  parameters_.push_back({id, std::move(name)});
  void (*weight_gradient)() = nullptr;
  if constexpr (!std::is_void_v<Scalar>) {
    ops::WeightGradientFunction<Scalar, Space> const function =
        &convolution_backward_weight<ConvPolicy<>, Scalar, Sum, Space>;
    weight_gradient = reinterpret_cast<void (*)()>(function);
  }
  store_.set_target(
      id, {[&parameter](Execution<Space> const& exec) { return parameter.grad(exec); },
           std::type_index{typeid(Sum)}, parameter.size(), weight_gradient, std::type_index{typeid(Scalar)}});
}

template <class Space>
template <class Value, class T>
void Tape<Space>::seed(Value const& value, Matrix<T, Space>&& grad, Execution<Space> const& exec)
{
  auto const id = value.id();
  detail::expects(!is_running_,
                  "Tape: backward() was called inside backward(); gradients of gradients are not "
                  "computed");
  detail::expects(used_up_.count(id) == 0,
                  "Tape: backward() has used up the graph of this value; run the forward pass again");
  detail::expects(
      store_.wants(id),
      "Tape: this value does not depend on anything that is watched, by operations that the tape was "
      "told of: call watch() before them, and give them exec.with_recorder(tape)");
  store_.add(id, std::move(grad), exec.without_recorder());
}

template <class Space>
void Tape<Space>::record(std::shared_ptr<OperationRecord const> operation)
{
  detail::expects(!is_running_, "Tape: ", operation->name(),
                  " was recorded inside backward(); gradients of gradients are not computed");
  if (pauses_ > 0) { return; }
  bool reads_wanted = false;
  bool reads_used_up = false;
  for (auto const id : operation->inputs()) {
    reads_wanted = reads_wanted || store_.wants(id);
    reads_used_up = reads_used_up || used_up_.count(id) > 0;
  }
  for (auto const id : operation->parameters()) { reads_wanted = reads_wanted || store_.wants(id); }
  if (!reads_wanted && !reads_used_up) { return; }
  Node node{operation, dynamic_cast<ops::ReplayableRecord<Space> const*>(operation.get()), reads_used_up,
            false};
  if (node.record != nullptr) {
    auto const inputs = operation->inputs();
    auto const versions = node.record->input_versions();
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      bool const is_as_made = !store_.wants(inputs[i]) || known_.read(inputs[i], versions[i]);
      node.reads_written = node.reads_written || !is_as_made;
    }
    auto const outputs = operation->outputs();
    auto const made = node.record->output_versions();
    for (std::size_t i = 0; i < outputs.size(); ++i) { known_.add(outputs[i], made[i]); }
  }
  if (node.record != nullptr && node.record->has_backward()) {
    if (auto kept = node.record->for_backward(store_)) {
      node.record = kept.get();
      node.operation = std::move(kept);
    }
  }
  for (auto const id : operation->outputs()) { store_.want(id); }
  nodes_.push_back(std::move(node));
}

/// Marks the operations that a gradient reaches, and throws what is wrong with one of them.
/// @returns for each parameter the last of them, as backward() runs, that reads it
template <class Space>
typename Tape<Space>::LastReaders Tape<Space>::check_and_mark()
{
  std::unordered_set<VariableId> reached;
  for (auto const& entry : store_.gradients()) { reached.insert(entry.first); }
  LastReaders last_readers;
  for (auto i = nodes_.size(); i-- > 0;) {
    auto& node = nodes_[i];
    auto const outputs = node.operation->outputs();
    node.is_reached =
        std::any_of(outputs.begin(), outputs.end(), [&](VariableId id) { return reached.count(id) > 0; });
    if (!node.is_reached) { continue; }
    detail::expects(
        !node.reads_used_up, "Tape: ", node.operation->name(),
        " reads a value whose graph backward() has used up; give it the value's detached(), or run "
        "the forward pass again");
    detail::expects(!node.reads_written, "Tape: ", node.operation->name(),
                    " reads a value that was written since an operation made or read it, which has no "
                    "gradient; ops::differentiable() records computations of yours");
    detail::expects(node.record != nullptr && node.record->has_backward(), "Tape: ", node.operation->name(),
                    " has no gradient, and the loss depends on what it reads");
    node.record->expect_unchanged();
    for (auto const id : node.operation->inputs()) {
      if (store_.wants(id)) { reached.insert(id); }
    }
    for (auto const id : node.operation->parameters()) {
      if (store_.wants(id)) { last_readers[id] = i; }
    }
  }
  return last_readers;
}

template <class Space>
void Tape<Space>::run(LastReaders const& last_readers, Execution<Space> const& exec)
{
  detail::FlagScope const running{is_running_};
  detail::ThreadRecorderScope const unrecorded{nullptr};
  for (auto i = nodes_.size(); i-- > 0;) {
    auto node = std::move(nodes_[i]);
    nodes_.pop_back();
    // Reached, but without a gradient, is what only decides something: the scores that rows are pruned by.
    auto const outputs = node.operation->outputs();
    auto const has_gradient = [&](VariableId id) { return store_.gradients().count(id) > 0; };
    if (node.is_reached && std::any_of(outputs.begin(), outputs.end(), has_gradient)) {
      node.record->backward(store_, exec);
    }
    for (auto const id : outputs) {
      if (watched_values_.count(id) > 0) { store_.move_to(gradients_, id); }
      store_.drop(id);
      used_up_.insert(id);
    }
    if (!callback_) { continue; }
    for (auto const id : node.operation->parameters()) {
      auto const last = last_readers.find(id);
      if (last != last_readers.end() && last->second == i) { callback_(id, exec); }
    }
  }
  for (auto const id : watched_values_) { store_.move_to(gradients_, id); }
  if (!callback_) { return; }
  for (auto const& watched : parameters_) {
    if (last_readers.count(watched.id) == 0) { callback_(watched.id, exec); }
  }
}

template <class Space>
void Tape<Space>::backward(Execution<Space> const& exec)
{
  detail::expects(!is_running_,
                  "Tape: backward() was called inside backward(); gradients of gradients are not "
                  "computed");
  detail::Rollback drop_seeds{[&] { store_.drop_all(); }};
  detail::expects(!store_.gradients().empty(),
                  "Tape: backward() has no gradient to start with; add_gradient()");
  auto const last_readers = check_and_mark();
  drop_seeds.keep();

  store_.forget_reached();
  gradients_.clear();
  used_up_.clear();
  detail::Rollback forget{[&] { reset(); }};
  run(last_readers, exec.without_recorder());
  forget.keep();
  store_.drop_all();
  store_.unwant_variables();
  watched_values_.clear();
  known_ = {};
}

template <class Space>
void Tape<Space>::reset()
{
  nodes_.clear();
  watched_values_.clear();
  gradients_.clear();
  store_.drop_all();
  store_.unwant_variables();
  known_ = {};
}

}  // namespace v0
}  // namespace tessera
