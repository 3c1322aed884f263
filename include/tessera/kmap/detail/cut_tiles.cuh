// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/detail/lanes.hpp>
#include <tessera/core/int_array.hpp>
#include <tessera/core/launch.cuh>
#include <tessera/kmap/detail/cut_tiles.hpp>

namespace tessera {
inline namespace v0 {
namespace detail {

/// A warp cuts a tile, 16 rows and 32 offsets at a time: lane n has row n % 16 and every other offset, so
/// that its loads are independent and 16 lanes write 64 contiguous bytes.
/// @tparam OneStep  tiles have no more than 16 rows: entries are read once
template <bool OneStep>
__global__ void __launch_bounds__(256)
    cut_tiles_kernel(__grid_constant__ CutTiles const cut, std::int64_t tiles)
{
  constexpr unsigned all_lanes = 0xffffffffU;
  constexpr int step_rows = 16;
  constexpr int turns = 16;  // of two offsets each
  auto const tile = thread_index() / 32;
  if (tile >= tiles) { return; }
  int const lane = lane_id();
  int const half = lane / step_rows;
  auto const split = tile / cut.num_tiles;
  auto const first = (tile - split * cut.num_tiles) * cut.tile_rows;
  auto const begin = cut.offsets.begin(split);
  auto const count = cut.offsets.end(split) - begin;
  for (int r = lane; r < cut.tile_rows; r += 32) {
    cut.order[tile * cut.tile_rows + r] = cut.row_at(split, first + r);
  }
  int const steps = OneStep ? 1 : ceil_div(cut.tile_rows, step_rows);
  std::int32_t entries[turns];
  auto const read = [&](int step, int word) {
    int const r = step * step_rows + lane % step_rows;
    auto const row = r < cut.tile_rows ? cut.row_at(split, first + r) : -1;
#pragma unroll
    for (int turn = 0; turn < turns; ++turn) {
      entries[turn] = cut.entry(row, begin, count, word * 32 + 2 * turn + half);
    }
  };
  for (int word = 0; word < cut.words; ++word) {
    std::uint32_t bits = 0;
    for (int step = 0; step < steps; ++step) {
      read(step, word);
#pragma unroll
      for (int turn = 0; turn < turns; ++turn) {
        auto const present = __ballot_sync(all_lanes, entries[turn] >= 0);
        bits |= (present & 0xffffU) != 0 ? 1U << (2 * turn) : 0;
        bits |= present >> 16 != 0 ? 2U << (2 * turn) : 0;
      }
    }
    if (lane == 0) { cut.masks[tile * cut.words + word] = bits; }
    for (int step = 0; step < steps; ++step) {
      int const r = step * step_rows + lane % step_rows;
      if (!OneStep) { read(step, word); }
#pragma unroll
      for (int turn = 0; turn < turns; ++turn) {
        int const i = 2 * turn + half;
        if (word * 32 + i < cut.offsets.length && r < cut.tile_rows) {
          cut.map[(tile * cut.offsets.length + word * 32 + i) * cut.tile_rows + r] = entries[turn];
        }
      }
    }
  }
}

template <>
struct TileCutter<Device> {
  /// Stream: enqueues one kernel.
  static void run(CutTiles const& cut, std::int64_t tiles, Execution<Device> const& exec)
  {
    auto const kernel = cut.tile_rows <= 16 ? cut_tiles_kernel<true> : cut_tiles_kernel<false>;
    auto const blocks = ceil_div(tiles, 8);
    expects(blocks <= INT32_MAX, "tile_map: ", tiles, " tiles are more than one launch can cut");
    launch(kernel, dim3(static_cast<unsigned>(blocks)), 256, 0, exec, cut, tiles);
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
