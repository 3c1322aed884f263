// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/wrapper_names.hpp>
#include <tessera/io/raw_tensor.hpp>
#include <tessera/io/safetensors.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The last part of a name behind the last dot, and the rest with the dot.
[[nodiscard]] inline std::pair<std::string, std::string> split_name(std::string const& name)
{
  auto const dot = name.rfind('.');
  if (dot == std::string::npos) { return {"", name}; }
  return {name.substr(0, dot + 1), name.substr(dot + 1)};
}

/// The layer that the tensor `name` belongs to.
[[nodiscard]] inline std::string module_of(std::string const& name)
{
  auto const parent = split_name(name).first;
  return parent.substr(0, parent.empty() ? 0 : parent.size() - 1);
}

/// The batch norm of a convolution, as far as a state_dict can tell.
struct NormPair {
  std::string norm;      ///< right behind the convolution; empty if none is
  bool by_name = false;  ///< told by the names `conv2` and `bn2`: an activation may be between them
  std::string why_not;   ///< why a norm near the convolution is not taken to follow it directly
};

/// The tensors and layers of a state_dict, to ask what belongs to a convolution.
///
/// A state_dict has the layers that have tensors, in the order in which they were registered. What runs after
/// what it does not say, so a norm counts as right behind a convolution only
///   - in a Sequential, whose order is that of its numbers: `3.1` after `3.0`;
///   - as `bn2` or `norm2` after `conv2`, where it is registered right after it and all norms of the same
///   parent
///     stand so. Of the numbers in `conv1, bn0, conv2, bn1` none tells anything.
class TensorTable {
 public:
  explicit TensorTable(std::vector<NamedTensor> const& tensors)
  {
    std::string const* last = nullptr;
    for (auto const& [name, tensor] : tensors) {
      tensors_.emplace(name, &tensor);
      auto module = module_of(name);
      if (layers_.empty() || layers_.back().name != module) {
        numbers_.emplace(module, layers_.size());
        layers_.push_back({std::move(module), false});
      }
      if (is_mean(name, tensor)) { layers_.back().is_norm = true; }
      if (tensor.dtype == DType::int64) { continue; }  // num_batches_tracked, which writers sort apart
      is_registered_order_ = is_registered_order_ || (last != nullptr && name < *last);
      last = &name;
    }
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      if (layers_[i].is_norm) { look_at_norm(i); }
    }
  }

  [[nodiscard]] RawTensor const* find(std::string const& name) const
  {
    auto const found = tensors_.find(name);
    return found == tensors_.end() ? nullptr : found->second;
  }

  /// The norm right behind the convolution `module`.
  [[nodiscard]] NormPair norm_of(std::string const& module) const
  {
    auto const [parent, last] = split_name(module);
    bool const digits =
        !last.empty() && last.size() < 9 && last.find_first_not_of("0123456789") == std::string::npos;
    if (digits) { return {norm_called(parent + std::to_string(std::stoi(last) + 1)), false, {}}; }
    NormPair result;
    auto const follower = follower_of(module);
    std::string named;
    if (begins_with(last, "conv")) {
      named = norm_called(parent + "bn" + last.substr(4));
      if (named.empty()) { named = norm_called(parent + "norm" + last.substr(4)); }
    }
    if (named.empty() && follower.empty()) { return result; }
    if (!is_registered_order_) {
      result.why_not = concat("the names in the file are sorted, so whether ",
                              in_quotes(named.empty() ? follower : named), " follows is not known");
    } else if (named.empty()) {
      result.why_not = concat(in_quotes(follower), " follows in the file, but is not named as its norm");
    } else if (named != follower) {
      result.why_not = concat(in_quotes(named), " does not follow in the file");
    } else if (unpaired_.count(parent) != 0) {
      result.why_not = concat(in_quotes(named), " follows, but norms beside it are numbered otherwise");
    } else {
      result.norm = named;
      result.by_name = true;
    }
    return result;
  }

  /// How many channels the convolution `module` gives, and which tensor says so; 0 where none does.
  [[nodiscard]] std::pair<std::int64_t, std::string> out_channels(std::string const& module) const
  {
    auto const* const bias = find(module + ".bias");
    if (bias != nullptr && !bias->shape.empty() && bias->size() == bias->shape.back()) {
      return {bias->size(), module + ".bias"};
    }
    auto norm = norm_of(module).norm;
    // An activation between them has as many channels, so order will do where convolutions and norms take
    // turns.
    bool const in_turns = is_registered_order_ && crowded_.count(split_name(module).first) == 0;
    if (norm.empty() && in_turns) { norm = follower_of(module); }
    if (norm.empty()) { return {0, ""}; }
    return {find(norm + ".running_mean")->size(), norm + ".running_mean"};
  }

 private:
  struct Layer {
    std::string name;
    bool is_norm = false;
  };

  [[nodiscard]] static bool is_mean(std::string const& name, RawTensor const& tensor)
  {
    return split_name(name).second == "running_mean" && tensor.shape.size() == 1;
  }

  /// The norm `name`, or the one that it holds under `bn`, as MinkowskiEngine's; empty if it is none.
  [[nodiscard]] std::string norm_called(std::string const& name) const
  {
    for (std::string const inner : {"", ".bn"}) {
      auto const* const mean = find(name + inner + ".running_mean");
      if (mean != nullptr && mean->shape.size() == 1) { return name + inner; }
    }
    return {};
  }

  /// What a layer is called below `parent`, be it as MinkowskiEngine's `norm1.bn`; empty if it is not right
  /// below.
  [[nodiscard]] static std::string name_below(std::string const& parent, std::string const& layer)
  {
    if (!begins_with(layer, parent)) { return {}; }
    auto rest = layer.substr(parent.size());
    if (rest.size() > 3 && rest.compare(rest.size() - 3, 3, ".bn") == 0) { rest.resize(rest.size() - 3); }
    return rest.find('.') == std::string::npos ? rest : std::string{};
  }

  /// The norm that is the next layer in the file after `module`, below the same parent; empty if there is
  /// none.
  [[nodiscard]] std::string follower_of(std::string const& module) const
  {
    auto const found = numbers_.find(module);
    auto const next = found == numbers_.end() ? layers_.size() : found->second + 1;
    if (next >= layers_.size() || !layers_[next].is_norm) { return {}; }
    auto const& norm = layers_[next].name;
    return name_below(split_name(module).first, norm).empty() ? std::string{} : norm;
  }

  /// Notes what norm `i` says of the layers below its parent.
  void look_at_norm(std::size_t i)
  {
    auto const& layer = layers_[i].name;
    note_norm(split_name(layer).first, i);
    auto const outer = split_name(module_of(layer)).first;
    bool const inner = split_name(layer).second == "bn" && prefix_of_norm(name_below(outer, layer)) != 0;
    if (inner) { note_norm(outer, i); }
  }

  /// How long the `bn` or `norm` is that `name` begins with.
  [[nodiscard]] static std::size_t prefix_of_norm(std::string const& name)
  {
    return begins_with(name, "bn") ? 2 : begins_with(name, "norm") ? 4 : 0;
  }

  void note_norm(std::string const& parent, std::size_t i)
  {
    auto const name = name_below(parent, layers_[i].name);
    bool const follows = i > 0 && !layers_[i - 1].is_norm && !name_below(parent, layers_[i - 1].name).empty();
    if (!follows) { crowded_.insert(parent); }
    auto const length = prefix_of_norm(name);
    bool const paired = follows && layers_[i - 1].name == parent + "conv" + name.substr(length);
    if (length != 0 && !paired) { unpaired_.insert(parent); }
  }

  std::map<std::string, RawTensor const*> tensors_;
  std::vector<Layer> layers_;
  std::map<std::string, std::size_t> numbers_;
  std::set<std::string> unpaired_;  ///< parents with a norm `bn2` or `norm2` that is not right behind `conv2`
  std::set<std::string> crowded_;   ///< parents with a norm that is right behind no other layer
  bool is_registered_order_ = false;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
