// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/io/convert_options.hpp>
#include <tessera/io/converted_checkpoint.hpp>
#include <tessera/io/detail/kernel_conversion.hpp>
#include <tessera/io/detail/kernel_mark.hpp>
#include <tessera/io/detail/layout_decision.hpp>
#include <tessera/io/detail/name_selection.hpp>
#include <tessera/io/detail/norm_pairs.hpp>
#include <tessera/io/detail/stored_layout.hpp>
#include <tessera/io/safetensors.hpp>
#include <tessera/io/state_dict.hpp>

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Carries a conversion out; see io::convert_checkpoint().
class CheckpointConverter {
 public:
  CheckpointConverter(io::StateDict state, ConvertOptions const& options, FileContext const& file)
      : state_{std::move(state)}, options_{options}, file_{file}
  {}

  [[nodiscard]] io::ConvertedCheckpoint convert()
  {
    file_.expects(options_.spconv_major() >= 0 && options_.spconv_major() <= 2,
                  "spconv's major version is 1 or 2, not ", options_.spconv_major());
    file_.expects(!options_.folds_batch_norm() || options_.norm_epsilon() >= 0.0,
                  "a batch norm's epsilon is at least 0, not ", options_.norm_epsilon());
    file_.expects(!state_.layout || !options_.layout() || *state_.layout == *options_.layout(),
                  "says that its layout is ", state_.layout ? name_of(*state_.layout) : "", ", not ",
                  options_.layout() ? name_of(*options_.layout()) : "");
    NameSelection const selection{state_, options_, file_};
    for (auto const& [name, shape] : selection.left_out()) {
      report_.push_back({name, "", shape, {}, "", "another prefix", false});
    }
    selected_ = selection.prefix();
    originals_ = selection.originals();
    TensorTable const table{state_.tensors};
    auto const decisions = LayoutDecider{state_, options_, file_}.decide();
    for (std::size_t i = 0; i < decisions.size(); ++i) {
      if (decisions[i].is_kernel) { kernels_.insert(module_of(state_.tensors[i].first)); }
    }
    if (options_.folds_batch_norm()) { find_folds(decisions, table); }
    for (std::size_t i = 0; i < decisions.size(); ++i) {
      decisions[i].is_kernel ? convert_kernel(i, decisions[i], table) : copy(i, decisions[i]);
    }
    for (auto const& name : state_.others) {
      report_.push_back({name, "", {}, {}, "", "no tensor of a known type", false});
    }
    metadata_[prefix_key] = state_.lost + selection.lost();
    metadata_.insert(state_.description.begin(), state_.description.end());
    std::vector<NamedTensor> views;
    for (auto const& [name, tensor] : results_) { views.emplace_back(name, tensor.view()); }
    return {Safetensors{safetensors_bytes(views, metadata_), file_.path()}, std::move(report_), state_.where,
            selection.lost(), state_.beside};
  }

 private:
  [[nodiscard]] std::string new_name(std::string const& name) const { return name.substr(selected_.size()); }

  void add(std::string const& name, OwnedTensor tensor)
  {
    if (name.empty()) { file_.fail("has a tensor whose name is the prefix and no more"); }
    results_.emplace_back(name, std::move(tensor));
  }

  void copy(std::size_t i, LayoutDecision const& decision)
  {
    auto const& [name, tensor] = state_.tensors[i];
    auto const [parent, last] = split_name(name);
    auto const module = module_of(name);
    if (folded_norms_.count(module) != 0 || replaced_biases_.count(name) != 0) {
      report_.push_back(
          {originals_[i], "", tensor.shape, {}, "", "folded into the convolution before it", false});
      return;
    }
    auto result = own(tensor);
    auto reason = decision.reason;
    // MinkowskiEngine's biases are [1, channels].
    if (last == "bias" && tensor.shape.size() == 2 && tensor.shape[0] == 1 && kernels_.count(module) != 0) {
      result.shape.erase(result.shape.begin());
      reason = "copied, as a row";
    }
    report_.push_back(
        {originals_[i], new_name(name), tensor.shape, result.shape, "", reason, decision.warning});
    add(new_name(name), std::move(result));
  }

  void find_folds(std::vector<LayoutDecision> const& decisions, TensorTable const& table)
  {
    for (std::size_t i = 0; i < decisions.size(); ++i) {
      if (!decisions[i].is_kernel) { continue; }
      auto const parent = split_name(state_.tensors[i].first).first;
      auto const norm =
          parent.empty() ? std::string{} : table.norm_of(module_of(state_.tensors[i].first)).norm;
      if (norm.empty()) { continue; }
      folded_norms_.insert(norm);
      if (table.find(parent + "bias") != nullptr) { replaced_biases_.insert(parent + "bias"); }
    }
  }

  void convert_kernel(std::size_t i, LayoutDecision const& decision, TensorTable const& table)
  {
    auto const& [name, tensor] = state_.tensors[i];
    auto const& reading = decision.reading;
    auto const [parent, last] = split_name(name);
    auto const module = module_of(name);
    auto target = new_name(name);
    if (!options_.kernel_name().empty()) { target = new_name(parent) + options_.kernel_name(); }
    io::ConvertedTensor line{originals_[i],           target,          tensor.shape,    {},
                             name_of(reading.layout), decision.reason, decision.warning};

    auto const pointwise = pointwise_of(name, tensor, reading, line);
    auto converted = to_tessera(tensor, decision, pointwise, options_.swaps_axes(), name, file_);
    auto& kernel = converted.tensor;
    line.to_shape = kernel.shape;
    if (reading.volume > 1) { tell_offsets(converted.mark, target, line); }
    auto const pair = options_.folds_batch_norm() && !module.empty() ? table.norm_of(module) : NormPair{};
    auto const& norm = pair.norm;
    if (norm.empty()) {
      if (!pair.why_not.empty()) {
        line.reason += "; no norm folded: " + pair.why_not;
        line.warning = true;
      } else if (options_.folds_batch_norm()) {
        line.reason += "; no norm behind it";
      }
      report_.push_back(std::move(line));
      add(target, std::move(kernel));
      return;
    }
    auto const norm_values = norm_line(table, norm, reading.out_channels, options_.norm_epsilon(), file_);
    auto const* const bias = table.find(parent + "bias");
    if (bias != nullptr && bias->size() != reading.out_channels) {
      file_.fail("the bias of ", in_quotes(name), " has ", bias->size(), " channels, not ",
                 reading.out_channels);
    }
    auto folded = fold_norm(std::move(kernel), bias, norm_values);
    if (!folded.fits) {
      file_.fail("the batch norm ", in_quotes(norm), " folded into ", in_quotes(name), " gives values that ",
                 name_of(tensor.dtype), " cannot hold; convert it without folding");
    }
    line.reason += concat("; ", shown_name(norm), " folded with epsilon ", options_.norm_epsilon());
    if (pair.by_name) {
      line.reason += ", by its name and place: wrong if an activation is between them, which no file tells";
      line.warning = true;
    }
    report_.push_back(std::move(line));
    report_.push_back(
        {"", new_name(parent) + "bias", {}, folded.bias.shape, "", "of " + shown_name(norm), false});
    add(target, std::move(folded.kernel));
    add(new_name(parent) + "bias", std::move(folded.bias));
  }

  /// Notes what is known of the offsets of a kernel for those who read the file, and says so in the report.
  void tell_offsets(KernelMark const& mark, std::string const& target, io::ConvertedTensor& line)
  {
    if (options_.swaps_axes()) { line.reason += "; axes reversed"; }
    if (mark.order == OffsetNumbering::unknown) {
      line.reason +=
          "; TorchSparse and MinkowskiEngine number an even number of offsets differently, and nothing tells "
          "which "
          "of them wrote it: give the layout, or load() refuses it";
      line.warning = true;
    } else if (mark.order == OffsetNumbering::first_axis_fastest) {
      line.reason +=
          "; its volume does not tell its kernel size, so its offsets stay first axis fastest, and load() "
          "puts them in order by the module's size";
      line.warning = true;
    } else if (mark.from_volume) {
      line.reason += concat("; as a kernel ", list(mark.size), " unless the module has another size");
    }
    if (!mark.size.empty() || mark.order != OffsetNumbering::last_axis_fastest) {
      metadata_[kernel_mark_key(target)] = text_of(mark);
    }
  }

  /// How a kernel of one voxel is read, and a word about it.
  [[nodiscard]] Pointwise pointwise_of(std::string const& name, RawTensor const& tensor,
                                       WeightReading const& reading, io::ConvertedTensor& line) const
  {
    if (reading.volume != 1) { return Pointwise::not_so; }
    if (options_.strided_pointwise().count(name) != 0) {
      line.reason += "; one voxel with a stride";
      return Pointwise::not_so;
    }
    if (reading.layout == WeightLayout::flexgemm) { return Pointwise::as_shaped; }
    bool const shape_lies = reading.layout == WeightLayout::krsc || reading.layout == WeightLayout::rskc;
    if (!shape_lies) { return tensor.shape.size() == 3 ? Pointwise::not_so : Pointwise::in_memory; }
    if (state_.is_as_shaped) { return Pointwise::as_shaped; }
    if (options_.spconv_major() == 1) {
      line.reason += "; one voxel, as the shape says, because spconv 1 trained it";
      return Pointwise::as_shaped;
    }
    line.reason += "; one voxel, [in, out] in memory as spconv 2 reads it";
    bool const known = options_.spconv_major() != 0 || state_.layout;  // save() wrote it as spconv 2 reads it
    line.warning = line.warning || (!known && reading.in_channels > 1 && reading.out_channels > 1);
    return Pointwise::in_memory;
  }

  io::StateDict state_;
  ConvertOptions options_;
  FileContext const& file_;
  std::string selected_;                ///< what names still lose
  std::vector<std::string> originals_;  ///< names in the file
  std::set<std::string> folded_norms_;
  std::set<std::string> replaced_biases_;
  std::set<std::string> kernels_;
  std::vector<std::pair<std::string, OwnedTensor>> results_;
  std::map<std::string, std::string> metadata_{{layout_key, "tessera"}};
  std::vector<io::ConvertedTensor> report_;
};

}  // namespace detail

}  // namespace v0
}  // namespace tessera
