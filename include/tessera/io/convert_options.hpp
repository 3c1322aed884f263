// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/io/weight_layout.hpp>

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {

/// Options of convert_checkpoint(): `ConvertOptions().prefix("backbone.").spconv_major(1)`. Names are those in
/// the file, with the wrappers of training (`module.`, `_orig_mod.`, ...) or without them.
struct ConvertOptions {
  /// The member of the file that is the state_dict, `ema` or `model.ema`; by default it is searched for.
  ConvertOptions& key(std::string value) { return key_ = std::move(value), *this; }
  [[nodiscard]] std::string const& key() const noexcept { return key_; }
  /// Only tensors whose names begin so are converted, and lose it; by default the first known prefix that the
  /// file has (known_prefixes()), or none. An empty text takes everything, and takes from the names only
  /// wrappers that are nothing else: `module.` and PyTorch's own.
  ConvertOptions& prefix(std::string value) { return prefix_ = std::move(value), *this; }
  [[nodiscard]] std::optional<std::string> const& prefix() const noexcept { return prefix_; }
  /// The layout of all kernels of sparse convolutions; by default the one that the file says, or else it is
  /// told from shapes and names.
  ConvertOptions& layout(std::optional<io::WeightLayout> value) { return layout_ = value, *this; }
  [[nodiscard]] std::optional<io::WeightLayout> const& layout() const noexcept { return layout_; }
  /// 1 or 2: the spconv that the weights were trained with. It tells layouts apart where shapes do not, and
  /// how kernels of one voxel are meant: 2 multiplies by their memory as [in, out], 1 by what the shape says.
  ConvertOptions& spconv_major(int value) { return spconv_major_ = value, *this; }
  [[nodiscard]] int spconv_major() const noexcept { return spconv_major_; }
  /// Convolutions of one voxel whose stride is not 1: their weights are as their shapes say under any
  /// version.
  ConvertOptions& strided_pointwise(std::set<std::string> kernels)
  {
    return strided_pointwise_ = std::move(kernels), *this;
  }
  [[nodiscard]] std::set<std::string> const& strided_pointwise() const noexcept { return strided_pointwise_; }
  /// The kernel size of a TorchSparse or MinkowskiEngine kernel, of which the file has the volume alone, e.g.
  /// {3, 5, 1}: without it, offsets that need it are put in order by load(). Or of a kernel of spconv whose
  /// shape a dense convolution might have as well, e.g. [16, 3, 3, 3].
  ConvertOptions& kernel_size(std::string const& kernel, std::vector<int> size)
  {
    return kernel_sizes_[kernel] = std::move(size), *this;
  }
  /// The same of all such kernels, by name.
  ConvertOptions& kernel_sizes(std::map<std::string, std::vector<int>> value)
  {
    return kernel_sizes_ = std::move(value), *this;
  }
  [[nodiscard]] std::map<std::string, std::vector<int>> const& kernel_sizes() const noexcept
  {
    return kernel_sizes_;
  }
  /// Reverses the axes of every kernel: a network over (z, y, x) becomes one over (x, y, z) and back.
  ConvertOptions& swap_axes(bool value = true) { return swaps_axes_ = value, *this; }
  [[nodiscard]] bool swaps_axes() const noexcept { return swaps_axes_; }
  /// Multiplies the batch norm behind each sparse convolution into its weight and bias, and drops the norm:
  /// `3.1` behind `3.0` of a Sequential, and `bn2` or `norm2` that is registered right behind `conv2`, which
  /// the report marks, because an activation may be between them. Other norms stay, and the report says why.
  /// `epsilon` is the norm's, which no file has: mmdetection3d's encoders use 1e-3, PyTorch's default is
  /// 1e-5.
  ConvertOptions& fold_batch_norm(double epsilon)
  {
    return folds_batch_norm_ = true, norm_epsilon_ = epsilon, *this;
  }
  [[nodiscard]] double norm_epsilon() const noexcept { return norm_epsilon_; }
  [[nodiscard]] bool folds_batch_norm() const noexcept { return folds_batch_norm_; }
  /// Renames converted kernels: their last part becomes this, e.g. "kernel" for networks of nn::Conv.
  ConvertOptions& kernel_name(std::string value) { return kernel_name_ = std::move(value), *this; }
  [[nodiscard]] std::string const& kernel_name() const noexcept { return kernel_name_; }

 private:
  std::string key_;
  std::optional<std::string> prefix_;
  std::optional<io::WeightLayout> layout_;
  int spconv_major_ = 0;
  std::set<std::string> strided_pointwise_;
  std::map<std::string, std::vector<int>> kernel_sizes_;
  bool swaps_axes_ = false;
  bool folds_batch_norm_ = false;
  double norm_epsilon_ = 0.0;
  std::string kernel_name_;
};

namespace io {

/// Prefixes of sparse encoders in checkpoints of detectors, in the order they are looked for: those of
/// mmdetection3d, BEVFusion and OpenPCDet, and the one of det3d and of the segmentors of mmdetection3d.
/// Source: the model classes of these projects.
[[nodiscard]] inline std::vector<std::string> known_prefixes()
{
  return {"pts_middle_encoder.", "middle_encoder.", "encoders.lidar.backbone.", "backbone_3d.", "backbone."};
}

}  // namespace io
}  // namespace v0
}  // namespace tessera
