// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/kmap/geometry.hpp>

#include <type_traits>

namespace tessera {
inline namespace v0 {

/// Whose rules a coordinate set and its maps follow where libraries differ; docs/compatibility.md lists every
/// difference.
enum class Compat : std::uint8_t {
  none,         ///< Tessera's own: nothing is lost, every option acts
  torchsparse,  ///< TorchSparse 2.1's sets and maps, bit for bit
  spconv,       ///< spconv 2.3's layers with their faults
  spconv1,      ///< spconv 1's: a submanifold kernel's anchor leaves the dilation out
};

namespace compat {
inline constexpr Compat none = Compat::none;
inline constexpr Compat torchsparse = Compat::torchsparse;
inline constexpr Compat spconv = Compat::spconv;
inline constexpr Compat spconv1 = Compat::spconv1;
}  // namespace compat

namespace detail {

/// Whether spconv's rules hold, of either version.
[[nodiscard]] constexpr bool is_spconv(Compat compat)
{
  return compat == Compat::spconv || compat == Compat::spconv1;
}

}  // namespace detail

// --- kernel-map policies: where the kernel sits ------------------------------------------------------------

/// spconv's geometry (default): a submanifold kernel is centred on odd axes and begins at the voxel on even
/// ones; a strided kernel begins `padding` below `stride * out`.
struct HashmapOnTheFly {
  static constexpr char const* name = "hashmap_on_the_fly";

  template <int Dim>
  [[nodiscard]] static IntArray<Dim> anchor(ConvolutionGeometry<Dim> const& g, ConvolutionKind kind,
                                            Compat compat)
  {
    if (kind != ConvolutionKind::submanifold) { return g.padding; }
    bool const even_volume = g.volume() % 2 == 0;
    IntArray<Dim> result;
    for (int i = 0; i < Dim; ++i) {
      bool const centred = compat == Compat::torchsparse ? !even_volume : g.kernel_size[i] % 2 == 1;
      int const step = compat == Compat::spconv1 ? 1 : g.dilation[i];
      result[i] = centred ? (g.kernel_size[i] - 1) / 2 * step : 0;
    }
    return result;
  }
};

/// MinkowskiEngine's geometry: every kernel is centred, `anchor = (size - 1) / 2`, and padding has no
/// meaning.
struct Hashmap {
  static constexpr char const* name = "hashmap";

  template <int Dim>
  [[nodiscard]] static IntArray<Dim> anchor(ConvolutionGeometry<Dim> const& g, ConvolutionKind, Compat)
  {
    IntArray<Dim> result;
    for (int i = 0; i < Dim; ++i) { result[i] = (g.kernel_size[i] - 1) / 2 * g.dilation[i]; }
    return result;
  }
};

// --- downsample policies: which outputs a strided convolution has ------------------------------------------

namespace detail {

/// What rules that try every offset of the kernel for every input have in common.
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

  /// The output that `in` reaches under candidate number `index`; false when it is not on the stride's
  /// lattice.
  template <int Dim>
  [[nodiscard]] TESSERA_HOST_DEVICE static bool candidate(KernelRegion<Dim> const& region,
                                                          IntArray<Dim> const& in, int index,
                                                          IntArray<Dim>& out)
  {
    for (int i = Dim - 1; i >= 0; --i) {  // digit after digit, for most candidates fail on the first axis
      int const rest = detail::divide(index, region.size[i]);
      int const digit = index - rest * region.size[i];
      int const scaled = in[i] + region.anchor[i] - digit * region.dilation[i];
      out[i] = detail::floor_div(scaled, region.stride[i]);
      if (out[i] * region.stride[i] != scaled) { return false; }
      index = rest;
    }
    return true;
  }

  /// Extent of the output grid: `floor((extent + 2 padding - dilation (size - 1) - 1) / stride) + 1`.
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
};

/// One output for each input, `o = floor(in / stride)`, whatever the kernel (MinkowskiEngine's rule).
struct MinkowskiDownsample {
  static constexpr char const* name = "minkowski";

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
};

// --- what a policy must have -------------------------------------------------------------------------------

/// Whether P can stand in for HashmapOnTheFly: an empty type with `name` and `anchor(geometry, kind,
/// compat)`.
template <class P, class = void>
struct is_kmap_policy : std::false_type {};
template <class P>
struct is_kmap_policy<P, std::void_t<decltype(P::name), decltype(P::anchor(ConvolutionGeometry<3>{},
                                                                           ConvolutionKind{}, Compat{}))>>
    : std::is_empty<P> {};

/// Whether P can stand in for SpconvDownsample: an empty type with `name`, `num_candidates`, `candidate` and
/// `output_extent`.
template <class P, class = void>
struct is_downsample_policy : std::false_type {};
template <class P>
struct is_downsample_policy<
    P, std::void_t<decltype(P::name), decltype(P::num_candidates(KernelRegion<3>{})),
                   decltype(P::candidate(KernelRegion<3>{}, IntArray<3>{}, 0, std::declval<IntArray<3>&>())),
                   decltype(P::output_extent(ConvolutionGeometry<3>{}, IntArray<3>{}))>> : std::is_empty<P> {
};

}  // namespace v0
}  // namespace tessera
