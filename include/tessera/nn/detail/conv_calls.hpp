// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/convolution_backward.hpp>
#include <tessera/core/detail/random.hpp>
#include <tessera/core/detail/scalar_conversion.hpp>
#include <tessera/core/version.hpp>
#include <tessera/nn/conv.hpp>
#include <tessera/nn/tuning.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
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
/// @tparam Pointer  to an nn::Conv or a TracedConv
template <class Pointer>
struct NamedConv {
  std::string name;
  Pointer layer;
};

/// Those of a module and the modules below it, each once, in order of registration.
template <class Layer>
void collect_convs(nn::ModuleBase& module, std::string const& name, std::vector<NamedConv<Layer*>>& found)
{
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
  std::vector<NamedConv<nn::Conv<Tensor::dim, typename Tensor::scalar, typename Tensor::space>*>> result;
  collect_convs(model, "", result);
  return result;
}

template <int Dim>
[[nodiscard]] std::vector<int> to_vector(IntArray<Dim> const& from)
{
  return {from.begin(), from.end()};
}

template <int Dim>
[[nodiscard]] nn::LayerGroup make_group(ConvolutionKind kind, int in_channels, int out_channels,
                                        ConvolutionGeometry<Dim> const& geometry, MathMode math)
{
  nn::LayerGroup group;
  group.kind = kind;
  group.in_channels = in_channels;
  group.out_channels = out_channels;
  group.kernel_size = to_vector(geometry.kernel_size);
  for (int k = 0; !geometry.shape.is_box() && k < geometry.volume(); ++k) {
    for (auto const digit : to_vector(geometry.shape.digits(k, geometry.kernel_size))) {
      group.offsets.push_back(digit);
    }
  }
  group.stride = to_vector(geometry.stride);
  group.dilation = to_vector(geometry.dilation);
  group.math = math;
  return group;
}

/// The group of a layer, but for the tensor stride.
template <int Dim, class Scalar, class Space>
[[nodiscard]] nn::LayerGroup group_of(nn::Conv<Dim, Scalar, Space> const& layer)
{
  auto const& options = layer.options();
  return make_group(options.kind(), options.in_channels, options.out_channels, options.geometry,
                    layer.config().math);
}

/// Where the weights of a layer's calls are.
template <int Dim, class Scalar, class Space>
[[nodiscard]] std::vector<void const*> weights_of(nn::Conv<Dim, Scalar, Space> const& layer)
{
  return {layer.weight().data()};
}
template <class Layer>
[[nodiscard]] std::vector<void const*> weights_of(Layer const& layer)
{
  return layer.weights();
}

/// What a layer was called with, and what it computes of it.
template <int Dim, class Scalar, class Space>
struct ConvCall {
  using Tensor = SparseTensor<Dim, Scalar, Space>;

  std::size_t layer = 0;  // number of the NamedConv
  Tensor x;               // the tensors whose features the arguments point at
  std::optional<Tensor> residual;
  std::shared_ptr<Matrix<Scalar, Space>> gradient;  // of the output, which a data gradient reads
  ConvolutionArguments<Scalar> arguments;           // all but the output and the packed weight
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

  template <class Convs>
  explicit ConvRecorder(Convs const& convs)
  {
    for (std::size_t i = 0; i < convs.size(); ++i) {
      for (auto const* const weight : weights_of(*convs[i].layer)) { numbers_.emplace(weight, i); }
    }
  }

  void record(std::shared_ptr<OperationRecord const> operation) override
  {
    auto record = std::dynamic_pointer_cast<Record const>(operation);
    bool const is_known =
        record != nullptr && record->method == nullptr && numbers_.count(record->weight.data()) != 0;
    if (is_known) { records_.push_back(std::move(record)); }
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
      call.layer = numbers_.at(record->weight.data());
      call.x = *record->input().value();
      if (record->second().size() > 0) { call.x = cat({call.x, *record->second()[0].value()}, exec); }
      if (record->residual().size() > 0) { call.residual = *record->residual()[0].value(); }
      call.arguments = make_arguments<Scalar>(record->weight.data(), record->bias.data(),
                                              options.out_channels, options.config.math);
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
  std::map<void const*, std::size_t> numbers_;  // of layers, by their weights
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

/// gradient[i] in [-1, 1), from a hash of i.
template <class Scalar>
struct FillGradient {
  Scalar* gradient;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto state = static_cast<std::uint64_t>(i);
    auto const drawn = static_cast<float>(next_random(state) >> 40) * 0x1p-23F - 1;
    gradient[i] = narrow<Scalar>(static_cast<accumulator_t<Scalar>>(drawn));
  }
};

/// The data gradients of calls, from gradients of the outputs that are made up.
/// Stream: as gradient_map().
template <int Dim, class Scalar, class Space>
[[nodiscard]] std::vector<ConvCall<Dim, Scalar, Space>> data_gradient_calls(
    std::vector<ConvCall<Dim, Scalar, Space>> const& calls, Execution<Space> const& exec)
{
  std::vector<ConvCall<Dim, Scalar, Space>> result;
  for (auto const& call : calls) {
    auto& own = result.emplace_back();
    own.layer = call.layer;
    own.x = call.x;
    own.gradient =
        std::make_shared<Matrix<Scalar, Space>>(call.map->num_out(), call.arguments.out_channels, exec);
    for_each(own.gradient->size(), FillGradient<Scalar>{own.gradient->data()}, exec);
    auto gradient =
        data_gradient(std::as_const(*own.gradient).view(), weight_of(call.arguments, call.map->volume()),
                      *call.map, call.arguments.math, exec);
    own.arguments = gradient.arguments;
    own.map = std::move(gradient.map);
  }
  return result;
}

/// New choices for layers, with their weights packed for them beforehand: where memory runs out, no layer has
/// changed.
template <class Convs>
class ConvChanges {
 public:
  using Pointer = decltype(Convs::value_type::layer);

  ConvChanges() = default;
  ConvChanges(ConvChanges const&) = delete;
  ConvChanges& operator=(ConvChanges const&) = delete;
  /// Leaves layers as they are that make() was not called for.
  ~ConvChanges()
  {
    for (auto& change : changes_) { change.layer->drop_unused_packs(); }
  }

  /// Stream: enqueues at most a kernel, does not wait.
  template <class Space>
  void add(Pointer const& layer, ConvConfig const& config, Execution<Space> const& exec)
  {
    changes_.push_back({layer, config});
    layer->pack(changes_.back().config, exec);
  }
  /// The same of what was chosen for a layer and for its data gradient; null: it stays.
  /// @returns whether anything was chosen
  template <class Space>
  bool add_choices(Pointer const& layer, nn::ConvChoice const* forward, nn::ConvChoice const* data_gradient,
                   Execution<Space> const& exec)
  {
    auto config = layer->config();
    if (forward != nullptr) { config = forward->in(config); }
    if (data_gradient != nullptr) { config = data_gradient->in_gradient_of(config); }
    bool const any = forward != nullptr || data_gradient != nullptr;
    if (any) { add(layer, config, exec); }
    return any;
  }
  /// Stream: waits, so that no call on it reads what is dropped.
  template <class Space>
  void make(Execution<Space> const& exec)
  {
    exec.wait();
    for (auto& change : changes_) { change.layer->configure(change.config, exec); }
    changes_.clear();
  }

 private:
  struct Change {
    Pointer layer;
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
