// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/detail/parameters_of.hpp>
#include <tessera/nn/detail/tracer.hpp>
#include <tessera/nn/traced_output.hpp>
#include <tessera/ops/record.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace nn {

/// What a traced model reads besides its input and parameters: tensors and matrices made before the call.
/// `trace(model, x, exec, TraceConstants<Host>().add(position_embedding))`
template <class Space>
class TraceConstants {
 public:
  /// A value, whose storage is kept.
  template <class Value>
  TraceConstants& add(Value const& value)
  {
    values_->set(value.id(), detail::Share<Value>::share(value));
    ids_.push_back(value.id());
    return *this;
  }
  [[nodiscard]] std::vector<VariableId> const& ids() const noexcept { return ids_; }
  [[nodiscard]] std::shared_ptr<ops::Replay<Space> const> values() const noexcept { return values_; }

 private:
  std::shared_ptr<ops::Replay<Space>> values_ = std::make_shared<ops::Replay<Space>>();
  std::vector<VariableId> ids_;
};

/// A model as the list of operations that its forward() was made of, which runs them again: trace() makes it.
/// It is a model itself, for a Plan for instance, and passes such as fuse() rewrite the list.
///
/// It refers to the parameters of the model that was traced, which must live as long and stay where it is.
template <class TensorType, class Output = TensorType>
class TracedModel {
 public:
  using Tensor = TensorType;
  using Space = typename Tensor::space;
  using Record = ops::ReplayableRecord<Space>;
  using Operations = std::vector<std::shared_ptr<Record const>>;
  struct Options {
    int in_channels;
  };

  /// Use trace().
  TracedModel(Operations operations, Tensor const& x, std::vector<VariableId> outputs,
              TraceConstants<Space> constants, std::vector<ParameterView> parameters = {})
      : input_{x.id()},
        outputs_{std::move(outputs)},
        constants_{std::move(constants)},
        parameters_{std::move(parameters)},
        options_{x.channels()}
  {
    replace(std::move(operations));
  }

  /// What the traced model's forward() gives of `x`, with the bits that the operations give. Features are
  /// given back after their last reader.
  /// @throws invalid_argument  x has other channels than the input that was traced, and what the operations say
  /// Cost, stream, determinism: those of the operations. With a recorder, each is recorded.
  [[nodiscard]] Output forward(Tensor const& x, Execution<Space> const& exec) const
  {
    detail::expects(x.channels() == options_.in_channels, "TracedModel: the tensor has ", x.channels(),
                    " channels, but it was traced with ", options_.in_channels);
    ops::Replay<Space> replay{constants_.values().get()};
    replay.set(input_, x);
    for (std::size_t i = 0; i < operations_.size(); ++i) {
      operations_[i]->run(replay, exec);
      for (auto const id : last_read_[i]) { replay.give_back(id); }
    }
    return detail::TracedOutput<Output>::make(replay, outputs_);
  }
  [[nodiscard]] Output operator()(Tensor const& x, Execution<Space> const& exec) const
  {
    return forward(x, exec);
  }

  [[nodiscard]] Operations const& operations() const noexcept { return operations_; }
  /// The variable that forward() gives the operations, and those that it takes from them.
  [[nodiscard]] VariableId input() const noexcept { return input_; }
  [[nodiscard]] std::vector<VariableId> const& outputs() const noexcept { return outputs_; }
  [[nodiscard]] Options const& options() const noexcept { return options_; }
  /// Those of the model that was traced, where it has `parameters()`.
  [[nodiscard]] std::vector<ParameterView> const& parameters() const noexcept { return parameters_; }

  /// Another list in place of this one, which computes the same outputs of the same input.
  /// @throws invalid_argument  an operation reads a variable that nothing before it made; nothing changes then
  void replace(Operations operations)
  {
    std::vector<std::vector<VariableId>> last_read(operations.size());
    std::unordered_map<VariableId, std::size_t> last;  // operation that makes or reads a variable
    auto const is_known = [&](VariableId id) {
      auto const& ids = constants_.ids();
      return id == input_ || last.count(id) != 0 || std::find(ids.begin(), ids.end(), id) != ids.end();
    };
    for (std::size_t i = 0; i < operations.size(); ++i) {
      for (auto const id : operations[i]->inputs()) {
        detail::expects(is_known(id), "TracedModel: operation ", i, ", ", operations[i]->name(),
                        ", reads a variable that nothing before it made");
        last[id] = i;
      }
      for (auto const id : operations[i]->outputs()) { last[id] = i; }
    }
    for (auto const id : outputs_) { detail::expects(is_known(id), "TracedModel: nothing makes an output"); }
    for (auto const id : outputs_) { last.erase(id); }  // one may be put out twice
    for (auto const& [id, i] : last) { last_read[i].push_back(id); }
    operations_ = std::move(operations);
    last_read_ = std::move(last_read);
  }

 private:
  VariableId input_;
  std::vector<VariableId> outputs_;
  TraceConstants<Space> constants_;
  std::vector<ParameterView> parameters_;
  Options options_;
  Operations operations_;
  std::vector<std::vector<VariableId>> last_read_;  // by each operation
};

/// Runs `model.forward(x, exec)` once and returns the operations that it was made of, to be run again on other
/// voxels: coordinate sets and kernel maps are derived anew each time.
///
/// Every operation must be one of the library's or an ops::custom(). Branches and loops are those of this
/// call: they must depend on neither values nor numbers of rows, which may be asked for by nobody meanwhile.
/// So are the run-time choices of convolutions: the calling thread's configuration now counts for layers that
/// have none of their own.
/// @param model      has `forward(x, exec)`, which returns a tensor, a matrix, a dense tensor, an array or
///                   vector of these, or a struct with `variables()`, a tuple of references
/// @param x          any sparse tensor or point tensor that the model takes; it may have no rows
/// @param constants  other tensors that the model reads
/// @throws invalid_argument  an operation reads what no operation made, nor a declared constant is, or what was
/// written since; the model writes a parameter; num_rows(), or a download; the model is in training
/// Cost, stream: those of forward().
/// Determinism: the same list for every x.
template <class Model, class Input, class Space>
[[nodiscard]] auto trace(Model&& model, Input const& x, Execution<Space> const& exec,
                         TraceConstants<Space> const& constants = {})
{
  using Output = std::decay_t<decltype(model.forward(x, exec))>;
  detail::expects(!detail::is_training(model), "trace: the model is in training; call eval()");
  detail::Tracer<Space> tracer{x, constants.ids()};
  auto parameters = detail::parameters_of(model);
  std::vector<std::uint64_t> versions;
  for (auto const& view : parameters) { versions.push_back(view.parameter->version()); }
  auto const run = [&] {
    detail::ThreadRecorderScope const scope{&tracer};
    return model.forward(x, exec.with_recorder(tracer));
  };
  auto const output = run();
  std::vector<VariableId> outputs;
  detail::TracedOutput<Output>::visit(output, [&](auto const& value) {
    tracer.expect_made(value.id(), value.version());
    outputs.push_back(value.id());
  });
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    detail::expects(parameters[i].parameter->version() == versions[i],
                    "trace: the model wrote its parameter \"", parameters[i].name,
                    "\", which no operation does");
  }
  return TracedModel<Input, Output>{tracer.take(), x, std::move(outputs), constants, std::move(parameters)};
}

}  // namespace nn
}  // namespace v0
}  // namespace tessera
