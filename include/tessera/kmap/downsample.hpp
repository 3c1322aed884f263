// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/kmap/geometry.hpp>

#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>

namespace tessera {
inline namespace v0 {

// Downsample policies: which outputs a strided convolution has.

namespace detail {

/// What is common to rules that try every offset of the kernel for every input.
struct EveryOffset {
  template <int Dim>
  [[nodiscard]] TESSERA_HOST_DEVICE static int num_candidates(KernelRegion<Dim> const& region)
  {
    return region.volume();
  }
};

}  // namespace detail

/// Every output that some input reaches under some offset (default; spconv's rule):
/// `{ o : stride * o + d * dilation - anchor = in, 0 <= d < kernel size }`.
struct SpconvDownsample : detail::EveryOffset {
  static constexpr char const* name = "spconv";
  static constexpr bool keeps_positions = true;
  static constexpr bool reads_torchsparse_lattice = true;

  /// The output that `in` reaches under candidate number `index`; false when it is not on the stride's
  /// lattice.
  template <int Dim>
  [[nodiscard]] TESSERA_HOST_DEVICE static bool candidate(KernelRegion<Dim> const& region,
                                                          IntArray<Dim> const& in, int index,
                                                          IntArray<Dim>& out)
  {
    if (!region.shape.is_box()) { return candidate_of_shape(region, in, index, out); }
    for (int i = Dim - 1; i >= 0; --i) {  // digit after digit, for most candidates fail on the first axis
      int const rest = detail::divide(index, region.size[i]);
      if (!candidate_of_axis(region, i, in[i], index - rest * region.size[i], out[i])) { return false; }
      index = rest;
    }
    return true;
  }

  using product_of_axes = SpconvDownsample;
  /// The same of one axis and one of its digits.
  template <int Dim>
  [[nodiscard]] TESSERA_HOST_DEVICE static bool candidate_of_axis(KernelRegion<Dim> const& region, int axis,
                                                                  int in, int digit, int& out)
  {
    int const scaled = in + region.anchor[axis] - digit * region.dilation[axis];
    out = detail::floor_div(scaled, region.stride[axis]);
    return out * region.stride[axis] == scaled;
  }

  /// Extent of the output grid: `floor((extent + 2 padding - dilation (size - 1) - 1) / stride) + 1`; of listed
  /// offsets `ceil(extent / stride)`.
  template <int Dim>
  [[nodiscard]] static IntArray<Dim> output_extent(ConvolutionGeometry<Dim> const& g,
                                                   IntArray<Dim> const& extent)
  {
    IntArray<Dim> result;
    for (int i = 0; i < Dim; ++i) {
      result[i] = detail::floor_div(extent[i] + 2 * g.padding[i] - g.dilation[i] * (g.kernel_size[i] - 1) - 1,
                                    g.stride[i]) +
                  1;
    }
    return result;
  }

  /// Kernels that neither overlap nor leave gaps give each input one output.
  template <int Dim>
  [[nodiscard]] static std::optional<ParentRule<Dim>> parent(KernelRegion<Dim> const& region)
  {
    if (!region.tiles_inputs()) { return std::nullopt; }
    return ParentRule<Dim>{region.stride, region.anchor};
  }

  /// Of `size` digits of an axis, those of one residue modulo the stride are on its lattice.
  template <int Dim>
  [[nodiscard]] static std::int64_t max_outputs(KernelRegion<Dim> const& region)
  {
    if (!region.shape.is_box()) { return region.volume(); }
    std::int64_t most = 1;
    for (int i = 0; i < Dim; ++i) {
      int step = region.stride[i];  // stride / gcd(stride, dilation)
      for (int a = region.stride[i], b = region.dilation[i]; b != 0;) {
        int const rest = a % b;
        a = b;
        b = rest;
        step = region.stride[i] / a;
      }
      most *= detail::ceil_div(region.size[i], step);
    }
    return most;
  }

 private:
  template <int Dim>
  [[nodiscard]] TESSERA_HOST_DEVICE static bool candidate_of_shape(KernelRegion<Dim> const& region,
                                                                   IntArray<Dim> const& in, int index,
                                                                   IntArray<Dim>& out)
  {
    auto const offset = region.offset(index);
    for (int i = 0; i < Dim; ++i) {
      int const scaled = in[i] - offset[i];
      out[i] = detail::floor_div(scaled, region.stride[i]);
      if (out[i] * region.stride[i] != scaled) { return false; }
    }
    return true;
  }
};

/// One output for each input, `o = floor(in / stride)`, whatever the kernel (MinkowskiEngine's rule).
struct MinkowskiDownsample {
  static constexpr char const* name = "minkowski";
  static constexpr bool keeps_positions = true;
  static constexpr bool depends_on_stride_alone = true;

  template <int Dim>
  [[nodiscard]] TESSERA_HOST_DEVICE static int num_candidates(KernelRegion<Dim> const&)
  {
    return 1;
  }
  template <int Dim>
  [[nodiscard]] TESSERA_HOST_DEVICE static bool candidate(KernelRegion<Dim> const& region,
                                                          IntArray<Dim> const& in, int, IntArray<Dim>& out)
  {
    for (int i = 0; i < Dim; ++i) { out[i] = detail::floor_div(in[i], region.stride[i]); }
    return true;
  }
  /// `ceil(extent / stride)`
  template <int Dim>
  [[nodiscard]] static IntArray<Dim> output_extent(ConvolutionGeometry<Dim> const& g,
                                                   IntArray<Dim> const& extent)
  {
    IntArray<Dim> result;
    for (int i = 0; i < Dim; ++i) { result[i] = detail::ceil_div(extent[i], g.stride[i]); }
    return result;
  }
  template <int Dim>
  [[nodiscard]] static std::optional<ParentRule<Dim>> parent(KernelRegion<Dim> const& region)
  {
    return ParentRule<Dim>{region.stride, 0};
  }
};

// --- what a policy must have, and what it may have ---------------------------------------------------------

/// Whether P can stand in for SpconvDownsample: an empty type with `name`, `num_candidates`, `candidate` and
/// `output_extent`.
///
/// It may also have members that say more about its outputs. Without them they are found in the general way;
/// with them faster, or shared more. They must agree with `candidate`:
///
/// | member                           | it says                                            | without it     |
/// |----------------------------------|----------------------------------------------------|----------------|
/// | `parent(region)`                 | the one output of every input, where there is one, | none           |
/// |                                  | as an optional ParentRule                          |                |
/// | `reach(region, box, axis)`       | between which coordinates the outputs of inputs    | the kernel's   |
/// |                                  | in a CoordinateBox lie on an axis, as AxisBounds   | reach          |
/// | `max_outputs(region)`            | how many outputs an input has at most              | num_candidates |
/// | `product_of_axes`, the type      | under a box the candidates are those of each axis, | each candidate |
/// | itself, and                      | combined; `out` of an axis, where there is one of  | is tried       |
/// | `candidate_of_axis(region, axis, | this digit. Of a type made of it that has          |                |
/// | in, digit, out)`                 | candidates of its own it says nothing              |                |
/// | `keeps_positions`                | a kernel of one voxel and stride 1 keeps the set   | false          |
/// | `depends_on_stride_alone`        | layers of one stride share their outputs           | false          |
/// | `reads_torchsparse_lattice`      | TorchSparse's bounds replace the unbounded grid,   | false          |
/// |                                  | and its floor the outputs of kernels that tile it, |                |
/// |                                  | under TorchSparse's rules                          |                |
template <class P, class = void>
struct is_downsample_policy : std::false_type {};
template <class P>
struct is_downsample_policy<
    P, std::void_t<decltype(P::name), decltype(P::num_candidates(KernelRegion<3>{})),
                   decltype(P::candidate(KernelRegion<3>{}, IntArray<3>{}, 0, std::declval<IntArray<3>&>())),
                   decltype(P::output_extent(ConvolutionGeometry<3>{}, IntArray<3>{}))>> : std::is_empty<P> {
};

namespace detail {

template <class P, class = void>
inline constexpr bool keeps_positions = false;
template <class P>
inline constexpr bool keeps_positions<P, std::void_t<decltype(P::keeps_positions)>> = P::keeps_positions;

template <class P, class = void>
inline constexpr bool is_product_of_axes = false;
template <class P>
inline constexpr bool is_product_of_axes<P, std::void_t<typename P::product_of_axes>> =
    std::is_same_v<typename P::product_of_axes, P>;

template <class P, class = void>
inline constexpr bool depends_on_stride_alone = false;
template <class P>
inline constexpr bool depends_on_stride_alone<P, std::void_t<decltype(P::depends_on_stride_alone)>> =
    P::depends_on_stride_alone;

template <class P, class = void>
inline constexpr bool reads_torchsparse_lattice = false;
template <class P>
inline constexpr bool reads_torchsparse_lattice<P, std::void_t<decltype(P::reads_torchsparse_lattice)>> =
    P::reads_torchsparse_lattice;

template <class P, int Dim, class = void>
inline constexpr bool has_parent = false;
template <class P, int Dim>
inline constexpr bool has_parent<P, Dim, std::void_t<decltype(P::parent(KernelRegion<Dim>{}))>> = true;

template <class P, int Dim, class = void>
inline constexpr bool has_reach = false;
template <class P, int Dim>
inline constexpr bool
    has_reach<P, Dim, std::void_t<decltype(P::reach(KernelRegion<Dim>{}, CoordinateBox<Dim>{}, 0))>> = true;

template <class P, int Dim, class = void>
inline constexpr bool has_max_outputs = false;
template <class P, int Dim>
inline constexpr bool has_max_outputs<P, Dim, std::void_t<decltype(P::max_outputs(KernelRegion<Dim>{}))>> =
    true;

/// The rule by which P names one output for every input, where it does.
template <class P, int Dim>
[[nodiscard]] std::optional<ParentRule<Dim>> parent_rule([[maybe_unused]] KernelRegion<Dim> const& region)
{
  if constexpr (has_parent<P, Dim>) {
    return P::parent(region);
  } else {
    return std::nullopt;
  }
}

/// The range of the outputs of inputs in `box`, on an axis.
template <class P, int Dim>
[[nodiscard]] AxisBounds reach(KernelRegion<Dim> const& region, CoordinateBox<Dim> const& box, int axis)
{
  if constexpr (has_reach<P, Dim>) {
    return P::reach(region, box, axis);
  } else {
    return region.reach(box, axis);
  }
}

/// How many outputs an input has at most.
template <class P, int Dim>
[[nodiscard]] std::int64_t max_outputs(KernelRegion<Dim> const& region)
{
  if constexpr (has_max_outputs<P, Dim>) {
    return P::max_outputs(region);
  } else {
    return P::num_candidates(region);
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
