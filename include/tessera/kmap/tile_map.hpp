// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/int_array.hpp>
#include <tessera/kmap/kernel_map.hpp>

#include <algorithm>

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

  Buffer<std::int32_t, Space> order;   ///< [splits, T, R] the output row at each place, or -1 past the last
  Buffer<std::int32_t, Space> map;     ///< [splits, T, L, R] the input row of that row and offset, or -1
  Buffer<std::uint32_t, Space> masks;  ///< [splits, T, words] which offsets any row of the tile has
};

namespace detail {

/// Which offsets a split owns, for the functors below.
struct SplitOffsets {
  int volume;
  int length;  // L

  [[nodiscard]] TESSERA_HOST_DEVICE int begin(std::int64_t split) const
  {
    auto const first = split * length;
    return first < volume ? static_cast<int>(first) : volume;
  }
  [[nodiscard]] TESSERA_HOST_DEVICE int end(std::int64_t split) const { return begin(split + 1); }
};

/// counts[k] = sampled output rows that have a neighbour under offset k; every `step`-th row is looked at.
struct CountNeighbours {
  std::int32_t const* out_in;  // [num_out, volume]
  std::uint32_t* counts;       // [volume], zeros
  std::int64_t step;
  int volume;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    std::int64_t const row = divide(static_cast<long long>(i), volume);
    auto const k = i - row * volume;
    if (out_in[row * step * volume + k] >= 0) { atomic_add(&counts[k], std::uint32_t{1}); }
  }
};

/// rank[k] = how many offsets of k's split are rarer than k.
struct RankOffsets {
  static constexpr int longest_split = 1024;  // every offset is compared with every other

  std::uint32_t const* counts;  // [volume]
  std::int32_t* rank;           // [volume]
  SplitOffsets offsets;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto const k = static_cast<int>(i);
    auto const split = k / offsets.length;
    auto const begin = offsets.begin(split);
    int rarer = k - begin;
    if (offsets.length <= longest_split) {
      rarer = 0;
      for (int j = begin; j < offsets.end(split); ++j) {
        rarer += counts[j] < counts[k] || (counts[j] == counts[k] && j < k) ? 1 : 0;
      }
    }
    rank[k] = rarer;
  }
};

/// The sort key of each row in each split: the complement of its mask, rarest offset on top. And the rows in
/// their order, to be sorted along.
template <class Key>
struct WriteMaskKeys {
  std::int32_t const* out_in;  // [num_out, volume]
  std::int32_t const* rank;    // [volume], or null: later offsets are rarer
  Key* keys;                   // [splits, num_out]
  std::int32_t* rows;          // [splits, num_out]
  std::int64_t num_out;
  SplitOffsets offsets;
  int bits;  // of a key; offsets with more than so many rarer ones are left out

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto const split = i / num_out;
    auto const row = i - split * num_out;
    auto const* const entries = out_in + row * offsets.volume;
    auto const begin = offsets.begin(split);
    auto const end = offsets.end(split);
    Key mask{0};
    for (int k = begin; k < end; ++k) {
      int const rarer = rank != nullptr ? rank[k] : end - 1 - k;
      if (entries[k] >= 0 && rarer < bits) { mask = static_cast<Key>(mask | Key{1} << (bits - 1 - rarer)); }
    }
    keys[i] =
        static_cast<Key>(~mask) & static_cast<Key>(~Key{0} >> (static_cast<int>(sizeof(Key)) * 8 - bits));
    rows[i] = static_cast<std::int32_t>(row);
  }
};

/// order[split, place] = place for the places of rows, -1 past them.
struct NumberRows {
  std::int32_t* order;  // [splits, places]
  std::int64_t num_out;
  std::int64_t places;
  std::int64_t first;  // place to begin with

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto const count = places - first;
    auto const split = i / count;
    auto const place = first + (i - split * count);
    order[split * places + place] = place < num_out ? static_cast<std::int32_t>(place) : -1;
  }
};

/// Writes the entries of one place, and its bits into the mask of its tile. Neighbouring places write
/// neighbouring words, and each reads the entries of one row, which lie together.
struct WriteTileEntries {
  std::int32_t const* out_in;  // [num_out, volume]
  std::int32_t const* order;   // [splits, places]
  std::int32_t* map;           // [splits, T, L, R]
  std::uint32_t* masks;        // [splits, T, words], zeros
  std::int64_t places;         // T R
  SplitOffsets offsets;
  int tile_rows;
  int words;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto const split = i / places;
    auto const tile = i / tile_rows;  // counted through all splits, as places is a multiple of R
    auto const begin = offsets.begin(split);
    auto const count = offsets.end(split) - begin;
    auto const row = order[i];
    auto const* const from = out_in + (row < 0 ? 0 : std::int64_t{row} * offsets.volume + begin);
    auto* const to = map + tile * offsets.length * tile_rows + i % tile_rows;
    std::uint32_t bits = 0;
    for (int k = 0; k < offsets.length; ++k) {
      std::int32_t const in = row >= 0 && k < count ? from[k] : -1;
      to[std::int64_t{k} * tile_rows] = in;
      if (in >= 0) { bits |= std::uint32_t{1} << (k % 32); }
      if (k % 32 == 31 || k == offsets.length - 1) {
        if (bits != 0) { atomic_or(&masks[tile * words + k / 32], bits); }
        bits = 0;
      }
    }
  }
};

/// Which offsets are rare, from a sample of the rows: [volume].
template <class Space>
[[nodiscard]] Buffer<std::int32_t, Space> rank_offsets(KernelMap<Space> const& map,
                                                       SplitOffsets const& offsets,
                                                       Execution<Space> const& exec)
{
  constexpr std::int64_t sample = 2048;  // rows that tell rare offsets from common ones well enough
  auto const volume = map.volume();
  auto const step = std::max<std::int64_t>(1, map.num_out() / sample);
  Buffer<std::uint32_t, Space> counts{volume, exec};
  fill_bytes(counts, 0, exec);
  for_each(map.num_out() / step * volume, CountNeighbours{map.out_in(), counts.data(), step, volume}, exec);
  Buffer<std::int32_t, Space> rank{volume, exec};
  for_each(volume, RankOffsets{counts.data(), rank.data(), offsets}, exec);
  return rank;
}

/// Sorts `order` by descending neighbour mask in each split; equal masks keep their rows' order.
template <class Key, class Space>
void sort_by_mask(KernelMap<Space> const& map, TileMap<Space>& tiles, std::int64_t places,
                  SplitOffsets const& offsets, Execution<Space> const& exec)
{
  constexpr int few_offsets = 8;  // of a split: which of them are rare hardly matters
  auto const num_out = map.num_out();
  auto const bits = std::min(offsets.length, static_cast<int>(sizeof(Key)) * 8);
  Buffer<std::int32_t, Space> rank;
  if (offsets.length > few_offsets) { rank = rank_offsets(map, offsets, exec); }
  Buffer<Key, Space> keys{tiles.splits * num_out, exec};
  Buffer<Key, Space> sorted_keys{num_out, exec};
  Buffer<std::int32_t, Space> rows{tiles.splits * num_out, exec};
  WriteMaskKeys<Key> const write{map.out_in(), rank.data(), keys.data(), rows.data(), num_out, offsets, bits};
  for_each(keys.size(), write, exec);
  for (int split = 0; split < tiles.splits; ++split) {
    auto const first = split * num_out;
    Sort<Space>::pairs(keys.data() + first, rows.data() + first, sorted_keys.data(),
                       tiles.order.data() + split * places, num_out, bits, exec);
  }
}

}  // namespace detail

/// The tile map of `map` for tiles of `tile_rows` rows, made at the first call and kept by the map.
///
/// With `sort`, the rows of each split are in descending order of their neighbour masks, an offset being a
/// bit and the rarest offset (in a sample of the rows) the highest, or of splits of up to 8 offsets the last;
/// rows with equal masks keep their order.
/// So rows of a tile have like neighbours and tiles with many offsets come first. Of a split with more than
/// 64 offsets the rarest 64 decide. Without, rows keep their order. The masks of tiles are exact either way.
///
/// @throws invalid_argument  splits or tile_rows is less than 1
/// Cost: two passes over the map, with `sort` three and a sort of every split, the first time. Stream:
/// enqueues kernels, does not wait. Determinism: same map, same result.
template <class Space>
[[nodiscard]] std::shared_ptr<TileMap<Space>> tile_map(KernelMap<Space>& map, bool sort, int splits,
                                                       int tile_rows, Execution<Space> const& exec)
{
  detail::expects(splits >= 1, "tile_map: ", splits, " splits; there must be at least 1");
  detail::expects(tile_rows >= 1, "tile_map: ", tile_rows, " rows in a tile; there must be at least 1");
  auto const name = detail::concat("tile map: sort ", sort, ", splits ", splits, ", rows ", tile_rows);
  std::lock_guard lock{map.mutex()};
  return map.cache().template get_or_make<TileMap<Space>>(name, [&] {
    auto tiles = std::make_shared<TileMap<Space>>();
    tiles->splits = splits;
    tiles->split_length = detail::ceil_div(map.volume(), splits);
    tiles->tile_rows = tile_rows;
    tiles->words = detail::ceil_div(tiles->split_length, 32);
    tiles->num_tiles = (map.num_out() + tile_rows - 1) / tile_rows;
    auto const num_out = map.num_out();
    auto const places = tiles->num_tiles * tile_rows;
    detail::SplitOffsets const offsets{map.volume(), tiles->split_length};

    tiles->order = Buffer<std::int32_t, Space>{splits * places, exec};
    tiles->map = Buffer<std::int32_t, Space>{splits * places * tiles->split_length, exec};
    tiles->masks = Buffer<std::uint32_t, Space>{splits * tiles->num_tiles * tiles->words, exec};
    if (num_out == 0) { return tiles; }

    auto const numbered = sort ? num_out : 0;  // the sort writes the places before
    detail::for_each(splits * (places - numbered),
                     detail::NumberRows{tiles->order.data(), num_out, places, numbered}, exec);
    if (sort && tiles->split_length <= 32) {
      detail::sort_by_mask<std::uint32_t>(map, *tiles, places, offsets, exec);
    } else if (sort) {
      detail::sort_by_mask<std::uint64_t>(map, *tiles, places, offsets, exec);
    }
    fill_bytes(tiles->masks, 0, exec);
    detail::for_each(splits * places,
                     detail::WriteTileEntries{map.out_in(), tiles->order.data(), tiles->map.data(),
                                              tiles->masks.data(), places, offsets, tile_rows, tiles->words},
                     exec);
    return tiles;
  });
}

}  // namespace v0
}  // namespace tessera
