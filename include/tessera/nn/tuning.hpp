// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/config.hpp>
#include <tessera/conv/detail/names.hpp>
#include <tessera/conv/operation.hpp>
#include <tessera/core/error.hpp>
#include <tessera/kmap/geometry.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace nn {

/// What tune() chooses of a ConvConfig: how a convolution is computed, never what.
///
/// Sorted and unsorted give the same bits, as do one split and fetch-on-demand where the kernel is that of a
/// Tile or the host's. Another number of splits, other tiles, and gather-scatter, add up in another order.
struct ConvChoice {
  Dataflow dataflow = Dataflow::implicit_gemm;
  bool sort = true;
  int splits = 1;
  GemmKernel kernel = GemmKernel::automatic;

  /// `config` with this choice; kernel map, downsample rule, math and compat stay.
  [[nodiscard]] ConvConfig in(ConvConfig config) const
  {
    config.dataflow = dataflow;
    config.sort = sort;
    config.splits = splits;
    config.kernel = kernel;
    return config;
  }
  /// `config` with this choice for the data gradient.
  [[nodiscard]] ConvConfig in_gradient_of(ConvConfig config) const
  {
    config.data_gradient = GradientConfig{dataflow, sort, splits, kernel};
    return config;
  }
  /// The choice that is in `config`.
  [[nodiscard]] static ConvChoice of(ConvConfig const& config)
  {
    return {config.dataflow, config.sort, config.splits, config.kernel};
  }
  /// Whether a Plan can capture it: the other dataflows wait for the number of pairs.
  [[nodiscard]] bool fits_plan() const noexcept { return dataflow == Dataflow::implicit_gemm; }

  friend bool operator==(ConvChoice const& a, ConvChoice const& b)
  {
    bool const same = a.dataflow == b.dataflow;
    return same && (a.dataflow != Dataflow::implicit_gemm ||
                    (a.sort == b.sort && a.splits == b.splits && a.kernel == b.kernel));
  }
  friend bool operator!=(ConvChoice const& a, ConvChoice const& b) { return !(a == b); }
};

/// What layers have in common that are tuned as one, or their data gradients; `tensor_stride` is the input's.
struct LayerGroup {
  ConvolutionKind kind = ConvolutionKind::submanifold;
  int in_channels = 0;
  int out_channels = 0;
  std::vector<int> kernel_size;
  std::vector<int>
      offsets;  ///< [volume, axes] digits or listed offsets of a kernel that is no box; else none
  std::vector<int> stride;
  std::vector<int> dilation;
  std::vector<int> tensor_stride;
  MathMode math = MathMode::exact;
  Operation operation = Operation::forward;  ///< or backward_data, of the layers described above

  /// Equal but for the tensor stride, which a layer has only when it runs.
  [[nodiscard]] bool same_layer(LayerGroup const& other) const
  {
    return kind == other.kind && in_channels == other.in_channels && out_channels == other.out_channels &&
           kernel_size == other.kernel_size && offsets == other.offsets && stride == other.stride &&
           dilation == other.dilation && math == other.math && operation == other.operation;
  }
  friend bool operator==(LayerGroup const& a, LayerGroup const& b)
  {
    return a.same_layer(b) && a.tensor_stride == b.tensor_stride;
  }
  friend bool operator!=(LayerGroup const& a, LayerGroup const& b) { return !(a == b); }
};

/// A choice whose output lay further from the first one's than rounding explains, or that ran out of memory.
struct RefusedChoice {
  ConvChoice choice;
  std::string reason;
};

/// What tune() found for one group. Times are seconds a sample, means over the samples.
struct TunedGroup {
  LayerGroup group;
  std::vector<std::string> layers;  ///< names in the model, in order of their first call
  ConvChoice choice;
  ConvChoice before;
  double seconds = 0;             ///< all layers of the group once, as chosen
  double seconds_before = 0;      ///< the same as it was
  double map_seconds = 0;         ///< bringing their maps into the form that the choice reads, once per map
  double map_seconds_before = 0;  ///< the same as it was; groups on one map share both
  std::vector<RefusedChoice> refused;
};

/// The result of tune(): what io::save_tuning() writes.
struct Tuning {
  std::string device;          ///< the GPU's name, or "host"
  int compute_capability = 0;  ///< 90 is 9.0; 0 of the host
  std::string version;         ///< of the library
  std::string scalar;          ///< "float16", ...
  std::vector<TunedGroup> groups;
  std::vector<std::string> not_run;  ///< layers that no sample led to; they stay as they were
  double seconds = 0;                ///< a sample: all groups and their maps, each map's forms counted once
  double seconds_before = 0;
};

}  // namespace nn

namespace detail {

/// `sorted, 3 splits`, `sorted, 1 split, kernel warp` or the dataflow.
[[nodiscard]] inline std::string text_of(nn::ConvChoice const& choice)
{
  if (choice.dataflow != Dataflow::implicit_gemm) { return name_of(choice.dataflow); }
  return concat(choice.sort ? "sorted" : "unsorted", ", ", choice.splits,
                choice.splits == 1 ? " split" : " splits",
                choice.kernel == GemmKernel::automatic ? "" : concat(", kernel ", name_of(choice.kernel)));
}

/// `submanifold 64 -> 64, kernel [3, 3, 3], stride [1, 1, 1] at [2, 2, 2]`; of a kernel that is no box also how
/// many offsets it has.
[[nodiscard]] inline std::string text_of(nn::LayerGroup const& group)
{
  auto const axes = std::max<std::size_t>(1, group.kernel_size.size());
  return concat(group.operation == Operation::backward_data ? "data gradient of " : "", name_of(group.kind),
                ' ', group.in_channels, " -> ", group.out_channels, ", kernel ", list(group.kernel_size),
                group.offsets.empty() ? "" : concat(" of ", group.offsets.size() / axes, " offsets"),
                ", stride ", list(group.stride), " at ", list(group.tensor_stride));
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
