// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/io/convert_options.hpp>
#include <tessera/io/detail/kernel_mark.hpp>
#include <tessera/io/detail/kernel_order.hpp>
#include <tessera/io/detail/layout_detection.hpp>
#include <tessera/io/detail/norm_pairs.hpp>
#include <tessera/io/state_dict.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// What one tensor is, and why.
struct LayoutDecision {
  bool is_kernel = false;  ///< of a sparse convolution; anything else is copied
  WeightReading reading;
  KernelMark source;  ///< of a flat layout: what the file says of the offsets
  std::string reason;
  bool warning = false;  ///< whether the reason deserves a look
};

/// Decides for every tensor whether it is the kernel of a sparse convolution, and in which layout.
///
/// First each tensor on its own: kernel sizes that no network has, the number of channels that the bias or
/// the norm behind has, the module's version and the options leave some readings. Where several are left, the
/// tensors of which one was left decide.
class LayoutDecider {
 public:
  LayoutDecider(io::StateDict const& state, ConvertOptions const& options, FileContext const& file)
      : state_{state}, options_{options}, file_{file}, table_{state.tensors}
  {}

  [[nodiscard]] std::vector<LayoutDecision> decide()
  {
    find_offset_order();
    std::vector<LayoutDecision> decisions;
    std::vector<std::size_t> open;
    std::vector<std::vector<WeightReading>> readings;
    std::map<WeightLayout, int> votes;
    for (std::size_t i = 0; i < state_.tensors.size(); ++i) {
      LayoutDecision decision;
      readings.push_back(readings_of(i, decision));
      auto const& left = readings.back();
      if (left.size() == 1) {
        choose(decision, left[0]);
        if (left[0].volume > 1) { ++votes[left[0].layout]; }
      } else if (left.size() > 1) {
        open.push_back(i);
      }
      decisions.push_back(std::move(decision));
    }
    std::vector<std::size_t> unknown;
    for (auto const i : open) {
      auto const& left = readings[i];
      auto const count = [&](WeightReading const& reading) { return votes[reading.layout]; };
      auto const best = std::max_element(left.begin(), left.end(),
                                         [&](auto const& a, auto const& b) { return count(a) < count(b); });
      auto const most = count(*best);
      auto const equals =
          std::count_if(left.begin(), left.end(), [&](auto const& r) { return count(r) == most; });
      if (most == 0 || equals > 1) {
        unknown.push_back(i);
        continue;
      }
      choose(decisions[i], *best);
      decisions[i].reason = concat("as ", most, most == 1 ? " other kernel" : " other kernels",
                                   " of the file", decisions[i].warning ? maybe_dense : "");
    }
    if (!unknown.empty()) { fail_unknown(unknown, readings[unknown.front()]); }
    return decisions;
  }

 private:
  static constexpr char const* maybe_dense =
      "; a dense convolution may have this shape as well, and would have to be left out";

  /// Whether a dense layer would have that kernel: one channel in and a line of voxels, [16, 1, 1, 1, 3], is
  /// the shape of every sparse kernel of one voxel with few channels.
  [[nodiscard]] static bool is_usual_dense(WeightReading const& reading)
  {
    return reading.dense && (reading.in_channels > 1 || long_axes(reading.kernel_size).size() > 1);
  }

  static void choose(LayoutDecision& decision, WeightReading const& reading)
  {
    decision.is_kernel = !reading.dense;
    decision.reading = reading;
  }

  [[noreturn]] void fail_unknown(std::vector<std::size_t> const& unknown,
                                 std::vector<WeightReading> const& readings) const
  {
    auto const& [name, tensor] = state_.tensors[unknown.front()];
    std::string layouts;
    for (auto const& reading : readings) {
      layouts += (layouts.empty() ? "" : " or ") + std::string{name_of(reading.layout)};
    }
    file_.fail("the layout of ", unknown.size(), unknown.size() == 1 ? " kernel" : " kernels",
               " cannot be told from the shapes, e.g. ", in_quotes(name), " of shape ",
               shown_shape(tensor.shape), " may be ", layouts, "; give the layout or spconv's major version");
  }

  /// TorchSparse or MinkowskiEngine, which call their kernels alike.
  void find_offset_order()
  {
    auto const wanted = options_.layout() ? options_.layout() : state_.layout;
    if (wanted && is_flat(*wanted)) {
      offset_layout_ = *wanted;
      offset_reason_ = options_.layout() ? "as asked for" : "as the file says";
      return;
    }
    auto order = KernelOrderFinder{state_.tensors}.find();
    offset_layout_ = order.layout;
    is_offset_layout_known_ = order.is_known;
    offset_reason_ = std::move(order.reason);
  }

  /// The readings of tensor `i` that are left; none if it is no kernel. `decision` gets the reason.
  [[nodiscard]] std::vector<WeightReading> readings_of(std::size_t i, LayoutDecision& decision) const
  {
    auto& reason = decision.reason;
    auto const& [name, tensor] = state_.tensors[i];
    auto const last = split_name(name).second;
    auto const rank = tensor.shape.size();
    reason = "copied";
    bool const real = tensor.dtype == DType::float64 || tensor.dtype == DType::float32 ||
                      tensor.dtype == DType::float16 || tensor.dtype == DType::bfloat16;
    if (!real || tensor.num_bytes == 0) { return {}; }
    bool const ours = offset_layout_ == WeightLayout::tessera || (state_.layout && is_flat(*state_.layout));
    if ((last == "kernel" && (rank == 2 || rank == 3)) || (ours && rank == 3 && last == "weight")) {
      reason = offset_reason_;
      return {volume_reading(name, tensor, decision)};
    }
    if (last != "weight" || rank < 3 || rank > 6 || ours) { return {}; }
    return spconv_readings(name, module_of(name), tensor, decision);
  }

  /// A kernel [volume, in, out] or [in, out].
  [[nodiscard]] WeightReading volume_reading(std::string const& name, RawTensor const& tensor,
                                             LayoutDecision& decision) const
  {
    auto const rank = tensor.shape.size();
    auto const volume = rank == 2 ? 1 : tensor.shape[0];
    WeightReading reading{false, offset_layout_, {}, tensor.shape[rank - 2], tensor.shape[rank - 1], volume};
    auto const told = options_.kernel_sizes().find(name);
    if (told != options_.kernel_sizes().end()) { reading.kernel_size = told->second; }
    auto& source = decision.source;
    auto const mark = state_.kernel_marks.find(name);
    if (mark != state_.kernel_marks.end()) {
      auto const parsed = parse_kernel_mark(mark->second);
      if (!parsed) {
        file_.fail("says of the kernel size of ", in_quotes(name), " ", in_quotes(mark->second),
                   ", which cannot be read");
      }
      source = *parsed;
    } else if (offset_layout_ == WeightLayout::minkowski ||
               (offset_layout_ == WeightLayout::torchsparse && volume % 2 == 1)) {
      source.order = OffsetNumbering::first_axis_fastest;
    } else if (!is_offset_layout_known_) {
      source.order = OffsetNumbering::unknown;  // of even volumes the two number offsets in different orders
    }
    for (auto const* const size : {&reading.kernel_size, &source.size}) {
      if (size->empty() || volume_of(*size) == volume) { continue; }
      file_.fail("kernel ", in_quotes(name), " has ", volume, " offsets, and its kernel size is ",
                 list(*size), "; give its kernel size");
    }
    return reading;
  }

  [[nodiscard]] std::vector<WeightReading> spconv_readings(std::string const& name, std::string const& module,
                                                           RawTensor const& tensor,
                                                           LayoutDecision& decision) const
  {
    auto& reason = decision.reason;
    auto forced = options_.layout() ? options_.layout() : state_.layout;
    if (forced && is_flat(*forced)) { forced.reset(); }
    auto readings = weight_readings(tensor.shape, forced);
    std::string why = "the only usual kernel size";
    auto const drop = [&](std::string const& because, auto const& unwanted) {
      auto const old_size = readings.size();
      readings.erase(std::remove_if(readings.begin(), readings.end(), unwanted), readings.end());
      if (readings.size() != old_size) { why = because; }
    };

    auto const [channels, source] = table_.out_channels(module);
    auto const wanted = channels;
    if (channels != 0) {
      drop(concat(channels, " channels out as in ", shown_name(source)),
           [&](WeightReading const& r) { return r.out_channels != wanted; });
    }
    auto const version = state_.versions.find(module);
    if (version != state_.versions.end() && version->second >= 2) {
      drop(concat("module version ", version->second, ", so spconv 2"),
           [](WeightReading const& r) { return r.dense || r.layout == WeightLayout::rsck; });
    }
    if (options_.spconv_major() != 0) {
      auto const other = options_.spconv_major() == 1 ? WeightLayout::rskc : WeightLayout::rsck;
      drop(concat("spconv ", options_.spconv_major(), " as asked for"),
           [&](WeightReading const& r) { return !r.dense && r.layout == other; });
    }
    auto const told = options_.kernel_sizes().find(name);
    if (told != options_.kernel_sizes().end()) {
      drop("its kernel size as asked for",
           [&](WeightReading const& r) { return r.dense || r.kernel_size != told->second; });
    }
    // Dense convolutions are common in one and two dimensions, and not in three.
    bool const dense = std::any_of(readings.begin(), readings.end(), [](auto const& r) { return r.dense; });
    bool const sparse = std::any_of(readings.begin(), readings.end(), [](auto const& r) { return !r.dense; });
    if (dense && (tensor.shape.size() <= 4 || !sparse)) {
      reason = "copied: a dense convolution";
      // Not every depthwise one, [channels, 1, 3, 3]: a sparse one has the same size on both axes.
      decision.warning = std::any_of(readings.begin(), readings.end(), [](WeightReading const& r) {
        return !r.dense && r.kernel_size.size() == 2 && r.kernel_size[0] == r.kernel_size[1];
      });
      if (decision.warning) { reason += "; if it is a sparse one, give its kernel size"; }
      return {};
    }
    bool const usual_dense = std::any_of(readings.begin(), readings.end(), is_usual_dense);
    readings.erase(std::remove_if(readings.begin(), readings.end(), [](auto const& r) { return r.dense; }),
                   readings.end());
    reason = !forced ? why : options_.layout() ? "as asked for" : "as the file says";
    if (usual_dense && !forced) {
      decision.warning = true;
      reason += maybe_dense;
    }
    if (!readings.empty()) { return readings; }
    if (tensor.shape.size() <= 4 && !forced && told == options_.kernel_sizes().end()) {
      reason = "copied: the kernel of no sparse convolution";
      return {};
    }
    file_.fail("tensor ", in_quotes(name), " of shape ", shown_shape(tensor.shape), " is no kernel ",
               forced ? concat("in the layout ", name_of(*forced)) : "of any layout",
               channels != 0 ? concat(" with ", channels, " channels out as ", shown_name(source), " has")
                             : std::string{});
  }

  io::StateDict const& state_;
  ConvertOptions const& options_;
  FileContext const& file_;
  TensorTable table_;
  WeightLayout offset_layout_ = WeightLayout::torchsparse;
  bool is_offset_layout_known_ = true;
  std::string offset_reason_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
