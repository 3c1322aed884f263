// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/kmap/detail/neighbors.hpp>
#include <tessera/kmap/detail/outputs.hpp>
#include <tessera/kmap/detail/producer_layers.hpp>
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
  KernelShape<Dim> shape;
  CoordinateSet<Dim, Space> const* out;

  UndoneMapKey(ConvolutionGeometry<Dim> const& g, CoordinateSet<Dim, Space> const* outputs)
      : kernel_size{g.kernel_size}, stride{g.stride}, dilation{g.dilation}, shape{g.shape}, out{outputs}
  {}
  friend bool operator==(UndoneMapKey const& a, UndoneMapKey const& b)
  {
    return a.kernel_size == b.kernel_size && a.stride == b.stride && a.dilation == b.dilation &&
           a.shape == b.shape && a.out == b.out;
  }
};

template <int Dim>
[[nodiscard]] KernelRegion<Dim> region_of(ConvolutionGeometry<Dim> const& g, IntArray<Dim> const& anchor)
{
  return {g.kernel_size, g.stride, g.dilation, anchor, g.shape};
}

/// Whether a convolution is a product of each row with a matrix.
template <class Rules, int Dim>
[[nodiscard]] bool is_one_voxel(ConvolutionGeometry<Dim> const& g, IntArray<Dim> const& anchor)
{
  bool const reads_itself = all_equal(anchor, 0) && all_equal(g.shape.digits(0, g.kernel_size), 0);
  return g.volume() == 1 && all_equal(g.stride, 1) &&
         (reads_itself || (g.shape.is_box() && Rules::multiplies_one_voxel_kernels));
}

/// The set itself, under the map of every row to itself.
template <int Dim, class Space>
[[nodiscard]] MappedCoordinates<Dim, Space> same_rows(CoordinateSet<Dim, Space>& set,
                                                      Execution<Space> const& exec)
{
  KernelRegion<Dim> const one_voxel{
      IntArray<Dim>(1), IntArray<Dim>(1), IntArray<Dim>(1), IntArray<Dim>(0), {}};
  return {set.shared(), cached_map(set, set, one_voxel, false, exec)};
}

/// The set itself, under the map of a submanifold convolution.
template <class Kmap, int Dim, class Space>
[[nodiscard]] MappedCoordinates<Dim, Space> submanifold_map(CoordinateSet<Dim, Space>& set,
                                                            ConvolutionGeometry<Dim> const& g,
                                                            Compatibility compat,
                                                            Execution<Space> const& exec)
{
  auto const region = region_of(g, Kmap::anchor(g, ConvolutionKind::submanifold, compat));
  return {set.shared(), cached_map(set, set, region, false, exec)};
}

template <class Rules, class Kmap, class Downsample, int Dim, class Space>
[[nodiscard]] MappedCoordinates<Dim, Space> strided_map(CoordinateSet<Dim, Space>& set,
                                                        ConvolutionGeometry<Dim> const& g,
                                                        KernelRegion<Dim> const& region,
                                                        Execution<Space> const& exec)
{
  if (keeps_positions<Downsample> && is_one_voxel<Rules>(g, region.anchor)) { return same_rows(set, exec); }
  auto padded = g;
  padded.padding = Rules::output_padding(g, region.anchor);
  auto const out = Rules::template with_downsample<Kmap, Downsample>(g, [&](auto policy) {
    using Policy = decltype(policy);
    return outputs<Policy>(set, region_of(g, padded.padding), strided_grid<Rules, Policy>(set, padded), exec);
  });
  auto map = cached_map(set, *out, region, false, exec);
  access(set).cache().get_or_make(UndoneMapKey<Dim, Space>{g, out.get()}, [&] { return map; });
  remember_producer(*out, g, map);
  return {out, map};
}

/// The outputs of an `Upsample` policy of detail/upsample.hpp.
template <class Upsample, int Dim, class Space>
[[nodiscard]] MappedCoordinates<Dim, Space> upsampled_map(CoordinateSet<Dim, Space>& set,
                                                          ConvolutionGeometry<Dim> const& g,
                                                          KernelRegion<Dim> const& region,
                                                          OutputGrid<Dim, Space> const& grid,
                                                          Execution<Space> const& exec)
{
  auto const out = outputs<Upsample>(set, region, grid, exec);
  auto const map = cached_map(set, *out, region, true, exec);
  remember_producer(*out, g, map);
  return {out, map};
}

template <class Rules, int Dim, class Space>
[[nodiscard]] MappedCoordinates<Dim, Space> generative_map(CoordinateSet<Dim, Space>& set,
                                                           ConvolutionGeometry<Dim> const& g,
                                                           Execution<Space> const& exec)
{
  auto const region = region_of(g, Rules::generative_anchor(g));
  return upsampled_map<GenerativeUpsample>(set, g, region, generative_grid<Rules>(set, g), exec);
}

template <class Rules, int Dim, class Space>
[[nodiscard]] MappedCoordinates<Dim, Space> expanding_map(CoordinateSet<Dim, Space>& set,
                                                          ConvolutionGeometry<Dim> g,
                                                          IntArray<Dim> const& anchor,
                                                          Execution<Space> const& exec)
{
  g.padding = anchor;
  if (is_one_voxel<Rules>(g, anchor) && all_equal(g.output_padding, 0)) { return same_rows(set, exec); }
  auto region = region_of(g, anchor);
  for (int i = 0; i < Dim; ++i) {
    region.dilation[i] = -region.dilation[i];
    region.anchor[i] = -region.anchor[i];
  }
  return upsampled_map<ExpandingUpsample>(set, g, region, expanding_grid<Rules>(set, g), exec);
}

/// Goes from `set` back to its origin, whatever the stride that led here.
template <class Rules, int Dim, class Space>
[[nodiscard]] MappedCoordinates<Dim, Space> inverse_map(CoordinateSet<Dim, Space>& set,
                                                        ConvolutionGeometry<Dim> const& g,
                                                        Execution<Space> const& exec)
{
  bool const stays = g.volume() == 1 && Rules::multiplies_one_voxel_kernels;
  if (auto const map = stays ? nullptr : producer_of(set, g)) {
    return {set.origin()->shared(), transpose(*map, exec)};
  }
  // a kernel of one voxel undoes one that kept the coordinates
  expects(g.volume() == 1, "inverse convolution: no layer of kernel size ", g.kernel_size,
          " led to this tensor; those that did have kernel sizes: ", sizes_of_producers(set));
  return same_rows(set, exec);
}

/// Goes from `set` back to the set it came from.
template <class Kmap, int Dim, class Space>
[[nodiscard]] MappedCoordinates<Dim, Space> transposed_map(CoordinateSet<Dim, Space>& set,
                                                           ConvolutionGeometry<Dim> const& g,
                                                           Compatibility compat, Execution<Space> const& exec)
{
  if (all_equal(g.stride, 1)) {
    return {set.shared(), transpose(*submanifold_map<Kmap>(set, g, compat, exec).map, exec)};
  }
  for (auto* finer = set.origin(); finer != nullptr; finer = finer->origin()) {
    bool reaches = true;
    for (int i = 0; i < Dim; ++i) {
      auto const scaled = std::int64_t{finer->tensor_stride()[i]} * g.stride[i];
      reaches = reaches && scaled == set.tensor_stride()[i];
    }
    if (!reaches) { continue; }
    auto map = access(*finer).cache().find(UndoneMapKey<Dim, Space>{g, &set});
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
/// Rows `in` of `set` and `out` of the result are a pair of offset k when both are of one batch entry and
/// `in = stride * out + k's digits * dilation - anchor` on every axis; the digits are those of the geometry's
/// KernelShape, of a listed one the list's entries with no anchor; the anchor is `Kmap`'s, the outputs of
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
/// @throws invalid_argument  an invalid size, stride, dilation or padding; no output in the grid; a
///                           transposed convolution without a partner; errors in the rows of `set` that were
///                           found meanwhile
///
/// Cost: set and map are cached by `set` under everything that shapes them; the first time, one lookup per
/// output and offset.
/// Stream: submanifold: enqueues only, never waits; strided, generative and expanding: waits once for a new
/// set; transposed and inverse: enqueues only.
/// Determinism: same input, same map; outputs do not depend on the order of input rows.
/// Source: TorchSparse 2.1 and spconv 2 for the rules, docs/compatibility.md for the differences.
template <class Kmap = HashmapOnTheFly, class Downsample = SpconvDownsample, int Dim, class Space>
[[nodiscard]] MappedCoordinates<Dim, Space> kernel_map(CoordinateSet<Dim, Space>& set, ConvolutionKind kind,
                                                       ConvolutionGeometry<Dim> const& geometry,
                                                       Compatibility compat, Execution<Space> const& exec)
{
  static_assert(is_kmap_policy<Kmap>::value,
                "kernel_map: Kmap is not a kernel-map policy, see kmap/policies.hpp");
  static_assert(is_downsample_policy<Downsample>::value,
                "kernel_map: Downsample is not a downsample policy, see kmap/policies.hpp");
  detail::check_geometry(geometry, "convolution");
  std::lock_guard lock{detail::access(set).mutex()};
  detail::access(set).take_map_streams(exec);
  using Result = MappedCoordinates<Dim, Space>;
  auto const by_rules = [&](auto const& make) -> Result { return rules::visit(compat, make); };
  switch (kind) {
    case ConvolutionKind::submanifold:
      detail::expects(all_equal(geometry.stride, 1), "submanifold convolution: stride ", geometry.stride,
                      " must be 1");
      return detail::submanifold_map<Kmap>(set, geometry, compat, exec);
    case ConvolutionKind::strided: {
      auto const region = detail::region_of(geometry, Kmap::anchor(geometry, kind, compat));
      return by_rules([&](auto rules) {
        return detail::strided_map<decltype(rules), Kmap, Downsample>(set, geometry, region, exec);
      });
    }
    case ConvolutionKind::transposed: return detail::transposed_map<Kmap>(set, geometry, compat, exec);
    case ConvolutionKind::generative:
      return by_rules(
          [&](auto rules) { return detail::generative_map<decltype(rules)>(set, geometry, exec); });
    case ConvolutionKind::inverse:
      return by_rules([&](auto rules) { return detail::inverse_map<decltype(rules)>(set, geometry, exec); });
    case ConvolutionKind::expanding: {
      auto const anchor = Kmap::anchor(geometry, kind, compat);
      return by_rules(
          [&](auto rules) { return detail::expanding_map<decltype(rules)>(set, geometry, anchor, exec); });
    }
  }
  detail::fail("convolution: there is no kind ", static_cast<int>(kind));
}

/// The map of a strided convolution from `in` to `out`, two sets that are there already, of one coordinate manager or of
/// two.
///
/// Rows are a pair where kernel_map() of kind strided would have them one; outputs without an input have no pair. It is
/// made anew at every call unless both sets belong to one manager.
/// @throws invalid_argument  an invalid size, stride, dilation or padding; errors in the rows of `in`
/// Cost: one lookup per output and offset.
/// Stream: enqueues only.
/// Determinism: same input, same map.
template <class Kmap = HashmapOnTheFly, int Dim, class Space>
[[nodiscard]] std::shared_ptr<KernelMap<Space>> map_between(CoordinateSet<Dim, Space>& in,
                                                            CoordinateSet<Dim, Space> const& out,
                                                            ConvolutionGeometry<Dim> const& geometry,
                                                            Compatibility compat,
                                                            Execution<Space> const& exec)
{
  static_assert(is_kmap_policy<Kmap>::value,
                "map_between: Kmap is not a kernel-map policy, see kmap/policies.hpp");
  detail::check_geometry(geometry, "map_between");
  auto const region = detail::region_of(geometry, Kmap::anchor(geometry, ConvolutionKind::strided, compat));
  if (detail::access(in).errors() != detail::access(out).errors()) {
    return detail::find_neighbors(in, out, region, false, exec);
  }
  std::lock_guard lock{detail::access(in).mutex()};
  detail::access(in).take_map_streams(exec);
  return detail::cached_map(in, out, region, false, exec);
}

}  // namespace v0
}  // namespace tessera
