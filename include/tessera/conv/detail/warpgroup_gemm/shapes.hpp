// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/kernel_plan.hpp>

#include <algorithm>
#include <array>
#include <climits>
#include <cstddef>
#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The largest divisor of `value` up to `most`, or 1.
[[nodiscard]] constexpr int largest_divisor(int value, int most)
{
  for (int n = value; n > 1; --n) {
    if (value % n == 0 && n <= most) { return n; }
  }
  return 1;
}

/// Whether a block of the warpgroup kernel copies the rows of all offsets before it knows which it needs:
/// C256 191 -> 186 us, C96 41.2 -> 40.7, sphere256 883 -> 868; but C128 where two blocks share a tile 48.9 ->
/// 53.1. Up to so many offsets there is room next to the stages and what two blocks exchange.
[[nodiscard]] TESSERA_HOST_DEVICE constexpr bool copies_all_rows(int columns, int volume)
{
  return columns != 128 && volume < 32;
}

/// How a block of the warpgroup kernel is made up.
struct WarpgroupShape {
  int columns;     ///< output channels of a block
  int product;     ///< those of one product, a divisor
  int groups;      ///< warpgroups of a block, 64 rows each
  int depth;       ///< chunks of features that a lane holds
  int min_blocks;  ///< blocks of a multiprocessor: one, whose warpgroups take registers from a further one,
                   ///< which copies weights; or more, whose first warp copies as it goes

  [[nodiscard]] constexpr int fragments() const { return 4 * groups; }
  [[nodiscard]] constexpr int consumers() const { return 128 * groups; }  // threads
  /// MinkUNet 1.0 on a KITTI scan 2.05 -> 1.98 ms, spconv's network on 914k voxels 4.13 -> 3.87; twice or
  /// half as many, or all, of any width: as fast or slower.
  [[nodiscard]] constexpr int few_tiles() const { return columns == 256 ? 1056 : columns == 128 ? 528 : 264; }
  /// Half of all sums.
  [[nodiscard]] constexpr int exchange_bytes() const { return columns * consumers(); }
  /// Bytes of a chunk of weights.
  [[nodiscard]] constexpr int chunk_bytes() const { return columns * 64; }
  /// C 256: with stages of 16 KB 58 us instead of 51.
  [[nodiscard]] constexpr int stage_chunks() const
  {
    return largest_divisor(depth, 32 * 1024 / chunk_bytes());
  }
  [[nodiscard]] constexpr int stage_bytes() const { return stage_chunks() * chunk_bytes(); }
  /// Shared memory of a block, at most.
  [[nodiscard]] constexpr std::size_t shared_bytes() const
  {
    return static_cast<std::size_t>(228 * 1024 / min_blocks - 1024);
  }

  /// Shared memory of all but the stages and their barriers, where two blocks share a tile.
  [[nodiscard]] std::size_t shared_tile_bytes(int volume) const
  {
    int const entries = ceil_div(volume, 2);
    return lists_bytes(entries, copies_all_rows(columns, volume) ? volume : entries) +
           static_cast<std::size_t>(exchange_bytes());
  }
  /// The same where a block has a tile of its own, or, if they `may_share`, enough for either.
  [[nodiscard]] std::size_t tile_bytes(int volume, bool may_share) const
  {
    auto const alone = lists_bytes(volume, volume);
    return may_share && shared_tile_bytes(volume) > alone ? shared_tile_bytes(volume) : alone;
  }

 private:
  /// Of the list of so many offsets, and rows of so many.
  [[nodiscard]] std::size_t lists_bytes(int entries, int row_entries) const
  {
    auto const places = static_cast<std::size_t>(fragments() * fragment_rows) * 4;
    return static_cast<std::size_t>(fragments() + 2) * barrier_bytes +
           static_cast<std::size_t>(columns) * sizeof(float) + places +
           static_cast<std::size_t>(row_entries) * places +
           static_cast<std::size_t>(16 * ceil_div(entries, 4));
  }
};

/// The shapes, for 16-bit scalars and for TF32. Times are microseconds of one 3x3x3 layer of half features at
/// the levels of a LiDAR scan, weights packed, with a residual, on an H100, two blocks per tile; in brackets
/// those of the warp kernel.
// clang-format off
inline constexpr std::array<WarpgroupShape, 14> warpgroup_shapes{{
  // columns, product, groups, depth, min_blocks
  { 64,  64, 2, 1, 2},
  { 64,  64, 2, 2, 2},
  { 64,  64, 2, 3, 2},
  { 64,  64, 2, 4, 2},
  { 96,  96, 2, 1, 2},
  { 96,  96, 2, 2, 2},
  { 96,  96, 2, 3, 2},  // 94,590 rows C 96: 58 (72); 68,867 rows: 51 (66)
  { 96,  96, 2, 4, 2},
  {128, 128, 3, 1, 1},
  {128, 128, 2, 2, 2},  // 41,983 rows C 128: 52 (74), with 3 groups and 3 chunks 60; 21,458 rows: 32 (51)
  {128, 128, 3, 3, 1},
  {256, 128, 2, 1, 1},  // deeper ones leave no registers for products that overlap
  {256, 128, 2, 3, 1},
  {256, 128, 2, 4, 1},  // 21,458 rows C 256: 99 (143); 9,505 rows: 51 (94)
}};
// clang-format on

/// The place of the shape for so many output channels and chunks of input channels.
[[nodiscard]] inline int warpgroup_shape(int out_channels, int chunks)
{
  // Chunks read ahead hide the memory's latency, so the last of an odd number are filled up with zeros.
  bool const in_fours = chunks % 4 == 0 || (chunks % 4 == 3 && chunks % 3 != 0);
  bool const in_threes = chunks % 3 == 0;
  bool const in_twos = chunks % 2 == 0;
  int columns = 256;
  int depth = in_fours ? 4 : 3;
  if (out_channels <= 96 || (out_channels > 128 && out_channels <= 192)) {
    columns = out_channels <= 64 ? 64 : 96;
    depth = in_fours ? 4 : !in_threes && in_twos ? 2 : 3;
  } else if (out_channels <= 128) {
    columns = 128;
    depth = in_threes && !in_twos ? 3 : 2;
  }
  if (chunks == 1) { depth = 1; }
  auto const found = std::find_if(warpgroup_shapes.begin(), warpgroup_shapes.end(), [&](auto const& shape) {
    return shape.columns == columns && shape.depth == depth;
  });
  return static_cast<int>(found - warpgroup_shapes.begin());
}

/// How a weight [volume, in_channels, out_channels] is packed for the warpgroup kernel: as operands B of
/// `wgmma`, [channel blocks, offsets, chunks, 2 steps, columns / 8, 2, 8 columns, 16 bytes].
///
/// The depth of an offset is cut into chunks of 64 bytes, and a chunk into two steps.
/// Channels are dealt out so that operand A is what a lane reads of a row of features in 16 bytes, and
/// columns so that a lane's sums are eight neighbouring output channels.
struct WarpgroupLayout {
  int volume = 0;
  int in_channels = 0;
  int out_channels = 0;
  int chunk_channels = 32;
  int columns = 32;  // output channels of a block
  int depth = 1;     // chunks that are multiplied one after the other; those of an offset are filled up to it

  WarpgroupLayout() = default;
  WarpgroupLayout(WarpgroupShape const& shape, int channels_of_chunk, int num_offsets, int num_in,
                  int num_out)
      : volume{num_offsets},
        in_channels{num_in},
        out_channels{num_out},
        chunk_channels{channels_of_chunk},
        columns{shape.columns},
        depth{shape.depth}
  {}
  explicit WarpgroupLayout(PackedLayout const& key)
      : volume{static_cast<int>(key[1])},
        in_channels{static_cast<int>(key[2])},
        out_channels{static_cast<int>(key[3])},
        chunk_channels{static_cast<int>(key[4])},
        columns{static_cast<int>(key[5])},
        depth{static_cast<int>(key[6])}
  {}

  /// Of the channels that there are.
  [[nodiscard]] TESSERA_HOST_DEVICE int used_chunks() const { return ceil_div(in_channels, chunk_channels); }
  [[nodiscard]] TESSERA_HOST_DEVICE int chunks() const { return ceil_div(used_chunks(), depth) * depth; }
  [[nodiscard]] TESSERA_HOST_DEVICE int channel_blocks() const { return ceil_div(out_channels, columns); }
  /// Elements.
  [[nodiscard]] TESSERA_HOST_DEVICE std::int64_t size() const
  {
    return std::int64_t{volume} * chunks() * channel_blocks() * columns * chunk_channels;
  }
  [[nodiscard]] PackedLayout key() const
  {
    return {packed_for_warpgroup, volume, in_channels, out_channels, chunk_channels, columns, depth, 0};
  }
};

/// The stages and shared memory of `shape` for `volume` offsets; more memory than `shared_limit` where it
/// does not fit.
/// @param asked  the kernel asked for: `warpgroup` and `warpgroup_pair` say whether two blocks share a tile
[[nodiscard]] inline PipelineSize warpgroup_pipeline(WarpgroupShape const& shape, int volume,
                                                     GemmKernel asked, std::size_t shared_limit)
{
  constexpr int long_kernel = 16;  // offsets from which two blocks may share a tile's
  constexpr std::size_t least_stages = 3;
  constexpr std::size_t most_stages = 8;
  PipelineSize result;
  result.few_tiles = volume >= long_kernel && asked != GemmKernel::warpgroup ? shape.few_tiles() : 0;
  if (asked == GemmKernel::warpgroup_pair) { result.few_tiles = volume > 1 ? INT_MAX : 0; }
  auto tile = result.few_tiles == INT_MAX ? shape.shared_tile_bytes(volume)
                                          : shape.tile_bytes(volume, result.few_tiles > 0);
  auto const stage = static_cast<std::size_t>(shape.stage_bytes()) + 2 * barrier_bytes;
  auto const room = std::min(shared_limit, shape.shared_bytes());
  if (volume >= long_kernel && tile + least_stages * stage > room) {  // the lists of all offsets are too long
    result.few_tiles = INT_MAX;
    tile = shape.shared_tile_bytes(volume);
  }
  auto const fitting = room > tile ? (room - tile) / stage : 0;
  result.stages = static_cast<int>(std::clamp(fitting, least_stages, most_stages));
  result.shared_bytes = static_cast<std::size_t>(result.stages) * stage + tile;
  return result;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
