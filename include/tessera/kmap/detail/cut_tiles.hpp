// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/parallel.hpp>
#include <tessera/kmap/detail/mask_keys.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Cuts a kernel map into tiles, each of which is an item; see TileMap.
struct CutTiles {
  std::int32_t const* out_in;  // [num_out, volume]
  std::int32_t const* sorted;  // [splits, num_out], or null: rows keep their order
  std::int32_t* order;         // [splits, num_tiles, tile_rows]
  std::int32_t* map;           // [splits, num_tiles, length, tile_rows]
  std::uint32_t* masks;        // [splits, num_tiles, words]
  std::int64_t num_out;
  std::int64_t num_tiles;
  SplitOffsets offsets;
  int tile_rows;
  int words;

  /// The row at a place of a split, or -1.
  [[nodiscard]] TESSERA_HOST_DEVICE std::int32_t row_at(std::int64_t split, std::int64_t place) const
  {
    if (place >= num_out) { return -1; }
    return sorted == nullptr ? static_cast<std::int32_t>(place) : sorted[split * num_out + place];
  }

  /// The entry of a row and of offset i of the split [begin, begin + count), or -1.
  [[nodiscard]] TESSERA_HOST_DEVICE std::int32_t entry(std::int32_t row, int begin, int count, int i) const
  {
    return row >= 0 && i < count ? out_in[std::int64_t{row} * offsets.volume + begin + i] : -1;
  }

  void operator()(std::int64_t tile) const
  {
    auto const split = tile / num_tiles;
    auto const first = (tile - split * num_tiles) * tile_rows;
    auto const begin = offsets.begin(split);
    auto const count = offsets.end(split) - begin;
    auto* const rows = order + tile * tile_rows;
    for (int r = 0; r < tile_rows; ++r) { rows[r] = row_at(split, first + r); }
    for (int word = 0; word < words; ++word) { masks[tile * words + word] = 0; }
    for (int i = 0; i < offsets.length; ++i) {
      auto* const to = map + (tile * offsets.length + i) * tile_rows;
      bool any = false;
      for (int r = 0; r < tile_rows; ++r) {
        to[r] = entry(rows[r], begin, count, i);
        any = any || to[r] >= 0;
      }
      if (any) { masks[tile * words + i / 32] |= std::uint32_t{1} << (i % 32); }
    }
  }
};

/// Cuts all tiles of a space; kmap/detail/cut_tiles.cuh has the device's, where a warp cuts a tile.
template <class Space>
struct TileCutter;

template <>
struct TileCutter<Host> {
  static void run(CutTiles const& cut, std::int64_t tiles, Execution<Host> const& exec)
  {
    exec.parallel_for(tiles, 64, [&](std::int64_t begin, std::int64_t end) {
      for (auto tile = begin; tile < end; ++tile) { cut(tile); }
    });
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
