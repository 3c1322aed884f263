// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/config.hpp>
#include <tessera/core/int_array.hpp>
#include <tessera/kmap/geometry.hpp>
#include <tessera/kmap/policies.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace nn {

/// Options of a convolution layer: `ConvOptions<3>(32, 64, 3).stride(2).bias(true)`.
template <int Dim>
struct ConvOptions {
  /// Checked by the layer that is made from them.
  ConvOptions(int in, int out, IntArray<Dim> kernel_size) : in_channels{in}, out_channels{out}
  {
    geometry.kernel_size = kernel_size;
  }

  ConvOptions& stride(IntArray<Dim> value) { return geometry.stride = value, *this; }
  /// Ignored by submanifold layers, which are centred (see the kmap policies).
  ConvOptions& padding(IntArray<Dim> value) { return geometry.padding = value, *this; }
  ConvOptions& dilation(IntArray<Dim> value) { return geometry.dilation = value, *this; }
  ConvOptions& bias(bool value) { return has_bias = value, *this; }
  /// Back onto the coordinates that a strided layer of the same kernel size, stride and dilation came from.
  ConvOptions& transposed(bool value = true) { return is_transposed = value, *this; }
  /// Onto new coordinates: every one that the kernel reaches.
  ConvOptions& generative(bool value = true) { return is_generative = value, *this; }
  /// One of the kinds, whatever stride, transposed() and generative() say; a submanifold one has no stride.
  ConvOptions& kind(ConvolutionKind value) { return conv_kind = value, *this; }
  /// Of an expanding layer: further cells at the end of each axis of its grid.
  ConvOptions& output_padding(IntArray<Dim> value) { return geometry.output_padding = value, *this; }
  /// What checkpoints call the weight: "kernel" in TorchSparse, "weight" in spconv.
  ConvOptions& weight_name(std::string value) { return name_of_weight = std::move(value), *this; }
  /// Whose rules this layer follows; without it what the configuration says.
  ConvOptions& compat(Compat value) { return conv_compat = value, *this; }
  /// Run-time choices of this layer; without them those of the calling thread (set_conv_mode(), ...).
  ConvOptions& config(ConvConfig const& value) { return conv_config = value, *this; }
  /// Seed of the initial values.
  ConvOptions& seed(std::uint64_t value) { return initial_seed = value, *this; }

  /// Submanifold when every stride is 1, unless transposed or generative or told.
  [[nodiscard]] ConvolutionKind kind() const
  {
    if (conv_kind) { return *conv_kind; }
    if (is_generative) { return ConvolutionKind::generative; }
    if (is_transposed) { return ConvolutionKind::transposed; }
    return all_equal(geometry.stride, 1) ? ConvolutionKind::submanifold : ConvolutionKind::strided;
  }

  int in_channels;
  int out_channels;
  ConvolutionGeometry<Dim> geometry;
  bool has_bias = false;
  bool is_transposed = false;
  bool is_generative = false;
  std::optional<ConvolutionKind> conv_kind;
  std::string name_of_weight = "kernel";
  std::optional<Compat> conv_compat;
  std::optional<ConvConfig> conv_config;
  std::uint64_t initial_seed = 0;
};

}  // namespace nn
}  // namespace v0
}  // namespace tessera
