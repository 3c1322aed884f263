// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/conv.hpp>
#include <tessera/nn/sparse_pooling.hpp>
#include <tessera/ops/bev.hpp>

#include <optional>

namespace tessera {
inline namespace v0 {
namespace nn {

// TorchSparse's modules from voxels to a bird's-eye view, with batch-first coordinates (its own version 2.1
// reads them as batch-last). The height axis counts without the batch: 2 of (b, x, y, z), 0 of (b, z, y, x).

}  // namespace nn

/// Options of the two convolutions: `ToBevOptions(64, 128, 5).axis(2)`.
struct ToBevOptions {
  /// @param num_heights  cells of the height axis
  ToBevOptions(int in, int out, int num_heights) : in_channels{in}, out_channels{out}, heights{num_heights} {}

  ToBevOptions& axis(int value) { return axis_ = value, *this; }
  [[nodiscard]] int axis() const noexcept { return axis_; }
  ToBevOptions& bias(bool value) { return bias_ = value, *this; }
  [[nodiscard]] bool bias() const noexcept { return bias_; }
  ToBevOptions& config(std::optional<ConvConfig> const& value) { return config_ = value, *this; }
  [[nodiscard]] std::optional<ConvConfig> const& config() const noexcept { return config_; }
  ToBevOptions& seed(std::uint64_t value) { return seed_ = value, *this; }
  [[nodiscard]] std::uint64_t seed() const noexcept { return seed_; }

  int in_channels;
  int out_channels;
  int heights;

 private:
  int axis_ = 2;
  bool bias_ = false;
  std::optional<ConvConfig> config_;
  std::uint64_t seed_ = 0;
};

namespace detail {

/// A column of `heights` cells on the height axis, 1 elsewhere.
[[nodiscard]] inline IntArray<3> bev_column(int axis, int heights, char const* who)
{
  expects(axis >= 0 && axis <= 2, who, ": axis ", axis, "; the axes are 0, 1 and 2");
  expects(heights >= 1, who, ": ", heights, " heights; at least 1");
  IntArray<3> column(1);
  column[axis] = heights;
  return column;
}

/// Throws unless the tensor has `heights` cells on the height axis.
template <class Scalar, class Space>
void expect_heights(SparseTensor<3, Scalar, Space> const& x, int axis, int heights, char const* who)
{
  expect_coordinates(x, who);
  auto const& set = *x.coordinates();
  if (set.spatial_range()) {
    auto const extent = set.spatial_range()->extent[axis];
    expects(extent == heights, who, ": the tensor's grid has ", extent, " cells on axis ", axis, ", not ",
            heights);
  } else if (!set.box().empty()) {
    expects(set.box().lower[axis] >= 0 && set.box().upper[axis] < heights, who, ": voxels from ",
            set.box().lower[axis], " to ", set.box().upper[axis], " on axis ", axis, " exceed ", heights,
            " heights");
  }
}

/// A kernel for each height, summed over the column: a convolution whose stride is its size.
[[nodiscard]] inline ConvOptions<3> bev_conv(ToBevOptions const& options, char const* who)
{
  auto const column = bev_column(options.axis(), options.heights, who);
  ConvOptions<3> conv{options.in_channels, options.out_channels, column};
  conv.stride(column).kind(ConvolutionKind::strided).bias(options.bias()).seed(options.seed());
  return conv.config(options.config());
}

}  // namespace detail

namespace nn {

/// `y[b, ..., o] = bias[o] + sum over heights d and channels c of x[(b, ..., d, ...), c] * kernel[d, c, o]`,
/// on the columns that hold a voxel, as a sparse tensor of one height.
///
/// Parameters: `kernel` [heights, in_channels, out_channels], `bias` [out_channels] if asked for.
/// @throws invalid_argument  an axis that is not 0, 1 or 2, no heights; x of other heights or channels
///
/// Cost, stream, determinism: those of one strided convolution.
template <class Scalar, class Space = Device>
class ToBevConvolution final : public Module<3, Scalar, Space> {
 public:
  using typename Module<3, Scalar, Space>::Tensor;

  ToBevConvolution(ToBevOptions const& options, Execution<Space> const& exec)
      : options_{options}, conv_{detail::bev_conv(options, "ToBevConvolution"), exec}
  {
    this->register_child("", conv_);
  }

  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
  {
    detail::expect_heights(x, options_.axis(), options_.heights, "ToBevConvolution");
    return conv_.forward(x, exec);
  }

 private:
  ToBevOptions options_;
  Conv<3, Scalar, Space> conv_;
};

/// ToBevConvolution as a dense map [batches, out_channels, H, W]; the bias is added where there are voxels.
template <class Scalar, class Space = Device>
class ToDenseBevConvolution final : public ModuleBase {
  static_assert(detail::layer::LayerArguments<3, Scalar, Space>::are_valid);

 public:
  using Tensor = SparseTensor<3, Scalar, Space>;

  ToDenseBevConvolution(ToBevOptions const& options, Execution<Space> const& exec)
      : options_{options}, conv_{detail::bev_conv(options, "ToDenseBevConvolution"), exec}
  {
    this->register_child("", conv_);
  }

  /// @throws invalid_argument  x has no spatial range or other heights, and what Conv says
  ///
  /// Cost, stream, determinism: those of a strided convolution and bev().
  [[nodiscard]] DenseTensor<2, Scalar, Space> forward(Tensor const& x, Execution<Space> const& exec)
  {
    detail::expect_heights(x, options_.axis(), options_.heights, "ToDenseBevConvolution");
    return bev(conv_.forward(x, exec), BevOptions().axis(options_.axis()), exec);
  }

 private:
  ToBevOptions options_;
  Conv<3, Scalar, Space> conv_;
};

/// The mean over the voxels of each column, as a sparse tensor of one height.
/// @throws invalid_argument  an axis that is not 0, 1 or 2, no heights; x of other heights
///
/// Cost, stream, determinism: those of average_pool().
template <class Scalar, class Space = Device>
class ToBevReduction final : public Module<3, Scalar, Space> {
 public:
  using typename Module<3, Scalar, Space>::Tensor;

  ToBevReduction(int height_axis, int heights)
      : height_axis_{height_axis},
        heights_{heights},
        pool_{PoolOptions<3>(detail::bev_column(height_axis, heights, "ToBevReduction"))}
  {}

  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
  {
    detail::expect_heights(x, height_axis_, heights_, "ToBevReduction");
    return pool_.forward(x, exec);
  }

 private:
  int height_axis_;
  int heights_;
  AveragePool<3, Scalar, Space> pool_;
};

/// All heights beside each other: a dense map [batches, D * C, H, W] with channel `d * C + c`. Errors, cost,
/// stream, determinism: those of bev().
template <class Scalar, class Space = Device>
class ToBevHeightCompression final : public ModuleBase {
  static_assert(detail::layer::LayerArguments<3, Scalar, Space>::are_valid);

 public:
  using Tensor = SparseTensor<3, Scalar, Space>;

  explicit ToBevHeightCompression(int height_axis = 2)
      : bev_{BevOptions().axis(height_axis).channels(BevChannels::height_major)}
  {}

  [[nodiscard]] DenseTensor<2, Scalar, Space> forward(Tensor const& x, Execution<Space> const& exec)
  {
    return bev(x, bev_, exec);
  }

 private:
  BevOptions bev_;
};

}  // namespace nn
}  // namespace v0
}  // namespace tessera
