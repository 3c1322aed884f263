// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/policies.hpp>
#include <tessera/core/int_array.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace tessera {
inline namespace v0 {

/// What AutoTile's choice among tiles depends on. No choice changes a result: every tile gives the same bits.
/// (16-bit scalars on sm_90 and newer, and TF32 on sm_90a, mostly take no tile, but a shape of
/// conv/detail/warpgroup_gemm/shapes.hpp or warp_gemm/shapes.hpp.)
struct TileProblem {
  std::int64_t num_out = 0;
  int in_channels = 0;
  int out_channels = 0;
  int multiprocessors = 1;
  bool aligned = true;  ///< rows of features, weights and outputs begin at multiples of 16 bytes
};

/// The tiles that AutoTile chooses among for the scalars of a family.
///
/// All have 64 rows, so that the layers on one map share one tile map. Rows of a tile that lack an offset are
/// multiplied as zeros: tiles of 128 rows waste more of those, tiles of 32 read the weights twice as often.
/// A name says how many output channels a tile is for; `coarse` is for few rows, `shallow` and `ragged` are
/// for operands that are not aligned, with few and with many input channels.
///
/// Times are microseconds of one 3x3x3 layer with as many output as input channels on the 94,444 voxels of a
/// LiDAR scan at 5 cm (3.0 neighbours per voxel), unless another number of rows is given, on an H100.
template <ScalarFamily Family, bool TensorCores>
struct TunedTiles;

/// half and bfloat16.
template <>
struct TunedTiles<ScalarFamily::float16, true> {
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
struct TunedTiles<ScalarFamily::float32, true> {
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
struct TunedTiles<ScalarFamily::float32, false> {
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
struct TunedTiles<ScalarFamily::float64, false> {
  using narrow = Tile<64, 32, 16, 2>;  // 32 channels: 90
  using medium = narrow;
  using broad = narrow;
  using wide = narrow;
  using coarse = narrow;
  using shallow = narrow;
  using ragged = narrow;
};

/// The tiles of TunedTiles by name.
enum class TunedTile : std::uint8_t { narrow, medium, broad, wide, coarse, shallow, ragged };

namespace detail {

/// The constants of a tile.
struct TileSize {
  int rows;
  int channels;
  int depth;
  int stages;

  /// Shared memory of a block: stages of features [rows, depth] and weights [depth, channels], each row
  /// followed by padding that puts the rows which a warp reads at once into different banks.
  [[nodiscard]] constexpr std::size_t shared_bytes(int scalar_bytes) const
  {
    return static_cast<std::size_t>(stages) * static_cast<std::size_t>(stage_size(scalar_bytes)) *
           static_cast<std::size_t>(scalar_bytes);
  }
  /// Elements of a stage.
  [[nodiscard]] constexpr int stage_size(int scalar_bytes) const
  {
    return rows * feature_pitch(scalar_bytes) + depth * weight_pitch(scalar_bytes);
  }
  [[nodiscard]] constexpr int feature_pitch(int scalar_bytes) const { return depth + 16 / scalar_bytes; }
  [[nodiscard]] constexpr int weight_pitch(int scalar_bytes) const
  {
    return channels + (scalar_bytes == 4 ? 2 : 1) * (16 / scalar_bytes);
  }
};

template <class T>
[[nodiscard]] constexpr TileSize size_of_tile()
{
  return {T::rows, T::channels, T::depth, T::stages};
}

/// The sizes of TunedTiles, in the order of TunedTile.
using TileSizes = std::array<TileSize, 7>;
template <class Tiles>
[[nodiscard]] constexpr TileSizes tile_sizes()
{
  return {size_of_tile<typename Tiles::narrow>(), size_of_tile<typename Tiles::medium>(),
          size_of_tile<typename Tiles::broad>(),  size_of_tile<typename Tiles::wide>(),
          size_of_tile<typename Tiles::coarse>(), size_of_tile<typename Tiles::shallow>(),
          size_of_tile<typename Tiles::ragged>()};
}

/// Whether the scalars of a family are multiplied by tensor cores.
[[nodiscard]] constexpr bool uses_tensor_cores(ScalarFamily family, MathMode math)
{
  return family == ScalarFamily::float16 || (family == ScalarFamily::float32 && math == MathMode::tf32);
}

/// The tiles for a scalar and its way of multiplying.
/// @throws invalid_argument  no tiles exist for its family
[[nodiscard]] inline TileSizes tuned_tile_sizes(DType scalar, MathMode math)
{
  switch (family_of(scalar)) {
    case ScalarFamily::float64: return tile_sizes<TunedTiles<ScalarFamily::float64, false>>();
    case ScalarFamily::float32:
      return math == MathMode::tf32 ? tile_sizes<TunedTiles<ScalarFamily::float32, true>>()
                                    : tile_sizes<TunedTiles<ScalarFamily::float32, false>>();
    case ScalarFamily::float16: return tile_sizes<TunedTiles<ScalarFamily::float16, true>>();
    default: break;
  }
  throw invalid_argument(concat("convolution: there are no tiles for ", name_of(scalar)));
}

/// Calls `body(tile, aligned)` with an object of the tile's empty type and std::true_type where all rows
/// begin at multiples of 16 bytes. Each kernel is compiled for the tiles that select_tile() chooses for it.
template <class Tiles, class Body>
void with_tuned_tile(TunedTile tile, bool aligned, Body const& body)
{
  if (!aligned) {
    switch (tile) {
      case TunedTile::shallow: return body(typename Tiles::shallow{}, std::false_type{});
      case TunedTile::narrow: return body(typename Tiles::narrow{}, std::false_type{});
      default: return body(typename Tiles::ragged{}, std::false_type{});
    }
  }
  switch (tile) {
    case TunedTile::narrow: return body(typename Tiles::narrow{}, std::true_type{});
    case TunedTile::broad: return body(typename Tiles::broad{}, std::true_type{});
    case TunedTile::wide: return body(typename Tiles::wide{}, std::true_type{});
    case TunedTile::coarse: return body(typename Tiles::coarse{}, std::true_type{});
    default: return body(typename Tiles::medium{}, std::true_type{});
  }
}

/// The tile for a problem. Every narrow, shallow and ragged one fits a block of every device.
/// @param shared_bytes  of a block, at most
[[nodiscard]] inline TunedTile select_tile(TileProblem const& problem, TileSizes const& tiles,
                                           int scalar_bytes, std::size_t shared_bytes)
{
  auto const at = [&](TunedTile tile) { return tiles[static_cast<std::size_t>(tile)]; };
  auto const blocks_of_channels = [&](TunedTile tile) {
    return ceil_div(problem.out_channels, at(tile).channels);
  };
  auto const fitting = [&](TunedTile tile) {
    for (auto const choice : {tile, TunedTile::medium}) {
      if (at(choice).shared_bytes(scalar_bytes) <= shared_bytes) { return choice; }
    }
    return TunedTile::narrow;
  };
  bool const is_narrow = problem.out_channels <= at(TunedTile::narrow).channels;
  if (!problem.aligned) {
    if (problem.in_channels <= at(TunedTile::shallow).depth) { return TunedTile::shallow; }
    return is_narrow ? TunedTile::narrow : TunedTile::ragged;
  }
  if (is_narrow) { return fitting(TunedTile::narrow); }
  // A wide tile reads each row of features once for 128 output channels. The coarse levels of a scan have
  // fewer tiles than the device has places for blocks; there more blocks count for more.
  auto const wide = at(TunedTile::wide);
  auto const row_tiles = ceil_div(problem.num_out, static_cast<long long>(wide.rows));
  bool const few = row_tiles * blocks_of_channels(TunedTile::wide) < 2 * problem.multiprocessors;
  auto const medium = at(TunedTile::medium);
  if (few && problem.in_channels > medium.depth) { return fitting(TunedTile::coarse); }
  if (few || problem.out_channels <= medium.channels) { return fitting(TunedTile::medium); }
  bool const broad = blocks_of_channels(TunedTile::broad) * at(TunedTile::broad).channels <
                     blocks_of_channels(TunedTile::wide) * wide.channels;
  return fitting(broad ? TunedTile::broad : TunedTile::wide);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
