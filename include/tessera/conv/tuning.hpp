// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/policies.hpp>

#include <cstddef>
#include <cstdint>

namespace tessera {
inline namespace v0 {

/// What AutoTile's choice depends on. No choice changes a result: every tile gives the same bits.
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
/// multiplied as zeros: larger tiles waste more of those, smaller ones read the weights more often.
template <std::size_t Bytes, bool TensorCores>
struct TunedTiles;

/// half and bfloat16.
template <bool TensorCores>
struct TunedTiles<2, TensorCores> {
  using narrow = Tile<64, 32, 32, 4>;
  using medium = Tile<64, 64, 64, 3>;
  using wide = Tile<64, 128, 64, 3>;
  using unaligned = Tile<64, 32, 16, 3>;
};

/// float by TF32.
template <>
struct TunedTiles<4, true> {
  using narrow = Tile<64, 32, 32, 3>;
  using medium = Tile<64, 64, 32, 3>;
  using wide = Tile<64, 128, 32, 3>;
  using unaligned = Tile<64, 32, 16, 3>;
};

/// float, exactly.
template <>
struct TunedTiles<4, false> {
  using narrow = Tile<64, 32, 32, 3>;
  using medium = Tile<64, 64, 32, 2>;
  using wide = Tile<64, 128, 16, 3>;
  using unaligned = Tile<64, 32, 16, 3>;
};

/// double: for gradient checks, so one tile is enough.
template <>
struct TunedTiles<8, false> {
  using narrow = Tile<64, 32, 16, 3>;
  using medium = narrow;
  using wide = narrow;
  using unaligned = narrow;
};

/// Calls `body(tile)` with the tile for the problem, an object of an empty type.
template <class Tiles, class Body>
void with_tuned_tile(TileProblem const& problem, Body const& body)
{
  // A wide tile reads each row of features once for 128 output channels, unless that leaves multiprocessors
  // without work: the coarse levels of a scan have fewer tiles than the device has places for blocks.
  auto const tiles = (problem.num_out + Tiles::wide::rows - 1) / Tiles::wide::rows;
  auto const wide_blocks = tiles * ((problem.out_channels + 127) / 128);
  if (!problem.aligned) {
    body(typename Tiles::unaligned{});
  } else if (problem.out_channels <= Tiles::narrow::channels) {
    body(typename Tiles::narrow{});
  } else if (problem.out_channels <= Tiles::medium::channels || wide_blocks < 2 * problem.multiprocessors) {
    body(typename Tiles::medium{});
  } else {
    body(typename Tiles::wide{});
  }
}

}  // namespace v0
}  // namespace tessera
