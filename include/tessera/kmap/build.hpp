// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/kmap/detail/makers.hpp>
#include <tessera/kmap/detail/neighbors.hpp>
#include <tessera/kmap/detail/outputs.hpp>
#include <tessera/kmap/kernel_map.hpp>
#include <tessera/kmap/transpose.hpp>

#include <cstdint>
#include <memory>

namespace tessera {
inline namespace v0 {

/// A kernel map and the outputs it leads to.
template <int Dim, class Space>
struct MappedCoordinates {
  CoordinateSetPointer<Dim, Space> coordinates;
  std::shared_ptr<KernelMap<Space>> map;
};

namespace detail {

/// The map of a strided convolution by what it has in common with the transposed one that undoes it
/// (TorchSparse's key).
template <int Dim, class Space>
struct UndoneMapKey {
  using Value = KernelMap<Space>;
  IntArray<Dim> kernel_size;
  IntArray<Dim> stride;
  IntArray<Dim> dilation;
  CoordinateSet<Dim, Space> const* out;

  UndoneMapKey(ConvolutionGeometry<Dim> const& g, CoordinateSet<Dim, Space> const* outputs)
      : kernel_size{g.kernel_size}, stride{g.stride}, dilation{g.dilation}, out{outputs}
  {}
  friend bool operator==(UndoneMapKey const& a, UndoneMapKey const& b)
  {
    return a.kernel_size == b.kernel_size && a.stride == b.stride && a.dilation == b.dilation &&
           a.out == b.out;
  }
};

template <int Dim>
[[nodiscard]] KernelRegion<Dim> region_of(ConvolutionGeometry<Dim> const& g, IntArray<Dim> const& anchor)
{
  return {g.kernel_size, g.stride, g.dilation, anchor};
}

/// Whether a convolution is a product of each row with a matrix. spconv takes every kernel of one voxel and
/// stride 1 for that, whatever its padding.
template <int Dim>
[[nodiscard]] bool is_one_voxel(ConvolutionGeometry<Dim> const& g, IntArray<Dim> const& anchor, Compat compat)
{
  return g.volume() == 1 && all_equal(g.stride, 1) && (all_equal(anchor, 0) || is_spconv(compat));
}

/// Whether a downsample policy is known to keep positions where stride and kernel are 1.
template <class Downsample>
inline constexpr bool keeps_positions =
    std::is_same_v<Downsample, SpconvDownsample> || std::is_same_v<Downsample, MinkowskiDownsample>;

template <class Kmap, class Downsample, int Dim, class Space>
[[nodiscard]] MappedCoordinates<Dim, Space> strided_map(CoordinateSet<Dim, Space>& set,
                                                        ConvolutionGeometry<Dim> const& g, Compat compat,
                                                        Execution<Space> const& exec)
{
  auto const region = region_of(g, Kmap::anchor(g, ConvolutionKind::strided, compat));
  if (is_one_voxel(g, region.anchor, compat) && keeps_positions<Downsample>) {
    return {set.shared(), cached_map(set, set, region_of(g, IntArray<Dim>(0)), false, exec)};
  }
  auto outputs_geometry = g;
  auto outputs_region = region;
  CoordinateSetPointer<Dim, Space> out;
  if (compat == Compat::torchsparse) {
    // TorchSparse derives coordinates from the padding even where it looks neighbours up centred
    outputs_region.anchor = g.padding;
    bool tiles_the_grid = true;
    for (int i = 0; i < Dim; ++i) {
      tiles_the_grid = tiles_the_grid && (g.stride[i] == 1 || g.stride[i] == g.kernel_size[i]);
    }
    if (std::is_same_v<Kmap, HashmapOnTheFly>) {
      out = outputs<SpconvDownsample>(set, outputs_geometry, outputs_region, compat, exec);
    } else if (std::is_same_v<Downsample, SpconvDownsample> && tiles_the_grid) {
      out = outputs<MinkowskiDownsample>(set, outputs_geometry, outputs_region, compat, exec);
    }
  } else {
    outputs_geometry.padding = region.anchor;
  }
  if (!out) { out = outputs<Downsample>(set, outputs_geometry, outputs_region, compat, exec); }
  auto map = cached_map(set, *out, region, false, exec);
  set.cache().get_or_make(UndoneMapKey<Dim, Space>{g, out.get()}, [&] { return map; });
  remember_maker(*out, g, map);
  return {out, map};
}

/// `Upsample` is GenerativeUpsample or ExpandingUpsample.
template <class Upsample, int Dim, class Space>
[[nodiscard]] MappedCoordinates<Dim, Space> upsampled_map(CoordinateSet<Dim, Space>& set,
                                                          ConvolutionGeometry<Dim> const& g,
                                                          KernelRegion<Dim> const& region, Compat compat,
                                                          Execution<Space> const& exec)
{
  auto const out = outputs<Upsample>(set, g, region, compat, exec);
  auto const map = cached_map(set, *out, region, true, exec);
  remember_maker(*out, g, map);
  return {out, map};
}

template <class Kmap, int Dim, class Space>
[[nodiscard]] MappedCoordinates<Dim, Space> expanding_map(CoordinateSet<Dim, Space>& set,
                                                          ConvolutionGeometry<Dim> g, Compat compat,
                                                          Execution<Space> const& exec)
{
  g.padding = Kmap::anchor(g, ConvolutionKind::expanding, compat);
  if (is_one_voxel(g, g.padding, compat) && all_equal(g.output_padding, 0)) {
    return {set.shared(), cached_map(set, set, region_of(g, IntArray<Dim>(0)), false, exec)};
  }
  auto region = region_of(g, g.padding);
  for (int i = 0; i < Dim; ++i) {
    region.dilation[i] = -region.dilation[i];
    region.anchor[i] = -region.anchor[i];
  }
  return upsampled_map<ExpandingUpsample>(set, g, region, compat, exec);
}

/// Goes from `set` back to its origin, whatever the stride that led here.
template <int Dim, class Space>
[[nodiscard]] MappedCoordinates<Dim, Space> inverse_map(CoordinateSet<Dim, Space>& set,
                                                        ConvolutionGeometry<Dim> const& g, Compat compat,
                                                        Execution<Space> const& exec)
{
  bool const stays = g.volume() == 1 && is_spconv(compat);
  if (auto const map = stays ? nullptr : maker_of(set, g)) {
    return {set.origin()->shared(), transpose(*map, exec)};
  }
  // a kernel of one voxel undoes one that kept the coordinates
  expects(g.volume() == 1, "inverse convolution: no layer of kernel size ", list(g.kernel_size),
          " led to this tensor; those that did have kernel sizes: ", sizes_of_makers(set));
  auto region = region_of(g, IntArray<Dim>(0));
  region.stride = IntArray<Dim>(1);
  return {set.shared(), cached_map(set, set, region, false, exec)};
}

/// Goes from `set` back to the set it came from.
template <class Kmap, int Dim, class Space>
[[nodiscard]] MappedCoordinates<Dim, Space> transposed_map(CoordinateSet<Dim, Space>& set,
                                                           ConvolutionGeometry<Dim> const& g, Compat compat,
                                                           Execution<Space> const& exec)
{
  for (auto* finer = set.origin(); finer != nullptr; finer = finer->origin()) {
    bool reaches = true;
    for (int i = 0; i < Dim; ++i) {
      auto const scaled = std::int64_t{finer->tensor_stride()[i]} * g.stride[i];
      reaches = reaches && scaled == set.tensor_stride()[i];
    }
    if (!reaches) { continue; }
    auto map = finer->cache().find(UndoneMapKey<Dim, Space>{g, &set});
    if (!map) {
      auto const region = region_of(g, Kmap::anchor(g, ConvolutionKind::strided, compat));
      map = cached_map(*finer, set, region, false, exec);
    }
    return {finer->shared(), transpose(*map, exec)};
  }
  fail("transposed convolution: no set of tensor stride ", list(set.tensor_stride()), " / ", list(g.stride),
       " leads to this tensor; it undoes a strided convolution, or use a generative one to make new "
       "coordinates");
}

}  // namespace detail

/// Finds, for every kernel offset, which input row feeds which output row, and the outputs themselves.
///
/// Rows `in` of `set` and `out` of the result are a pair of offset k when both lie in one batch entry and
/// `in = stride * out + k's digits * dilation - anchor` on every axis; the anchor is `Kmap`'s, the outputs of
/// a strided convolution are `Downsample`'s. A transposed convolution swaps the pairs of the strided one with
/// the same kernel size, stride and dilation that made `set` (or builds them). A generative one pairs `in`
/// with `out = stride * in + (size / 2 - digits) * dilation`. An inverse one swaps the pairs of the layer of
/// its kernel size that led from another set to `set`, whatever stride that had. An expanding one pairs `in`
/// with `out = stride * in - anchor + digits * dilation` (spconv's SparseConvTranspose, PyTorch's
/// ConvTranspose).
///
/// | kind        | outputs                                | order of rows           |
/// |-------------|----------------------------------------|-------------------------|
/// | submanifold | those of `set`                         | as they are             |
/// | strided     | new, or found again                    | lexicographic           |
/// | transposed  | the set `set` was derived from         | as they are             |
/// | generative  | new, or found again                    | lexicographic           |
/// | inverse     | the set `set` was made from            | as they are             |
/// | expanding   | new, or found again                    | lexicographic           |
/// | one voxel   | of stride 1 and no padding: of `set`   | as they are             |
///
/// Without a spatial range the grid is unbounded and no voxel is lost; with one, outputs are those of a dense
/// convolution over it. `compat::torchsparse` follows TorchSparse's bounds, anchors and downsample rule
/// instead.
///
/// @throws invalid_argument  a size, stride, dilation or padding that cannot be meant; no output in the grid;
/// a
///         transposed convolution without a partner; errors in the rows of `set` that were found meanwhile
///
/// Cost: set and map are cached by `set` under everything that shapes them; the first time, one lookup an
/// output and offset. Stream: submanifold: enqueues only, never waits; strided, generative and expanding:
/// waits once for a new set; transposed and inverse: enqueues only. Determinism: same input, same map;
/// outputs do not depend on the order of input rows. Source: TorchSparse 2.1 and spconv 2 for the rules,
/// docs/compatibility.md for the differences.
template <class Kmap = HashmapOnTheFly, class Downsample = SpconvDownsample, int Dim, class Space>
[[nodiscard]] MappedCoordinates<Dim, Space> kernel_map(CoordinateSet<Dim, Space>& set, ConvolutionKind kind,
                                                       ConvolutionGeometry<Dim> const& geometry,
                                                       Compat compat, Execution<Space> const& exec)
{
  static_assert(is_kmap_policy<Kmap>::value,
                "kernel_map: Kmap is not a kernel-map policy, see kmap/policies.hpp");
  static_assert(is_downsample_policy<Downsample>::value,
                "kernel_map: Downsample is not a downsample policy, see kmap/policies.hpp");
  detail::check_geometry(geometry, "convolution");
  std::lock_guard lock{set.mutex()};
  set.take_sides(exec);
  switch (kind) {
    case ConvolutionKind::submanifold: {
      detail::expects(all_equal(geometry.stride, 1), "submanifold convolution: stride ",
                      detail::list(geometry.stride), " must be 1");
      auto const region = detail::region_of(geometry, Kmap::anchor(geometry, kind, compat));
      return {set.shared(), detail::cached_map(set, set, region, false, exec)};
    }
    case ConvolutionKind::strided: return detail::strided_map<Kmap, Downsample>(set, geometry, compat, exec);
    case ConvolutionKind::transposed: {
      if (!all_equal(geometry.stride, 1)) {
        return detail::transposed_map<Kmap>(set, geometry, compat, exec);
      }
      auto const region =
          detail::region_of(geometry, Kmap::anchor(geometry, ConvolutionKind::submanifold, compat));
      return {set.shared(), transpose(*detail::cached_map(set, set, region, false, exec), exec)};
    }
    case ConvolutionKind::inverse: return detail::inverse_map(set, geometry, compat, exec);
    case ConvolutionKind::expanding: return detail::expanding_map<Kmap>(set, geometry, compat, exec);
    default: break;
  }
  auto region = detail::region_of(geometry, IntArray<Dim>(0));
  for (int i = 0; i < Dim; ++i) {
    int const size = compat == Compat::torchsparse ? geometry.kernel_size[i] - 1 : geometry.kernel_size[i];
    region.anchor[i] = size / 2 * geometry.dilation[i];
  }
  return detail::upsampled_map<detail::GenerativeUpsample>(set, geometry, region, compat, exec);
}

}  // namespace v0
}  // namespace tessera
