// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/config.hpp>
#include <tessera/core/int_array.hpp>
#include <tessera/kmap/kernel_shape.hpp>

#include <optional>

namespace tessera {
inline namespace v0 {

/// Options of pooling over a kernel: `PoolOptions<3>(3).stride(2).padding(1)`.
template <int Dim>
struct PoolOptions {
  /// The stride is the kernel's size until told otherwise. A size of -1 is the whole axis, which collapses to
  /// one cell: it takes the extent from the tensor's spatial range, and padding, stride and dilation of that
  /// axis have no effect.
  explicit PoolOptions(IntArray<Dim> size) : kernel_size{size} {}

  PoolOptions& stride(IntArray<Dim> value) { return stride_ = value, *this; }
  [[nodiscard]] IntArray<Dim> stride() const { return stride_.value_or(kernel_size); }
  PoolOptions& padding(IntArray<Dim> value) { return padding_ = value, *this; }
  [[nodiscard]] IntArray<Dim> const& padding() const noexcept { return padding_; }
  PoolOptions& dilation(IntArray<Dim> value) { return dilation_ = value, *this; }
  [[nodiscard]] IntArray<Dim> const& dilation() const noexcept { return dilation_; }
  /// Which offsets the window has; the size of listed ones is 1, their stride 1 until told otherwise.
  PoolOptions& shape(KernelShape<Dim> const& value)
  {
    if (value.is_list()) { kernel_size = 1; }
    return shape_ = value, *this;
  }
  [[nodiscard]] KernelShape<Dim> const& shape() const noexcept { return shape_; }
  /// Whose rules hold; without it those of the configuration.
  PoolOptions& compat(std::optional<Compatibility> value) { return compat_ = value, *this; }
  [[nodiscard]] std::optional<Compatibility> const& compat() const noexcept { return compat_; }
  /// Where kernels sit and which outputs there are; without it the configuration of the calling thread.
  PoolOptions& config(std::optional<ConvConfig> const& value) { return config_ = value, *this; }
  [[nodiscard]] std::optional<ConvConfig> const& config() const noexcept { return config_; }

  IntArray<Dim> kernel_size;

 private:
  std::optional<IntArray<Dim>> stride_;
  IntArray<Dim> padding_ = IntArray<Dim>(0);
  IntArray<Dim> dilation_ = IntArray<Dim>(1);
  KernelShape<Dim> shape_;
  std::optional<Compatibility> compat_;
  std::optional<ConvConfig> config_;
};

}  // namespace v0
}  // namespace tessera
