// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/detail/conv_calls.hpp>
#include <tessera/nn/detail/layer_names.hpp>
#include <tessera/nn/trace.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The calls of one layer in a traced model, as tuning sees an nn::Conv: their configurations are those of the
/// operations, and become others there.
template <class Tensor, class Output>
class TracedConv {
 public:
  static constexpr int dim = Tensor::dim;
  using Scalar = typename Tensor::scalar;
  using Space = typename Tensor::space;
  using Model = nn::TracedModel<Tensor, Output>;
  using Record = ops::ConvolutionRecord<dim, Scalar, Space>;

  /// @param layer  names the layer: the parameter that all its weights are, or are computed from; 0 of plain
  ///               pointers
  TracedConv(Model& model, VariableId layer) : model_{&model}, layer_{layer} {}

  [[nodiscard]] VariableId layer() const noexcept { return layer_; }
  void add(std::size_t operation) { operations_.push_back(operation); }

  [[nodiscard]] ConvolutionOptions<dim> const& options() const { return record(0).options; }
  [[nodiscard]] int in_channels() const { return record(0).in_channels; }
  [[nodiscard]] ConvConfig const& config() const { return options().config; }
  /// Where the weights of its calls are: folded with several norms there are several.
  [[nodiscard]] std::vector<void const*> weights() const
  {
    std::vector<void const*> result;
    for (std::size_t i = 0; i < operations_.size(); ++i) { result.push_back(record(i).weight.data()); }
    return result;
  }

  [[nodiscard]] bool reads(void const* weight) const
  {
    auto const all = weights();
    return std::find(all.begin(), all.end(), weight) != all.end();
  }

  /// @name As nn::Conv has them
  /// @{
  void pack(ConvConfig const& config, Execution<Space> const& exec) const
  {
    for (std::size_t i = 0; i < operations_.size(); ++i) {
      if (record(i).source != nullptr) { static_cast<void>(record(i).source->packed(config, exec)); }
    }
  }
  void configure(ConvConfig const& config, Execution<Space> const& exec)
  {
    pack(config, exec);
    auto operations = model_->operations();
    for (std::size_t i = 0; i < operations_.size(); ++i) {
      auto changed = std::make_shared<Record>(record(i));
      changed->options.config = config;
      operations[operations_[i]] = std::move(changed);
    }
    model_->replace(std::move(operations));
    drop_unused_packs();
  }
  void drop_unused_packs()
  {
    for (std::size_t i = 0; i < operations_.size(); ++i) {
      if (record(i).source != nullptr) { record(i).source->drop_packs_but(config()); }
    }
  }
  /// @}

 private:
  /// Of call number `i`.
  [[nodiscard]] Record const& record(std::size_t i) const
  {
    return static_cast<Record const&>(*model_->operations()[operations_[i]]);
  }

  Model* model_;
  VariableId layer_;
  std::vector<std::size_t> operations_;  // of the model, at least one
};

/// The group of a layer, but for the tensor stride.
template <class Tensor, class Output>
[[nodiscard]] nn::LayerGroup group_of(TracedConv<Tensor, Output> const& layer)
{
  auto const& options = layer.options();
  return make_group(options.kind, layer.in_channels(), options.out_channels, options.geometry,
                    options.config.math);
}

/// The convolutions of a traced model that are configured at run time, in the order of their first calls.
/// They are called as the layers of the model that was traced, or by the number of the operation where that
/// has no name for them.
template <class Tensor, class Output>
[[nodiscard]] auto convs_of(nn::TracedModel<Tensor, Output>& model)
{
  using Layer = TracedConv<Tensor, Output>;
  auto const names = layers_by_parameter(model.parameters());
  std::vector<NamedConv<std::shared_ptr<Layer>>> result;
  for (std::size_t i = 0; i < model.operations().size(); ++i) {
    auto const* const record = dynamic_cast<typename Layer::Record const*>(model.operations()[i].get());
    if (record == nullptr || record->method != nullptr) { continue; }
    VariableId layer = record->weight.id;
    std::string name = concat("convolution ", i);
    for (auto const id : record->parameters()) {
      auto const named = names.find(id);
      if (named == names.end()) { continue; }
      layer = id;
      name = named->second;
      break;
    }
    auto const known = std::find_if(result.begin(), result.end(), [&](auto const& conv) {
      return layer != 0 ? conv.layer->layer() == layer : conv.layer->reads(record->weight.data());
    });
    auto const& conv = known != result.end() ? *known
                                             : result.emplace_back(NamedConv<std::shared_ptr<Layer>>{
                                                   std::move(name), std::make_shared<Layer>(model, layer)});
    conv.layer->add(i);
  }
  return result;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
