// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate.hpp>
#include <tessera/kmap/kernel_shape.hpp>

#include <algorithm>
#include <climits>
#include <cstdint>

namespace tessera {
inline namespace v0 {

/// Which coordinates a convolution writes.
enum class ConvolutionKind : std::uint8_t {
  submanifold,  ///< those it reads, in their order
  strided,      ///< those the downsample policy names, in lexicographic order
  transposed,   ///< those of the set that a strided convolution came from, in their order
  generative,   ///< those its kernel reaches from the inputs, in lexicographic order
  inverse,      ///< those of the set that this one was made from, found by the kernel size alone
  expanding,    ///< those of a dense transposed convolution with padding, in lexicographic order
};

/// Kernel size, stride, padding and dilation of a convolution, one number per axis. The output padding is an
/// expanding one's: further cells at the end of each axis of its grid. The shape says which offsets there are.
template <int Dim>
struct ConvolutionGeometry {
  IntArray<Dim> kernel_size = IntArray<Dim>(3);
  IntArray<Dim> stride = IntArray<Dim>(1);
  IntArray<Dim> padding = IntArray<Dim>(0);
  IntArray<Dim> dilation = IntArray<Dim>(1);
  IntArray<Dim> output_padding = IntArray<Dim>(0);
  KernelShape<Dim> shape = {};

  /// Number of kernel offsets.
  [[nodiscard]] TESSERA_HOST_DEVICE constexpr int volume() const { return shape.volume(kernel_size); }
};

/// Coordinates of an axis, both ends included; of 64 bits, since they may exceed what rows hold.
struct AxisBounds {
  std::int64_t lower = 0;
  std::int64_t upper = 0;
};

/// The offsets of a kernel, in the order of its shape: of a box row-major, the last axis fastest, always.
///
/// Offset number k has one digit per axis, `d_i` in [0, size_i), and is at `d_i * dilation_i - anchor_i`. An
/// input `in` contributes to an output `out` under offset k when `in = stride * out + offset(k)` on every
/// axis, in the same batch entry; so a larger digit reads a larger coordinate (cross-correlation, no flip).
template <int Dim>
struct KernelRegion {
  IntArray<Dim> size = IntArray<Dim>(3);
  IntArray<Dim> stride = IntArray<Dim>(1);
  IntArray<Dim> dilation = IntArray<Dim>(1);
  IntArray<Dim> anchor = IntArray<Dim>(0);
  KernelShape<Dim> shape = {};

  [[nodiscard]] TESSERA_HOST_DEVICE constexpr int volume() const { return shape.volume(size); }

  friend bool operator==(KernelRegion const& a, KernelRegion const& b)
  {
    return a.size == b.size && a.stride == b.stride && a.dilation == b.dilation && a.anchor == b.anchor &&
           a.shape == b.shape;
  }

  /// Whether kernels neither overlap nor leave gaps, so that every input has one pair.
  [[nodiscard]] bool tiles_inputs() const
  {
    for (int i = 0; i < Dim; ++i) {
      if (size[i] != stride[i] || (size[i] > 1 && dilation[i] != 1)) { return false; }
    }
    return shape.is_box();
  }

  /// The smallest and the largest offset of an axis.
  [[nodiscard]] AxisBounds offsets(int axis) const
  {
    auto const first = std::int64_t{shape.lowest_digit(axis)} * dilation[axis] - anchor[axis];
    auto const last = std::int64_t{shape.highest_digit(axis, size)} * dilation[axis] - anchor[axis];
    return {std::min(first, last), std::max(first, last)};
  }

  /// The range of outputs of inputs in `box` under any offset, or at `in / stride`, with two to spare.
  [[nodiscard]] AxisBounds reach(CoordinateBox<Dim> const& box, int axis) const
  {
    auto const [lowest, highest] = offsets(axis);
    return {(box.lower[axis] - std::max<std::int64_t>(0, highest)) / stride[axis] - 2,
            (box.upper[axis] - std::min<std::int64_t>(0, lowest)) / stride[axis] + 2};
  }

  /// The digits of offset number k.
  [[nodiscard]] TESSERA_HOST_DEVICE constexpr IntArray<Dim> digits(int k) const
  {
    return shape.digits(k, size);
  }

  [[nodiscard]] TESSERA_HOST_DEVICE constexpr IntArray<Dim> offset(int k) const
  {
    IntArray<Dim> result = digits(k);
    for (int i = 0; i < Dim; ++i) { result[i] = result[i] * dilation[i] - anchor[i]; }
    return result;
  }

  /// The offset that reads the output's own coordinate, or -1 when there is none.
  [[nodiscard]] constexpr int centre() const
  {
    if (!all_equal(stride, 1)) { return -1; }
    if (!shape.is_box()) {
      for (int k = 0; k < volume(); ++k) {
        if (all_equal(offset(k), 0)) { return k; }
      }
      return -1;
    }
    int k = 0;
    for (int i = 0; i < Dim; ++i) {
      if (anchor[i] % dilation[i] != 0 || anchor[i] / dilation[i] >= size[i]) { return -1; }
      k = k * size[i] + anchor[i] / dilation[i];
    }
    return k;
  }
};

/// Outputs `floor((in + anchor) / stride)`, one for each input: its parent.
template <int Dim>
struct ParentRule {
  IntArray<Dim> stride;
  IntArray<Dim> anchor;

  [[nodiscard]] TESSERA_HOST_DEVICE IntArray<Dim> operator()(IntArray<Dim> const& in) const
  {
    IntArray<Dim> out;
    for (int i = 0; i < Dim; ++i) { out[i] = detail::floor_div(in[i] + anchor[i], stride[i]); }
    return out;
  }

  /// Bounds of the parents of inputs that reach from bound to bound of `box`.
  [[nodiscard]] CoordinateBox<Dim> operator()(CoordinateBox<Dim> const& box) const
  {
    CoordinateBox<Dim> result = box;
    result.lower = (*this)(box.lower);
    result.upper = (*this)(box.upper);
    return result;
  }
};

namespace detail {

/// What happens to an output outside the bounds.
enum class AtBorder : std::uint8_t { drop, clamp };

/// `value * stride`. @throws invalid_argument  it exceeds 2^30
[[nodiscard]] inline int times_stride(int value, int stride, char const* what)
{
  auto const product = std::int64_t{value} * stride;
  expects(product <= 1 << 30, "convolution: ", what, " ", value, " times stride ", stride, " exceeds 2^30");
  return static_cast<int>(product);
}

/// Throws unless every number of the geometry is valid; `who` begins the sentence.
template <int Dim>
void check_geometry(ConvolutionGeometry<Dim> const& geometry, char const* who)
{
  expects(min_element(geometry.kernel_size) >= 1, who, ": kernel size ", geometry.kernel_size,
          " must be at least 1 on every axis");
  expects(min_element(geometry.stride) >= 1, who, ": stride ", geometry.stride,
          " must be at least 1 on every axis");
  expects(min_element(geometry.dilation) >= 1, who, ": dilation ", geometry.dilation,
          " must be at least 1 on every axis");
  expects(min_element(geometry.padding) >= 0, who, ": padding ", geometry.padding, " must not be negative");
  expects(min_element(geometry.output_padding) >= 0, who, ": output padding ", geometry.output_padding,
          " must not be negative");
  auto const& shape = geometry.shape;
  bool const is_plain = all_equal(geometry.kernel_size, 1) && all_equal(geometry.padding, 0) &&
                        all_equal(geometry.output_padding, 0);
  expects(!shape.is_list() || is_plain, who, ": kernel size ", geometry.kernel_size, " and padding ",
          geometry.padding, " of a kernel of listed offsets, which has none: leave them 1 and 0");
  std::int64_t volume = 1;
  for (int i = 0; i < Dim; ++i) {
    volume *= shape.is_box() ? geometry.kernel_size[i] : 1;
    expects(!shape.is_cross() || geometry.kernel_size[i] % 2 == 1, who, ": kernel size ",
            geometry.kernel_size, " of a cross must be odd on every axis");
    expects(volume <= 1 << 20 && geometry.volume() <= 1 << 20, who, ": kernel size ", geometry.kernel_size,
            " has more than ", 1 << 20, " offsets");
    std::int64_t const lowest = shape.lowest_digit(i);
    auto const reach =
        std::max(-lowest, std::int64_t{shape.highest_digit(i, geometry.kernel_size)}) * geometry.dilation[i];
    expects(reach <= 1 << 28 && geometry.padding[i] <= 1 << 28 && geometry.stride[i] <= 1 << 28 &&
                geometry.output_padding[i] <= 1 << 28,
            who, ": kernel size ", geometry.kernel_size[i], ", dilation ", geometry.dilation[i], ", padding ",
            geometry.padding[i], " and stride ", geometry.stride[i], " of axis ", i, " reach too far");
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
