// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/autograd/tape.hpp>
#include <tessera/ops/detail/known_variables.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Keeps what a block was made of by names alone, so that its values are given back as it runs.
template <class Space>
class BlockRecorder final : public Recorder {
 public:
  using Operations = std::vector<std::shared_ptr<ops::ReplayableRecord<Space> const>>;

  template <class... Inputs>
  explicit BlockRecorder(Inputs const&... x)
  {
    (known_.add(x.id(), x.version()), ...);
  }

  void record(std::shared_ptr<OperationRecord const> operation) override
  {
    auto const* const record = dynamic_cast<ops::ReplayableRecord<Space> const*>(operation.get());
    expects(record != nullptr, "checkpoint: ", operation->name(), " cannot be run again");
    expects(record->obstacle() == nullptr, "checkpoint: ", record->name(),
            " cannot be run again: ", record->obstacle() != nullptr ? record->obstacle() : "");
    auto const inputs = record->inputs();
    auto const versions = record->input_versions();
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      expects(
          known_.has(inputs[i]), "checkpoint: ", record->name(),
          " reads a tensor that the block neither was given nor made; pass it to checkpoint() as an input");
      expects(known_.read(inputs[i], versions[i]), "checkpoint: ", record->name(),
              " reads a tensor that was written after it was made, by no recorded operation");
    }
    auto const outputs = record->outputs();
    auto const made = record->output_versions();
    for (std::size_t i = 0; i < outputs.size(); ++i) { known_.add(outputs[i], made[i]); }
    for (auto const id : record->parameters()) {
      if (std::find(parameters_.begin(), parameters_.end(), id) == parameters_.end()) {
        parameters_.push_back(id);
      }
    }
    operations_.push_back(record->recomputation());
  }
  /// Whether the block's operations made a value, and made it as it is.
  template <class Value>
  [[nodiscard]] bool made(Value const& y)
  {
    VariableId const id = y.id();
    if (!known_.has(id) || !known_.read(id, y.version())) { return false; }
    return std::any_of(operations_.begin(), operations_.end(), [&](auto const& operation) {
      auto const outputs = operation->outputs();
      return std::find(outputs.begin(), outputs.end(), id) != outputs.end();
    });
  }
  [[nodiscard]] Operations take() { return std::move(operations_); }
  [[nodiscard]] std::vector<VariableId> take_parameters() { return std::move(parameters_); }

 private:
  KnownVariables known_;
  Operations operations_;
  std::vector<VariableId> parameters_;
};

/// `y = block(x...)`, of which the inputs alone are kept.
template <class Space, class Output, class... Inputs>
class CheckpointRecord final
    : public ops::FunctionRecord<CheckpointRecord<Space, Output, Inputs...>, Space, Output, Inputs...> {
 public:
  CheckpointRecord(BlockRecorder<Space>&& block, Output const& y, Inputs const&... x)
      : CheckpointRecord::FunctionRecord{ops::Recorded<Output>{y}, ops::Recorded<Inputs>{x}...},
        operations_{block.take()},
        parameters_{block.take_parameters()},
        given_{x.id()...},
        made_{y.id()}
  {}

  [[nodiscard]] char const* name() const noexcept override { return "checkpoint"; }
  [[nodiscard]] std::vector<VariableId> parameters() const override { return parameters_; }
  [[nodiscard]] Output compute(Inputs const&... x, Execution<Space> const& exec) const
  {
    ops::Replay<Space> replay;
    std::size_t i = 0;
    (replay.set(given_[i++], x), ...);
    for (auto const& operation : operations_) { operation->run(replay, exec); }
    return second_handle(replay.template get<Output>(made_));
  }
  void backward(ops::Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    differentiate(static_cast<GradientStore<Space>&>(gradients), exec, std::index_sequence_for<Inputs...>{});
  }
  void give_back_unread(ops::Gradients<Space> const& /*gradients*/) { this->output().give_back(); }
  void expect_unchanged() const override
  {
    CheckpointRecord::FunctionRecord::expect_unchanged();
    for (auto const& operation : operations_) {
      operation->expect_unchanged();
      operation->expect_parameters_unchanged();
    }
  }

 private:
  template <std::size_t... I>
  void differentiate(GradientStore<Space>& outer, Execution<Space> const& exec,
                     std::index_sequence<I...> /*inputs*/) const
  {
    Tape<Space> inner;
    auto& store = TapeAccess::store(inner);
    store.share_targets(outer);
    auto const for_each_wanted = [&](auto const& use) {
      ((outer.wants(value<I>().id()) ? use(value<I>()) : void()), ...);
    };
    for_each_wanted([&](auto const& x) { inner.watch(x); });
    auto const y = compute(value<I>()..., exec.with_recorder(inner));
    inner.backward(y, outer.template of<typename GradientOf<Output>::Scalar>(this->output().id()), exec);
    for (auto const parameter : store.reached()) { outer.reach(parameter); }
    for_each_wanted([&](auto const& x) {
      if (inner.has_gradient(x)) { outer.add(x.id(), inner.gradient(x), exec); }
    });
  }
  template <std::size_t I>
  [[nodiscard]] auto const& value() const
  {
    return *this->template input<I>().value();
  }

  typename BlockRecorder<Space>::Operations operations_;
  std::vector<VariableId> parameters_;
  std::vector<VariableId> given_;  // as the operations know the inputs
  VariableId made_;                // and the output
};

}  // namespace detail

/// `block(inputs..., exec)`, whose inside is not kept for backward() but computed once more there: memory for
/// time.
///
/// What the block computes is the same both times: dropout uses the seeds it had, running statistics are
/// updated once. Every tensor that it reads is an input or made in it; parameters are as everywhere. Where
/// the recorder of `exec` is no Tape, the block simply runs.
/// @param block   a module, or a function of the inputs and an execution; it runs once, here, and returns one
///                tensor, matrix or dense tensor that it made
/// @throws invalid_argument  an operation of the block cannot be run again, or reads another tensor; the
///     output is not made by a recorded operation
/// Cost: the block now and once more in backward(). Stream, determinism: those of the block.
/// Source: Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016.
template <class Space, class Block, class... Inputs>
[[nodiscard]] auto checkpoint(Execution<Space> const& exec, Block&& block, Inputs const&... inputs)
{
  using Output = std::decay_t<decltype(block(inputs..., exec))>;
  auto* const tape = dynamic_cast<Tape<Space>*>(exec.recorder());
  if (tape == nullptr) { return block(inputs..., exec); }
  detail::BlockRecorder<Space> recorder{inputs...};
  Output y = block(inputs..., exec.with_recorder(recorder));
  detail::expects(recorder.made(y), "checkpoint: the block returns a value that none of its operations made");
  tape->record(std::make_shared<detail::CheckpointRecord<Space, Output, Inputs...>>(std::move(recorder), y,
                                                                                    inputs...));
  return y;
}

}  // namespace v0
}  // namespace tessera
