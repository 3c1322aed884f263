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

/// Options of a convolution layer: `ConvOptions<3>(32, 64, 3).stride(2).bias(true)`.
///
/// What the constructor takes is a member; everything else has a setter and a getter of the same name.
template <int Dim>
struct ConvOptions {
  /// Checked by the layer that is made from them.
  ConvOptions(int in, int out, IntArray<Dim> kernel_size) : in_channels{in}, out_channels{out}
  {
    geometry.kernel_size = kernel_size;
  }

  ConvOptions& stride(IntArray<Dim> value) { return geometry.stride = value, *this; }
  [[nodiscard]] IntArray<Dim> const& stride() const noexcept { return geometry.stride; }
  /// Ignored by submanifold layers, which are centred (see the kmap policies).
  ConvOptions& padding(IntArray<Dim> value) { return geometry.padding = value, *this; }
  [[nodiscard]] IntArray<Dim> const& padding() const noexcept { return geometry.padding; }
  ConvOptions& dilation(IntArray<Dim> value) { return geometry.dilation = value, *this; }
  [[nodiscard]] IntArray<Dim> const& dilation() const noexcept { return geometry.dilation; }
  /// Of an expanding layer: further cells at the end of each axis of its grid.
  ConvOptions& output_padding(IntArray<Dim> value) { return geometry.output_padding = value, *this; }
  [[nodiscard]] IntArray<Dim> const& output_padding() const noexcept { return geometry.output_padding; }
  /// Which offsets the kernel has: `.shape(KernelShape<3>::cross())`. Listed ones replace the kernel size.
  ConvOptions& shape(KernelShape<Dim> const& value)
  {
    if (value.is_list()) { geometry.kernel_size = 1; }
    return geometry.shape = value, *this;
  }
  [[nodiscard]] KernelShape<Dim> const& shape() const noexcept { return geometry.shape; }
  ConvOptions& bias(bool value) { return bias_ = value, *this; }
  [[nodiscard]] bool bias() const noexcept { return bias_; }
  /// Back onto the coordinates that a strided layer of the same kernel size, stride and dilation came from.
  ConvOptions& transposed(bool value = true) { return transposed_ = value, *this; }
  [[nodiscard]] bool is_transposed() const noexcept { return transposed_; }
  /// Onto new coordinates: every one that the kernel reaches.
  ConvOptions& generative(bool value = true) { return generative_ = value, *this; }
  [[nodiscard]] bool is_generative() const noexcept { return generative_; }
  /// One of the kinds, whatever stride, transposed() and generative() say; a submanifold one has no stride.
  ConvOptions& kind(ConvolutionKind value) { return kind_ = value, *this; }
  /// Submanifold when every stride is 1, unless transposed or generative or told.
  [[nodiscard]] ConvolutionKind kind() const
  {
    if (kind_) { return *kind_; }
    if (generative_) { return ConvolutionKind::generative; }
    if (transposed_) { return ConvolutionKind::transposed; }
    return all_equal(geometry.stride, 1) ? ConvolutionKind::submanifold : ConvolutionKind::strided;
  }
  /// What checkpoints call the weight: "kernel" in TorchSparse, "weight" in spconv.
  ConvOptions& weight_name(std::string value) { return weight_name_ = std::move(value), *this; }
  [[nodiscard]] std::string const& weight_name() const noexcept { return weight_name_; }
  /// Whose rules this layer follows; without it what the configuration says.
  ConvOptions& compat(std::optional<Compatibility> value) { return compat_ = value, *this; }
  [[nodiscard]] std::optional<Compatibility> const& compat() const noexcept { return compat_; }
  /// Run-time choices of this layer; without them those of the calling thread (set_conv_mode(), ...).
  ConvOptions& config(std::optional<ConvConfig> const& value) { return config_ = value, *this; }
  [[nodiscard]] std::optional<ConvConfig> const& config() const noexcept { return config_; }
  /// Seed of the initial values.
  ConvOptions& seed(std::uint64_t value) { return seed_ = value, *this; }
  [[nodiscard]] std::uint64_t seed() const noexcept { return seed_; }

  int in_channels;
  int out_channels;
  ConvolutionGeometry<Dim> geometry;  ///< kernel size, stride, padding, dilation, output padding

 private:
  bool bias_ = false;
  bool transposed_ = false;
  bool generative_ = false;
  std::optional<ConvolutionKind> kind_;
  std::string weight_name_ = "kernel";
  std::optional<Compatibility> compat_;
  std::optional<ConvConfig> config_;
  std::uint64_t seed_ = 0;
};

}  // namespace v0
}  // namespace tessera
