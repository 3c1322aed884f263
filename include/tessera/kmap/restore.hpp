// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/buffer.hpp>
#include <tessera/kmap/detail/neighbors.hpp>
#include <tessera/kmap/kernel_map.hpp>
#include <tessera/kmap/pair_list.hpp>
#include <tessera/kmap/tile_map.hpp>
#include <tessera/kmap/transpose.hpp>

#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

namespace tessera {
inline namespace v0 {

// A kernel map whose parts are kept elsewhere, as the tensors of a binding to another language, and put together again
// for each call: KernelMap's constructor takes the entries, these functions what was derived from them. Buffers may be
// adopted, so nothing is copied.

/// The order of a kernel's offsets from the commonest to the rarest, as kernel_map() knows it: part of what a map is
/// restored from, since sums over two halves of the offsets depend on it.
/// @param centre  the offset under which every row reads itself, or -1
/// @throws invalid_argument  a size below 1, a centre that is no offset
/// Cost: a sort of the offsets, on the host.
/// Stream: enqueues nothing.
/// Determinism: a function of its arguments.
template <int Dim>
[[nodiscard]] OffsetOrder offset_order(IntArray<Dim> const& kernel_size, int centre)
{
  ConvolutionGeometry<Dim> geometry;
  geometry.kernel_size = kernel_size;
  detail::check_geometry(geometry, "offset_order");
  detail::expects(centre >= -1 && centre < geometry.volume(), "offset_order: offset ", centre, " of ",
                  geometry.volume(), " is the centre");
  KernelRegion<Dim> region;
  region.size = kernel_size;
  return detail::order_offsets(region, centre);
}

/// Gives `map` the entries of its transposed map, so that transpose() does not make it again.
///
/// | name    | shape               | memory | holds                                                               |
/// |---------|---------------------|--------|---------------------------------------------------------------------|
/// | map     |                     | Space  | in a shared_ptr, and not transposed before                          |
/// | in_out  | [num_in, volume]    | Space  | `in_out(i, k) = o` exactly when `map.out_in(o, k) = i`, else -1     |
/// | returns |                     | Space  | the transposed map, which transpose() returns from now on           |
///
/// @pre  in_out holds what transpose() would write; it is not compared
/// @throws invalid_argument  another number of entries
/// Cost: two small allocations on the host.
/// Stream: enqueues nothing.
/// Determinism: as transpose().
template <class Space>
std::shared_ptr<KernelMap<Space>> restore_transposed(KernelMap<Space>& map,
                                                     Buffer<std::int32_t, Space>&& in_out)
{
  detail::expects(in_out.size() == map.num_in() * map.volume(), "restore_transposed: ", in_out.size(),
                  " entries for ", map.num_in(), " rows of ", map.volume(), " offsets");
  KernelMapParts<Space> parts;
  parts.offset_order = map.parts().offset_order;
  parts.mirror = map.parts().mirror;
  parts.transposed_of = map.weak_from_this();
  auto transposed = std::make_shared<KernelMap<Space>>(std::move(in_out), map.num_out(), map.num_in(),
                                                       map.volume(), map.centre(), std::move(parts));
  std::lock_guard lock{detail::access(map).mutex()};
  return detail::access(map).cache().get_or_make(detail::TransposedMapKey<Space>{},
                                                 [&] { return transposed; });
}

/// Gives `map` its cut into tiles, so that tile_map() with the same arguments does not make it again.
///
/// @param sort   whether the rows of each split are sorted
/// @param tiles  its buffers and numbers as tile_map() made them of a map with these entries
/// @throws invalid_argument  buffers or numbers that are not those of the map's splits, offsets and rows
/// Cost: a small allocation on the host.
/// Stream: enqueues nothing.
/// Determinism: as tile_map().
template <class Space>
void restore_tiles(KernelMap<Space>& map, bool sort, TileMap<Space>&& tiles)
{
  auto const all = tiles.splits * tiles.num_tiles;
  bool const fits = tiles.splits >= 1 && tiles.tile_rows >= 1 &&
                    tiles.split_length == detail::ceil_div(map.volume(), tiles.splits) &&
                    tiles.words == detail::ceil_div(tiles.split_length, 32) &&
                    tiles.num_tiles == detail::ceil_div(map.num_out(), std::int64_t{tiles.tile_rows}) &&
                    tiles.order.size() == all * tiles.tile_rows &&
                    tiles.map.size() == all * tiles.tile_rows * tiles.split_length &&
                    tiles.masks.size() == all * tiles.words;
  detail::expects(fits, "restore_tiles: ", tiles.splits, " x ", tiles.num_tiles, " tiles of ",
                  tiles.tile_rows, " rows and ", tiles.split_length, " offsets are not those of a map of ",
                  map.num_out(), " x ", map.volume());
  auto const made = std::make_shared<TileMap<Space>>(std::move(tiles));
  detail::TileMapKey<Space> const key{sort, made->splits, made->tile_rows};
  std::lock_guard lock{detail::access(map).mutex()};
  static_cast<void>(detail::access(map).cache().get_or_make(key, [&] { return made; }));
}

/// Gives `map` its pair lists, so that pair_list() does not make them again.
///
/// | name  | shape        | memory | holds                                     |
/// |-------|--------------|--------|-------------------------------------------|
/// | in    | [room]       | Space  | PairList::in of a map with these entries  |
/// | out   | [room]       | Space  | PairList::out                             |
/// | begin | [volume + 1] | Space  | PairList::begin                           |
///
/// @pre  they hold what pair_list() would write; it is not compared
/// @throws invalid_argument  lists of two lengths, or longer than the map; another number of offsets
/// Cost: a small allocation on the host.
/// Stream: enqueues nothing.
/// Determinism: as pair_list().
template <class Space>
void restore_pair_list(KernelMap<Space>& map, Buffer<std::int32_t, Space>&& in,
                       Buffer<std::int32_t, Space>&& out, Buffer<std::int64_t, Space>&& begin)
{
  bool const fits = in.size() == out.size() && in.size() <= map.num_out() * map.volume() &&
                    begin.size() == map.volume() + 1;
  detail::expects(fits, "restore_pair_list: lists of ", in.size(), " and ", out.size(), " pairs and of ",
                  begin.size(), " offsets are not those of a map of ", map.num_out(), " x ", map.volume());
  auto const made = std::make_shared<PairList<Space>>();
  made->in = std::move(in);
  made->out = std::move(out);
  made->begin = std::move(begin);
  std::lock_guard lock{detail::access(map).mutex()};
  static_cast<void>(
      detail::access(map).cache().get_or_make(detail::PairListKey<Space>{}, [&] { return made; }));
}

}  // namespace v0
}  // namespace tessera
