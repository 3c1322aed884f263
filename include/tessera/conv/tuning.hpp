// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/policies.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace tessera {
inline namespace v0 {

/// What AutoTile's choice among tiles depends on. No choice changes a result: every tile gives the same bits.
/// (16-bit scalars on sm_90 and newer, and TF32 on sm_90a, mostly take no tile, but a shape of
/// conv/detail/warpgroup_gemm/run.cuh or warp_gemm.cuh.)
struct TileProblem {
  std::int64_t num_out = 0;
  int in_channels = 0;
  int out_channels = 0;
  int multiprocessors = 1;
  bool aligned = true;  ///< rows of features, weights and outputs begin at multiples of 16 bytes
};

/// The tiles that AutoTile chooses among for scalars of `Bytes` bytes.
///
/// All have 64 rows, so that the layers on one map share one tile map. Rows of a tile that lack an offset are
/// multiplied as zeros: tiles of 128 rows waste more of those, tiles of 32 read the weights twice as often.
/// A name says how many output channels a tile is for; `coarse` is for few rows, `shallow` and `ragged` are
/// for operands that are not aligned, with few and with many input channels.
///
/// Times are microseconds of one 3x3x3 layer with as many output as input channels on the 94,444 voxels of a
/// LiDAR scan at 5 cm (3.0 neighbours a voxel), unless another number of rows is given, on an H100.
template <std::size_t Bytes, bool TensorCores>
struct TunedTiles;

/// half and bfloat16.
template <bool TensorCores>
struct TunedTiles<2, TensorCores> {
  using narrow = Tile<64, 32, 32, 6>;   // 32 channels: 24; four stages 29, eight 27, 32 rows 38
  using medium = Tile<64, 64, 64, 3>;   // 64 channels: 36; two stages 41, depth 32 42, 32 rows 50
  using broad = Tile<64, 96, 64, 2>;    // 64 to 96 channels: 52, 96: 71, 128 to 96: 75; depth 96 61, 66, 95
  using wide = Tile<64, 128, 128, 2>;   // 128 channels: 88, 256: 275; depth 64 92, 289; medium 94, 313
  using coarse = Tile<64, 64, 128, 2>;  // 256 channels on 2,814 rows: 66, 9,483: 109; medium 75, 126
  using shallow = Tile<64, 32, 16, 3>;  // 4 to 32 channels: 29; narrow 38
  using ragged = Tile<64, 64, 32, 3>;   // 81 channels: 151; narrow 177, shallow 243
};

/// float by TF32.
template <>
struct TunedTiles<4, true> {
  using narrow = Tile<64, 32, 32, 2>;  // 32 channels: 33; three stages 35
  using medium = Tile<64, 64, 64, 2>;  // 64 channels: 60, depth 32 69; 256 on 42,025 rows: 636
  using broad = medium;
  using wide = medium;  // 64 x 128 x 32 at 256 channels on 42,025 rows: 659
  using coarse = medium;
  using shallow = Tile<64, 32, 16, 3>;
  using ragged = Tile<64, 64, 32, 2>;
};

/// float, exactly.
template <>
struct TunedTiles<4, false> {
  using narrow = Tile<64, 32, 32, 2>;  // 32 channels: 66, as with three stages or depth 16
  using medium = Tile<64, 64, 32, 2>;  // 64 channels: 156, depth 16 179; 128 channels: 432
  using broad = medium;
  using wide = medium;  // 128 wide at 128 channels: 428 to 553
  using coarse = medium;
  using shallow = Tile<64, 32, 16, 3>;
  using ragged = medium;
};

/// double: for gradient checks, so one tile is enough.
template <>
struct TunedTiles<8, false> {
  using narrow = Tile<64, 32, 16, 2>;  // 32 channels: 90
  using medium = narrow;
  using broad = narrow;
  using wide = narrow;
  using coarse = narrow;
  using shallow = narrow;
  using ragged = narrow;
};

/// Calls `body(tile, aligned)` with the tile for the problem, an object of an empty type, and std::true_type
/// where the problem is aligned. `fits(tile)` says whether a block of the device has enough shared memory for
/// a tile, which it has for every narrow, shallow and ragged one.
template <class Tiles, class Fits, class Body>
void with_tuned_tile(TileProblem const& problem, Fits const& fits, Body const& body)
{
  auto const blocks_of_channels = [&](int channels) {
    return (problem.out_channels + channels - 1) / channels;
  };
  auto const aligned = [&](auto tile) {
    if (fits(tile)) {
      body(tile, std::true_type{});
    } else if (fits(typename Tiles::medium{})) {
      body(typename Tiles::medium{}, std::true_type{});
    } else {
      body(typename Tiles::narrow{}, std::true_type{});
    }
  };
  if (!problem.aligned) {
    if (problem.in_channels <= Tiles::shallow::depth) {
      return body(typename Tiles::shallow{}, std::false_type{});
    }
    if (problem.out_channels <= Tiles::narrow::channels) {
      return body(typename Tiles::narrow{}, std::false_type{});
    }
    return body(typename Tiles::ragged{}, std::false_type{});
  }
  if (problem.out_channels <= Tiles::narrow::channels) { return aligned(typename Tiles::narrow{}); }
  // A wide tile reads each row of features once for 128 output channels. The coarse levels of a scan have
  // fewer tiles than the device has places for blocks; there more blocks count for more.
  auto const tiles = (problem.num_out + Tiles::wide::rows - 1) / Tiles::wide::rows;
  bool const few = tiles * blocks_of_channels(Tiles::wide::channels) < 2 * problem.multiprocessors;
  if (few && problem.in_channels > Tiles::medium::depth) { return aligned(typename Tiles::coarse{}); }
  if (few || problem.out_channels <= Tiles::medium::channels) { return aligned(typename Tiles::medium{}); }
  bool const broad = blocks_of_channels(Tiles::broad::channels) * Tiles::broad::channels <
                     blocks_of_channels(Tiles::wide::channels) * Tiles::wide::channels;
  return broad ? aligned(typename Tiles::broad{}) : aligned(typename Tiles::wide{});
}

}  // namespace v0
}  // namespace tessera
