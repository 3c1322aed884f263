// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/int_array.hpp>
#include <tessera/kmap/detail/cut_tiles.hpp>
#include <tessera/kmap/detail/row_order.hpp>
#include <tessera/kmap/kernel_map.hpp>

namespace tessera {
inline namespace v0 {

/// A kernel map in the order in which an implicit GEMM reads it: cut into splits of the offsets, and in each
/// split into tiles of rows.
///
/// Split z owns the offsets [z L, min(volume, (z + 1) L)), L = ceil(volume / splits); late splits may own
/// none. Everything is stored tile by tile, so that a block reads contiguous pieces, and in the order in
/// which tiles are to be started: those with most work first, where the map is sorted.
template <class Space>
struct TileMap {
  int splits = 1;
  int split_length = 0;        ///< L
  int tile_rows = 0;           ///< R
  int words = 0;               ///< of a tile's mask: ceil(L / 32)
  std::int64_t num_tiles = 0;  ///< T = ceil(num_out / R), of each split

  Buffer<std::int32_t, Space> order;  ///< [splits, T, R] the output row at each place, or -1 past the last
  /// [splits, T, L, R] the input row of that row and offset, or -1.
  Buffer<std::int32_t, Space> map;
  Buffer<std::uint32_t, Space> masks;  ///< [splits, T, words] which offsets any row of the tile has
};

namespace detail {

/// The entries of a kernel map from its tiles: of the row at each place, in each split, an item.
struct JoinTiles {
  std::int32_t const* order;  // [splits, num_tiles, tile_rows]
  std::int32_t const* map;    // [splits, num_tiles, length, tile_rows]
  std::int32_t* out_in;       // [num_out, volume]
  std::int64_t num_tiles;
  SplitOffsets offsets;
  int tile_rows;

  TESSERA_HOST_DEVICE void operator()(std::int64_t place) const
  {
    auto const row = order[place];
    if (row < 0) { return; }
    auto const tile = place / tile_rows;  // counted through all splits
    auto const begin = offsets.begin(tile / num_tiles);
    auto const count = offsets.end(tile / num_tiles) - begin;
    for (int i = 0; i < count; ++i) {
      out_in[std::int64_t{row} * offsets.volume + begin + i] =
          map[(tile * offsets.length + i) * tile_rows + place % tile_rows];
    }
  }
};

/// Lets `tiles` take the map's place, if the map may be released.
template <class Space>
void replace_by_tiles(KernelMap<Space>& map, std::shared_ptr<TileMap<Space>> const& tiles,
                      Execution<Space> const& exec)
{
  if (!access(map).is_releasable()) { return; }
  access(map).release([tiles, volume = map.volume(), num_out = map.num_out(), exec] {
    Buffer<std::int32_t, Space> out_in{num_out * volume, exec};
    for_each(tiles->order.size(),
             JoinTiles{tiles->order.data(),
                       tiles->map.data(),
                       out_in.data(),
                       tiles->num_tiles,
                       {volume, tiles->split_length},
                       tiles->tile_rows},
             exec);
    return out_in;
  });
}

template <class Space>
[[nodiscard]] std::shared_ptr<TileMap<Space>> make_tiles(KernelMap<Space>& map, bool sort, int splits,
                                                         int tile_rows, Execution<Space> const& exec)
{
  auto tiles = std::make_shared<TileMap<Space>>();
  tiles->splits = splits;
  tiles->split_length = ceil_div(map.volume(), splits);
  tiles->tile_rows = tile_rows;
  tiles->words = ceil_div(tiles->split_length, 32);
  tiles->num_tiles = ceil_div(map.num_out(), tile_rows);
  auto const all_tiles = splits * tiles->num_tiles;
  tiles->order = Buffer<std::int32_t, Space>{all_tiles * tile_rows, exec};
  tiles->map = Buffer<std::int32_t, Space>{all_tiles * tile_rows * tiles->split_length, exec};
  tiles->masks = Buffer<std::uint32_t, Space>{all_tiles * tiles->words, exec};
  if (all_tiles == 0) { return tiles; }
  auto const sorted = sort ? row_order(map, splits, exec) : nullptr;
  CutTiles const cut{access(map).materialize(),
                     sorted ? sorted->data() : nullptr,
                     tiles->order.data(),
                     tiles->map.data(),
                     tiles->masks.data(),
                     map.num_out(),
                     tiles->num_tiles,
                     {map.volume(), tiles->split_length},
                     tile_rows,
                     tiles->words};
  TileCutter<Space>::run(cut, all_tiles, exec);
  replace_by_tiles(map, tiles, exec);
  return tiles;
}

/// The tile map of a map for tiles of so many rows.
template <class Space>
struct TileMapKey {
  using Value = TileMap<Space>;
  bool sort;
  int splits;
  int tile_rows;
  friend bool operator==(TileMapKey const& a, TileMapKey const& b)
  {
    return a.sort == b.sort && a.splits == b.splits && a.tile_rows == b.tile_rows;
  }
};

}  // namespace detail

/// The tile map of `map` for tiles of `tile_rows` rows, made at the first call and kept by the map.
///
/// With `sort`, the rows of each split are ordered by their neighbour masks, an offset being a bit and the
/// rarest offset the highest, as far as its place in the kernel tells: the farthest from the centre of a
/// submanifold kernel (KernelMapParts::offset_order), else the last. Masks go in the descending order of the
/// Gray code, in which the one after a mask has few other offsets, where in the order of numbers all lower
/// bits may change at once; rows with equal masks keep their order. So rows of a tile have similar
/// neighbours, and tiles that have the rare offsets, and with them most others, come first. Of a split with
/// more than 64 offsets the last 64 decide. Without, rows keep their order. The masks of tiles are exact
/// either way.
///
/// @throws invalid_argument  splits or tile_rows is less than 1
/// Cost: a pass over the map and, with `sort`, a sort of every split, which tile maps share; the first time.
/// Stream: enqueues kernels, does not wait.
/// Determinism: same map, same result.
template <class Space>
[[nodiscard]] std::shared_ptr<TileMap<Space>> tile_map(KernelMap<Space>& map, bool sort, int splits,
                                                       int tile_rows, Execution<Space> const& exec)
{
  detail::expects(splits >= 1, "tile_map: ", splits, " splits; there must be at least 1");
  detail::expects(tile_rows >= 1, "tile_map: ", tile_rows, " rows in a tile; there must be at least 1");
  std::lock_guard lock{detail::access(map).mutex()};
  return detail::access(map).cache().get_or_make(detail::TileMapKey<Space>{sort, splits, tile_rows}, [&] {
    return detail::on_map_stream(map.parts().map_stream, exec, [&](Execution<Space> const& own) {
      return detail::make_tiles(map, sort, splits, tile_rows, own);
    });
  });
}
}  // namespace v0
}  // namespace tessera
