// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/io/convert_options.hpp>
#include <tessera/io/converted_checkpoint.hpp>
#include <tessera/io/detail/kernel_conversion.hpp>
#include <tessera/io/detail/layout_decision.hpp>
#include <tessera/io/safetensors.hpp>
#include <tessera/io/state_dict.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Carries a conversion out; see io::convert_checkpoint().
class CheckpointConverter {
 public:
  CheckpointConverter(io::StateDict state, io::ConvertOptions const& options, FileContext const& file)
      : state_{std::move(state)}, options_{options}, file_{file}
  {}

  [[nodiscard]] io::ConvertedCheckpoint convert()
  {
    file_.expects(options_.major_version >= 0 && options_.major_version <= 2,
                  "spconv's major version is 1 or 2, not ", options_.major_version);
    file_.expects(!options_.is_folding || options_.norm_epsilon >= 0.0,
                  "a batch norm's epsilon is at least 0, not ", options_.norm_epsilon);
    select();
    TensorTable const table{state_.tensors};
    auto const decisions = LayoutDecider{state_, options_, file_}.decide();
    for (std::size_t i = 0; i < decisions.size(); ++i) {
      if (decisions[i].is_kernel) { kernels_.insert(module_of(state_.tensors[i].first)); }
    }
    if (options_.is_folding) { find_folds(decisions, table); }
    for (std::size_t i = 0; i < decisions.size(); ++i) {
      auto const& [name, tensor] = state_.tensors[i];
      if (decisions[i].is_kernel) {
        convert_kernel(name, tensor, decisions[i], table);
      } else {
        copy(name, tensor, decisions[i]);
      }
    }
    for (auto const& name : state_.others) {
      report_.push_back({name, "", {}, {}, "", "no tensor of a known type", false});
    }
    std::vector<NamedTensor> views;
    for (auto const& [name, tensor] : results_) { views.emplace_back(name, tensor.view()); }
    return {Safetensors{safetensors_bytes(views, metadata_), file_.path()}, std::move(report_), state_.where,
            prefix_};
  }

 private:
  /// Takes `module.` from the names, leaves out tensors of another prefix.
  void select()
  {
    constexpr std::string_view parallel = "module.";
    auto& tensors = state_.tensors;
    bool wrapped = !tensors.empty();
    for (auto const& tensor : tensors) { wrapped = wrapped && tensor.first.rfind(parallel, 0) == 0; }
    if (wrapped) {
      for (auto& tensor : tensors) { tensor.first.erase(0, parallel.size()); }
      std::map<std::string, std::int64_t> versions;
      for (auto const& [module, version] : state_.versions) {
        versions[module.rfind(parallel, 0) == 0 ? module.substr(parallel.size()) : module] = version;
      }
      state_.versions = std::move(versions);
      prefix_ = parallel;
    }
    auto const has = [&](std::string const& prefix) {
      for (auto const& tensor : tensors) {
        if (tensor.first.rfind(prefix, 0) == 0) { return true; }
      }
      return false;
    };
    if (options_.name_prefix) {
      selected_ = *options_.name_prefix;
      if (!has(selected_)) { file_.fail("has no tensor whose name begins with ", in_quotes(selected_)); }
    } else {
      for (auto const& known : io::known_prefixes()) {
        if (selected_.empty() && has(known)) { selected_ = known; }
      }
    }
    prefix_ += selected_;
    std::vector<NamedTensor> kept;
    for (auto& tensor : tensors) {
      if (tensor.first.rfind(selected_, 0) == 0) {
        kept.push_back(std::move(tensor));
      } else {
        report_.push_back({tensor.first, "", tensor.second.shape, {}, "", "another prefix", false});
      }
    }
    tensors = std::move(kept);
  }

  [[nodiscard]] std::string new_name(std::string const& name) const { return name.substr(selected_.size()); }

  void add(std::string const& name, OwnedTensor tensor)
  {
    if (name.empty()) { file_.fail("has a tensor whose name is the prefix and no more"); }
    results_.emplace_back(name, std::move(tensor));
  }

  void copy(std::string const& name, RawTensor const& tensor, LayoutDecision const& decision)
  {
    auto const [parent, last] = split_name(name);
    auto const module = module_of(name);
    if (folded_norms_.count(module) != 0 || replaced_biases_.count(name) != 0) {
      report_.push_back({name, "", tensor.shape, {}, "", "folded into the convolution before it", false});
      return;
    }
    auto result = own(tensor);
    auto reason = decision.reason;
    // MinkowskiEngine's biases are [1, channels].
    if (last == "bias" && tensor.shape.size() == 2 && tensor.shape[0] == 1 && kernels_.count(module) != 0) {
      result.shape.erase(result.shape.begin());
      reason = "copied, as a row";
    }
    report_.push_back({name, new_name(name), tensor.shape, result.shape, "", reason, decision.warning});
    add(new_name(name), std::move(result));
  }

  void find_folds(std::vector<LayoutDecision> const& decisions, TensorTable const& table)
  {
    for (std::size_t i = 0; i < decisions.size(); ++i) {
      if (!decisions[i].is_kernel) { continue; }
      auto const parent = split_name(state_.tensors[i].first).first;
      auto const norm =
          parent.empty() ? std::string{} : table.norm_behind(parent.substr(0, parent.size() - 1));
      if (norm.empty()) { continue; }
      folded_norms_.insert(norm);
      if (table.find(parent + "bias") != nullptr) { replaced_biases_.insert(parent + "bias"); }
    }
  }

  void convert_kernel(std::string const& name, RawTensor const& tensor, LayoutDecision const& decision,
                      TensorTable const& table)
  {
    auto const& reading = decision.reading;
    auto const [parent, last] = split_name(name);
    auto const module = module_of(name);
    auto target = new_name(name);
    if (!options_.name_of_kernel.empty()) { target = new_name(parent) + options_.name_of_kernel; }
    io::ConvertedTensor line{name, target, tensor.shape, {}, name_of(reading.layout), decision.reason, false};

    auto const pointwise = pointwise_of(name, tensor, reading, line);
    auto kernel = to_tessera(tensor, reading, pointwise, options_.is_swapping_axes, name, file_);
    if (options_.is_swapping_axes && reading.volume() > 1) { line.reason += "; axes reversed"; }
    line.to_shape = kernel.shape;
    bool const told = reading.layout == WeightLayout::krsc || reading.layout == WeightLayout::rskc ||
                      reading.layout == WeightLayout::rsck ||  // by the shape; the others have a volume alone
                      options_.kernel_sizes.count(name) != 0;
    if (told && reading.volume() > 1) {
      auto size = reading.kernel_size;
      if (options_.is_swapping_axes) { std::reverse(size.begin(), size.end()); }
      metadata_[kernel_size_key(target)] = list(size);
    }

    auto const norm = options_.is_folding && !module.empty() ? table.norm_behind(module) : std::string{};
    if (norm.empty()) {
      report_.push_back(std::move(line));
      add(target, std::move(kernel));
      return;
    }
    auto const norm_values = norm_line(table, norm, reading.out_channels, options_.norm_epsilon, file_);
    auto const* const bias = table.find(parent + "bias");
    if (bias != nullptr && bias->size() != reading.out_channels) {
      file_.fail("the bias of ", in_quotes(name), " has ", bias->size(), " channels, not ",
                 reading.out_channels);
    }
    auto folded = fold_norm(std::move(kernel), bias, norm_values);
    line.reason += concat("; ", norm, " folded with epsilon ", options_.norm_epsilon);
    report_.push_back(std::move(line));
    report_.push_back({"", new_name(parent) + "bias", {}, folded.bias.shape, "", "of " + norm, false});
    add(target, std::move(folded.kernel));
    add(new_name(parent) + "bias", std::move(folded.bias));
  }

  /// How a kernel of one voxel is read, and a word about it.
  [[nodiscard]] Pointwise pointwise_of(std::string const& name, RawTensor const& tensor,
                                       WeightReading const& reading, io::ConvertedTensor& line) const
  {
    if (reading.volume() != 1) { return Pointwise::not_so; }
    if (options_.strided_kernels.count(name) != 0) {
      line.reason += "; one voxel with a stride";
      return Pointwise::not_so;
    }
    bool const shape_lies = reading.layout == WeightLayout::krsc || reading.layout == WeightLayout::rskc;
    if (!shape_lies) { return tensor.shape.size() == 3 ? Pointwise::not_so : Pointwise::in_memory; }
    if (options_.major_version == 1) {
      line.reason += "; one voxel, as the shape says, because spconv 1 trained it";
      return Pointwise::as_shaped;
    }
    line.reason += "; one voxel, [in, out] in memory as spconv 2 reads it";
    line.warning = options_.major_version == 0 && reading.in_channels > 1 && reading.out_channels > 1;
    return Pointwise::in_memory;
  }

  io::StateDict state_;
  io::ConvertOptions const& options_;
  FileContext const& file_;
  std::string selected_;  ///< what names lose after `module.`
  std::string prefix_;    ///< both together
  std::set<std::string> folded_norms_;
  std::set<std::string> replaced_biases_;
  std::set<std::string> kernels_;
  std::vector<std::pair<std::string, OwnedTensor>> results_;
  std::map<std::string, std::string> metadata_{{"tessera.layout", "tessera"}};
  std::vector<io::ConvertedTensor> report_;
};

}  // namespace detail

}  // namespace v0
}  // namespace tessera
