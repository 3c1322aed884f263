// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/detail/lanes.hpp>
#include <tessera/core/detail/scan.cuh>
#include <tessera/core/int_array.hpp>
#include <tessera/core/launch.cuh>
#include <tessera/kmap/pair_list.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// What the passes over a map read and write that list its pairs.
struct ListPairs {
  std::int32_t const* out_in;  // [num_out, volume]
  std::int64_t* place;         // [volume, blocks] and one more: counts, then where each block's pairs begin
  std::int32_t* in;            // [num_pairs]
  std::int32_t* out;           // [num_pairs]
  std::int64_t num_out;
  std::int64_t blocks;  // of rows
  int volume;
  int slices;  // of offsets
};

/// A block has so many rows and offsets, of which it reads a row's entries side by side.
struct ListPairsBlock {
  static constexpr int warps = 8;
  static constexpr int rows = 256;
  static constexpr int offsets = 32;
};

/// Counts each offset's pairs among the rows of a block, or writes them, rows ascending; a warp has an offset.
template <bool Writes>
__global__ void __launch_bounds__(ListPairsBlock::warps * 32)
    list_pairs_kernel(__grid_constant__ ListPairs const list)
{
  using Block = ListPairsBlock;
  __shared__ std::int32_t entries[Block::rows]
                                 [Block::offsets + 1];  // one more: rows begin in different banks
  auto const block = std::int64_t{blockIdx.x} / list.slices;
  int const slice = static_cast<int>(blockIdx.x % static_cast<unsigned>(list.slices));
  auto const first_row = block * Block::rows;
  int const first_offset = slice * Block::offsets;
  int const warp = warp_id();
  int const lane = lane_id();
#pragma unroll 8
  for (int row = warp; row < Block::rows; row += Block::warps) {
    auto const o = first_row + row;
    bool const exists = o < list.num_out && first_offset + lane < list.volume;
    entries[row][lane] = exists ? list.out_in[o * list.volume + first_offset + lane] : -1;
  }
  __syncthreads();
  for (int offset = warp; offset < Block::offsets && first_offset + offset < list.volume;
       offset += Block::warps) {
    auto const at = (first_offset + offset) * list.blocks + block;
    auto place = Writes ? list.place[at] : std::int64_t{0};
#pragma unroll
    for (int row = 0; row < Block::rows; row += 32) {
      auto const in = entries[row + lane][offset];
      auto const present = __ballot_sync(0xffffffffU, in >= 0);
      if (Writes && in >= 0) {
        auto const own = place + __popc(present & ((1U << lane) - 1U));
        list.in[own] = in;
        list.out[own] = static_cast<std::int32_t>(first_row + row + lane);
      }
      place += __popc(present);
    }
    if (!Writes && lane == 0) { list.place[at] = place; }
  }
  if (!Writes && blockIdx.x == 0 && threadIdx.x == 0) { list.place[list.volume * list.blocks] = 0; }
}

template <>
struct PairLister<Device> {
  /// Stream: enqueues three kernels and a scan, does not wait.
  static void run(PairList<Device>& lists, std::int32_t const* out_in, std::int64_t num_out, int volume,
                  std::int64_t most_pairs, Execution<Device> const& exec)
  {
    using Block = ListPairsBlock;
    auto const blocks = ceil_div(num_out, std::int64_t{Block::rows});
    auto const places = volume * blocks + 1;
    Buffer<std::int64_t, Device> place{places, exec};
    lists.in = Buffer<std::int32_t, Device>{most_pairs, exec};
    lists.out = Buffer<std::int32_t, Device>{most_pairs, exec};
    ListPairs const list{out_in,  place.data(), lists.in.data(), lists.out.data(),
                         num_out, blocks,       volume,          ceil_div(volume, Block::offsets)};
    auto const grid_blocks = blocks * list.slices;
    expects(grid_blocks <= INT32_MAX, "pair_list: ", grid_blocks,
            " blocks are more than one launch can have");
    dim3 const grid{static_cast<unsigned>(grid_blocks)};
    launch(list_pairs_kernel<false>, grid, Block::warps * 32, 0, exec, list);
    Scan<Device>::exclusive(place.data(), place.data(), places, exec);
    for_each(volume + 1, CollectBegins{place.data(), lists.begin.data(), blocks}, exec);
    launch(list_pairs_kernel<true>, grid, Block::warps * 32, 0, exec, list);
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
