// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/kmap/kernel_map.hpp>
#include <tessera/kmap/output_coordinates.hpp>

#include <memory>
#include <string>

namespace tessera {
inline namespace v0 {

/// A kernel map and the outputs it leads to.
template <int Dim, class Space>
struct MappedCoordinates {
  CoordinateSetPointer<Dim, Space> coordinates;
  std::shared_ptr<KernelMap<Space>> map;
};

namespace detail {

/// Relation of inputs and outputs: `in = stride * out + offset`, or `stride * in = out + offset` when
/// `generative`.
template <int Dim, class Key>
struct FindNeighbors {
  CoordinateView<Dim> outputs;
  CoordinateTableRef<Dim, Key> inputs;
  KernelRegion<Dim> region;
  bool generative;
  int volume;
  std::int32_t* out_in;  // [num_out, volume]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto const row = i / volume;
    if (row >= outputs.size()) { return; }
    auto const out = outputs[row];
    auto const offset = region.offset(static_cast<int>(i - row * volume));
    Coordinate<Dim> in;
    in.batch = out.batch;
    bool on_lattice = true;
    for (int axis = 0; axis < Dim; ++axis) {
      if (generative) {
        int const scaled = out.position[axis] + offset[axis];
        in.position[axis] = floor_div(scaled, region.stride[axis]);
        on_lattice = on_lattice && in.position[axis] * region.stride[axis] == scaled;
      } else {
        in.position[axis] = region.stride[axis] * out.position[axis] + offset[axis];
      }
    }
    out_in[i] = on_lattice ? inputs.find(in) : -1;
  }
};

/// out_in[row] = row
struct NumberIdentity {
  std::int32_t* out_in;

  TESSERA_HOST_DEVICE void operator()(std::int64_t row) const
  {
    out_in[row] = static_cast<std::int32_t>(row);
  }
};

/// The map under which every row reads itself alone; needs no table.
template <class Space>
[[nodiscard]] std::shared_ptr<KernelMap<Space>> identity_map(std::int64_t rows, Execution<Space> const& exec)
{
  Buffer<std::int32_t, Space> out_in{rows, exec};
  for_each(rows, NumberIdentity{out_in.data()}, exec);
  return std::make_shared<KernelMap<Space>>(std::move(out_in), rows, rows, 1, 0);
}

/// The map from `in` to `out`, not cached.
template <int Dim, class Space>
[[nodiscard]] std::shared_ptr<KernelMap<Space>> find_neighbors(CoordinateSet<Dim, Space>& in,
                                                               CoordinateSet<Dim, Space> const& out,
                                                               KernelRegion<Dim> const& region,
                                                               bool generative, Execution<Space> const& exec)
{
  auto const volume = region.volume();
  if (&in == &out && volume == 1 && region.centre() == 0) { return identity_map(in.num_rows(), exec); }
  Buffer<std::int32_t, Space> out_in{out.capacity() * volume, exec};
  coordinate_table(in, exec)->visit([&](auto const& table) {
    using Key = typename decltype(table.packing)::KeyType;
    for_each(out.capacity() * volume,
             FindNeighbors<Dim, Key>{out.view(), table, region, generative, volume, out_in.data()}, exec);
  });
  return std::make_shared<KernelMap<Space>>(std::move(out_in), in.num_rows(), out.num_rows(), volume,
                                            &in == &out ? region.centre() : -1);
}

template <int Dim>
[[nodiscard]] std::string name_of(KernelRegion<Dim> const& r)
{
  return concat(" size ", list(r.size), " stride ", list(r.stride), " dilation ", list(r.dilation),
                " anchor ", list(r.anchor));
}

/// A different text for every type, so that two policies which chose one name do not share a cache entry.
template <class T>
[[nodiscard]] std::string type_key()
{
  static char anchor = 0;  // not const: equal constants may be folded into one
  return concat(" at ", static_cast<void const*>(&anchor));
}

/// What a transposed convolution has in common with the strided one it undoes (TorchSparse's key).
template <int Dim, class Space>
[[nodiscard]] std::string undo_name(ConvolutionGeometry<Dim> const& g, CoordinateSet<Dim, Space> const* out)
{
  return concat("undo size ", list(g.kernel_size), " stride ", list(g.stride), " dilation ", list(g.dilation),
                " to ", static_cast<void const*>(out));
}

/// TorchSparse's bounds of the outputs when no range was declared: those of a dense grid that ends at the
/// largest occupied coordinate.
template <int Dim>
[[nodiscard]] CoordinateBox<Dim> torchsparse_bounds(ConvolutionGeometry<Dim> const& g,
                                                    CoordinateBox<Dim> const& box)
{
  CoordinateBox<Dim> bounds = box;
  for (int i = 0; i < Dim; ++i) {
    bounds.lower[i] = 0;
    bounds.upper[i] =
        floor_div(box.upper[i] + 2 * g.padding[i] - g.dilation[i] * (g.kernel_size[i] - 1), g.stride[i]);
  }
  return bounds;
}

/// `value * stride`. @throws invalid_argument  it exceeds 2^30
[[nodiscard]] inline int times_stride(int value, int stride, char const* what)
{
  auto const product = std::int64_t{value} * stride;
  expects(product <= 1 << 30, "convolution: ", what, " ", value, " times stride ", stride, " exceeds 2^30");
  return static_cast<int>(product);
}

/// Outputs of a strided or generative convolution under `Downsample`, cached by all that shapes them.
template <class Downsample, int Dim, class Space>
[[nodiscard]] CoordinateSetPointer<Dim, Space> outputs(CoordinateSet<Dim, Space>& set,
                                                       ConvolutionGeometry<Dim> const& g,
                                                       KernelRegion<Dim> const& region, Compat compat,
                                                       Execution<Space> const& exec)
{
  constexpr bool generative = std::is_same_v<Downsample, GenerativeUpsample>;
  bool const strict = compat == Compat::torchsparse;
  CoordinateSetOptions<Dim> options;
  std::optional<CoordinateBox<Dim>> bounds;
  if (set.spatial_range()) {
    SpatialRange<Dim> range = *set.spatial_range();
    if constexpr (generative) {
      if (strict) {
        range.extent = SpconvDownsample::output_extent(g, range.extent);
      } else {
        for (int i = 0; i < Dim; ++i) {
          range.extent[i] = times_stride(range.extent[i], g.stride[i], "grid extent");
        }
      }
    } else {
      range.extent = Downsample::output_extent(g, range.extent);
    }
    expects(min_element(range.extent) >= 1, "convolution: kernel size ", list(g.kernel_size), ", stride ",
            list(g.stride), " and padding ", list(g.padding), " leave no output in a grid of ",
            list(set.spatial_range()->extent));
    options.spatial_range = range;
    bounds = box_of(range);
  } else if (strict && std::is_same_v<Downsample, SpconvDownsample>) {
    bounds = torchsparse_bounds(g, set.box());
  }
  expects(!(generative && strict && !bounds),
          "generative convolution: compat::torchsparse needs a tensor with a spatial range");
  for (int i = 0; i < Dim; ++i) {
    if (generative) {
      expects(strict || set.tensor_stride()[i] % g.stride[i] == 0, "generative convolution: stride ",
              list(g.stride), " does not divide the tensor stride ", list(set.tensor_stride()));
      options.tensor_stride[i] = std::max(1, set.tensor_stride()[i] / g.stride[i]);
    } else {
      options.tensor_stride[i] = times_stride(set.tensor_stride()[i], g.stride[i], "tensor stride");
    }
  }
  auto const border = generative && strict ? AtBorder::clamp : AtBorder::drop;
  auto name = concat("outputs ", Downsample::name, type_key<Downsample>(), name_of(region));
  if (bounds) {
    name += concat(" within ", list(bounds->lower), list(bounds->upper), static_cast<int>(border));
  }
  if (std::is_same_v<Downsample, MinkowskiDownsample>) {
    name = concat("outputs minkowski ", list(g.stride));
  }
  auto const found = set.cache().template find<CoordinateSet<Dim, Space>*>(name);
  if (found) { return (*found)->shared(); }
  auto derived = derive_outputs<Downsample>(set, region, bounds, border, options, exec);
  // a plain pointer: the frame owns both sets, and a shared one would keep the frame alive for ever
  set.cache().template get_or_make<CoordinateSet<Dim, Space>*>(
      name, [&] { return std::make_shared<CoordinateSet<Dim, Space>*>(derived.get()); });
  return derived;
}

/// The map of `in` -> `out` under `region`, cached by `in`.
template <int Dim, class Space>
[[nodiscard]] std::shared_ptr<KernelMap<Space>> cached_map(CoordinateSet<Dim, Space>& in,
                                                           CoordinateSet<Dim, Space> const& out,
                                                           KernelRegion<Dim> const& region, bool generative,
                                                           Execution<Space> const& exec)
{
  auto const name = concat("map ", generative, name_of(region), " to ", static_cast<void const*>(&out));
  return in.cache().template get_or_make<KernelMap<Space>>(
      name, [&] { return find_neighbors(in, out, region, generative, exec); });
}

}  // namespace detail

namespace detail {

template <int Dim>
[[nodiscard]] KernelRegion<Dim> region_of(ConvolutionGeometry<Dim> const& g, IntArray<Dim> const& anchor)
{
  return {g.kernel_size, g.stride, g.dilation, anchor};
}

template <class Kmap, class Downsample, int Dim, class Space>
[[nodiscard]] MappedCoordinates<Dim, Space> strided_map(CoordinateSet<Dim, Space>& set,
                                                        ConvolutionGeometry<Dim> const& g, Compat compat,
                                                        Execution<Space> const& exec)
{
  auto const region = region_of(g, Kmap::anchor(g, ConvolutionKind::strided, compat));
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
  set.cache().template get_or_make<KernelMap<Space>>(undo_name(g, out.get()), [&] { return map; });
  return {out, map};
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
      reaches = reaches && finer->tensor_stride()[i] * g.stride[i] == set.tensor_stride()[i];
    }
    if (!reaches) { continue; }
    auto map = finer->cache().template find<KernelMap<Space>>(undo_name(g, &set));
    if (!map) {
      auto const region = region_of(g, Kmap::anchor(g, ConvolutionKind::strided, compat));
      map = cached_map(*finer, set, region, false, exec);
    }
    return {finer->shared(), transpose(*map, exec)};
  }
  expects(false, "transposed convolution: no set of tensor stride ", list(set.tensor_stride()), " / ",
          list(g.stride),
          " leads to this tensor; it undoes a strided convolution, or use a generative one to make new "
          "coordinates");
  return {};
}

}  // namespace detail

/// Finds, for every kernel offset, which input row feeds which output row, and the outputs themselves.
///
/// Rows `in` of `set` and `out` of the result are a pair of offset k when both lie in one batch entry and
/// `in = stride * out + k's digits * dilation - anchor` on every axis; the anchor is `Kmap`'s, the outputs of
/// a strided convolution are `Downsample`'s. A transposed convolution swaps the pairs of the strided one with
/// the same kernel size, stride and dilation that made `set` (or builds them). A generative one pairs `in`
/// with `out = stride * in + (size / 2 - digits) * dilation`.
///
/// | kind        | outputs                                | order of rows           |
/// |-------------|----------------------------------------|-------------------------|
/// | submanifold | those of `set`                         | as they are             |
/// | strided     | new, or found again                    | lexicographic           |
/// | transposed  | the set `set` was derived from         | as they are             |
/// | generative  | new, or found again                    | lexicographic           |
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
/// output and offset. Stream: submanifold: enqueues only, never waits; strided and generative: waits once for
/// a new set; transposed: enqueues only. Determinism: same input, same map; outputs do not depend on the
/// order of input rows. Source: TorchSparse 2.1 and spconv 2 for the rules, docs/compatibility.md for the
/// differences.
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
    default: break;
  }
  auto region = detail::region_of(geometry, IntArray<Dim>(0));
  for (int i = 0; i < Dim; ++i) {
    int const size = compat == Compat::torchsparse ? geometry.kernel_size[i] - 1 : geometry.kernel_size[i];
    region.anchor[i] = size / 2 * geometry.dilation[i];
  }
  auto out = detail::outputs<detail::GenerativeUpsample>(set, geometry, region, compat, exec);
  return {out, detail::cached_map(set, *out, region, true, exec)};
}

}  // namespace v0
}  // namespace tessera
