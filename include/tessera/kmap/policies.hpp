// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/kmap/downsample.hpp>
#include <tessera/kmap/geometry.hpp>
#include <tessera/kmap/rules/rules.hpp>

#include <type_traits>

namespace tessera {
inline namespace v0 {

// Kernel-map policies: where the kernel sits.

/// spconv's geometry (default): a submanifold kernel is centred on odd axes and begins at the voxel on even
/// ones; a strided kernel begins `padding` below `stride * out`.
struct HashmapOnTheFly {
  static constexpr char const* name = "hashmap_on_the_fly";
  static constexpr bool finds_torchsparse_outputs = true;

  template <int Dim>
  [[nodiscard]] static IntArray<Dim> anchor(ConvolutionGeometry<Dim> const& g, ConvolutionKind kind,
                                            Compatibility compat)
  {
    if (kind != ConvolutionKind::submanifold) { return g.padding; }
    return rules::visit(compat, [&](auto rules) { return rules.submanifold_anchor(g); });
  }
};

/// MinkowskiEngine's geometry: every kernel is centred, `anchor = (size - 1) / 2`, and padding has no
/// meaning.
struct Hashmap {
  static constexpr char const* name = "hashmap";

  template <int Dim>
  [[nodiscard]] static IntArray<Dim> anchor(ConvolutionGeometry<Dim> const& g, ConvolutionKind, Compatibility)
  {
    IntArray<Dim> result;
    for (int i = 0; i < Dim; ++i) { result[i] = (g.kernel_size[i] - 1) / 2 * g.dilation[i]; }
    return result;
  }
};

/// Whether P can stand in for HashmapOnTheFly: an empty type with `name` and `anchor(geometry, kind,
/// compat)`. With `finds_torchsparse_outputs` strided convolutions under TorchSparse's rules have spconv's
/// outputs, whatever the downsample policy, as that of TorchSparse's own policy of this kind.
template <class P, class = void>
struct is_kmap_policy : std::false_type {};
template <class P>
struct is_kmap_policy<P,
                      std::void_t<decltype(P::name), decltype(P::anchor(ConvolutionGeometry<3>{},
                                                                        ConvolutionKind{}, Compatibility{}))>>
    : std::is_empty<P> {};

}  // namespace v0
}  // namespace tessera
