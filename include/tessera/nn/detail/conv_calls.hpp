// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/version.hpp>
#include <tessera/nn/conv.hpp>
#include <tessera/nn/tuning.hpp>

#include <algorithm>
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// A convolution that is configured at run time, by its name in the model.
template <int Dim, class Scalar, class Space>
struct NamedConv {
  using Layer = nn::Conv<Dim, Scalar, Space>;
  std::string name;
  Layer* layer;
};

/// Those of a module and the modules below it, each once, in order of registration.
template <int Dim, class Scalar, class Space>
void collect_convs(nn::ModuleBase& module, std::string const& name,
                   std::vector<NamedConv<Dim, Scalar, Space>>& found)
{
  using Layer = typename NamedConv<Dim, Scalar, Space>::Layer;
  if (auto* const layer = dynamic_cast<Layer*>(&module)) {
    for (auto const& other : found) {
      if (other.layer == layer) { return; }
    }
    found.push_back({name, layer});
  }
  for (auto const& [child_name, child] : module.children()) {
    collect_convs(*child, join_names(name, child_name), found);
  }
}

template <class Model>
[[nodiscard]] auto convs_of(Model& model)
{
  using Tensor = typename Model::Tensor;
  std::vector<NamedConv<Tensor::dim, typename Tensor::scalar, typename Tensor::space>> result;
  collect_convs(model, "", result);
  return result;
}

template <int Dim>
[[nodiscard]] std::vector<int> to_vector(IntArray<Dim> const& from)
{
  return {from.begin(), from.end()};
}

/// The group of a layer, but for the tensor stride.
template <class Layer>
[[nodiscard]] nn::LayerGroup group_of(Layer const& layer)
{
  auto const& options = layer.options();
  nn::LayerGroup group;
  group.kind = options.kind();
  group.in_channels = options.in_channels;
  group.out_channels = options.out_channels;
  group.kernel_size = to_vector(options.geometry.kernel_size);
  group.stride = to_vector(options.geometry.stride);
  group.dilation = to_vector(options.geometry.dilation);
  group.math = layer.config().math;
  return group;
}

/// What a layer was called with, and what it computes of it.
template <int Dim, class Scalar, class Space>
struct ConvCall {
  using Tensor = SparseTensor<Dim, Scalar, Space>;

  std::size_t layer = 0;  // number of the NamedConv
  Tensor x;               // the tensors whose features the arguments point at
  std::optional<Tensor> residual;
  ConvolutionArguments<Scalar> arguments;  // all but the output and the packed weight
  std::shared_ptr<KernelMap<Space>> map;

  [[nodiscard]] bool empty() const { return map->num_out() == 0; }
  [[nodiscard]] std::int64_t num_outputs() const { return map->num_out() * arguments.out_channels; }
};

/// The calls of a model's convolutions in one forward pass.
template <int Dim, class Scalar, class Space>
class ConvRecorder final : public Recorder {
 public:
  using Record = ops::ConvolutionRecord<Dim, Scalar, Space>;
  using Call = ConvCall<Dim, Scalar, Space>;
  using Convs = std::vector<NamedConv<Dim, Scalar, Space>>;

  explicit ConvRecorder(Convs const& convs) : convs_{convs}
  {
    for (std::size_t i = 0; i < convs_.size(); ++i) { numbers_.emplace(convs_[i].layer->weight().id(), i); }
  }

  void record(std::shared_ptr<OperationRecord const> operation) override
  {
    auto record = std::dynamic_pointer_cast<Record const>(operation);
    if (record != nullptr && numbers_.count(record->weight.id) != 0) {
      records_.push_back(std::move(record));
    }
  }

  /// The calls since the last take(), with their maps.
  /// Stream: as convolution(), whose maps the coordinate sets have already; a call of two tensors copies them
  /// into one, since not every choice reads two.
  [[nodiscard]] std::vector<Call> take(Execution<Space> const& exec)
  {
    std::vector<Call> calls;
    for (auto const& record : records_) {
      Call call;
      auto const& options = record->options;
      call.layer = numbers_.at(record->weight.id);
      call.x = *record->input().value();
      if (record->second().size() > 0) { call.x = cat({call.x, *record->second()[0].value()}, exec); }
      if (record->residual().size() > 0) { call.residual = *record->residual()[0].value(); }
      call.arguments = make_arguments<Scalar>(record->weight.data, record->bias.data, options.out_channels,
                                              options.config.math);
      call.arguments.epilogue.activation = options.activation;
      call.arguments.epilogue.slope = options.slope;
      if (call.residual) { call.arguments.epilogue.residual = call.residual->features(); }
      call.arguments.features = call.x.features().data;
      call.arguments.in_channels = record->in_channels;
      call.map = kernel_map(options.config, *call.x.coordinates(), options.kind, options.geometry, exec).map;
      calls.push_back(std::move(call));
    }
    records_.clear();
    return calls;
  }

 private:
  Convs const& convs_;
  std::map<VariableId, std::size_t> numbers_;  // of layers, by their weights
  std::vector<std::shared_ptr<Record const>> records_;
};

/// The calls of one forward pass of `model` on `x`.
template <class Model, class Convs, class Tensor, class Space>
[[nodiscard]] auto record_calls(Model& model, Convs const& convs, Tensor const& x,
                                Execution<Space> const& exec)
{
  ConvRecorder<Tensor::dim, typename Tensor::scalar, Space> recorder{convs};
  static_cast<void>(model.forward(x, exec.with_recorder(recorder)));
  return recorder.take(exec);
}

/// New choices for layers, with their weights packed for them beforehand: where memory runs out, no layer has
/// changed.
template <int Dim, class Scalar, class Space>
class ConvChanges {
 public:
  using Layer = typename NamedConv<Dim, Scalar, Space>::Layer;

  ConvChanges() = default;
  ConvChanges(ConvChanges const&) = delete;
  ConvChanges& operator=(ConvChanges const&) = delete;
  /// Leaves layers as they are that make() was not called for.
  ~ConvChanges()
  {
    for (auto& change : changes_) { change.layer->drop_unused_packs(); }
  }

  /// Stream: enqueues at most a kernel, does not wait.
  void add(Layer& layer, nn::ConvChoice const& choice, Execution<Space> const& exec)
  {
    changes_.push_back({&layer, choice.in(layer.config())});
    layer.pack(changes_.back().config, exec);
  }
  /// Stream: waits, so that no call on it reads what is dropped.
  void make(Execution<Space> const& exec)
  {
    exec.wait();
    for (auto& change : changes_) { change.layer->configure(change.config, exec); }
    changes_.clear();
  }

 private:
  struct Change {
    Layer* layer;
    ConvConfig config;
  };
  std::vector<Change> changes_;
};

[[nodiscard]] inline std::string library_version()
{
  return concat(TESSERA_VERSION_MAJOR, '.', TESSERA_VERSION_MINOR, '.', TESSERA_VERSION_PATCH);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
