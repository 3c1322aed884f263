// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/arguments.hpp>
#include <tessera/conv/detail/mma/bulk_copy.cuh>
#include <tessera/conv/detail/mma/instructions.cuh>
#include <tessera/conv/detail/warp_gemm/problem.cuh>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Rows of the weight in a chunk: those of 64 bytes of a row of features.
template <class Scalar>
inline constexpr int warpgroup_chunk_channels = 64 / static_cast<int>(sizeof(Scalar));

/// How a weight [volume, in_channels, out_channels] is laid out for the warpgroup kernel: as operands B of
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

  /// Of the channels that there are.
  [[nodiscard]] TESSERA_HOST_DEVICE int used_chunks() const
  {
    return (in_channels + chunk_channels - 1) / chunk_channels;
  }
  [[nodiscard]] TESSERA_HOST_DEVICE int chunks() const { return (used_chunks() + depth - 1) / depth * depth; }
  [[nodiscard]] TESSERA_HOST_DEVICE int channel_blocks() const
  {
    return (out_channels + columns - 1) / columns;
  }
  /// Elements.
  [[nodiscard]] TESSERA_HOST_DEVICE std::int64_t size() const
  {
    return std::int64_t{volume} * chunks() * channel_blocks() * columns * chunk_channels;
  }
  [[nodiscard]] std::array<int, 8> key() const
  {
    return {warpgroup_kernel, volume, in_channels, out_channels, chunk_channels, columns, depth, 0};
  }
  static constexpr int warpgroup_kernel = 2;
};

/// Writes 16 bytes of the packed weight: item number i is those of one column in one half of a step.
template <class Scalar>
struct PackWarpgroupWeight {
  static constexpr int elements = 16 / static_cast<int>(sizeof(Scalar));
  static constexpr int width = 4 / static_cast<int>(sizeof(Scalar));  // elements of a register

  Scalar const* weight;  // [volume, in_channels, out_channels]
  Scalar* packed;        // aligned to 16 bytes
  WarpgroupLayout layout;

  __device__ void operator()(std::int64_t i) const
  {
    int const column = static_cast<int>(i % 8);
    int const half = static_cast<int>(i / 8 % 2);
    auto rest = i / 16;
    int const eight = static_cast<int>(rest % (layout.columns / 8));
    rest /= layout.columns / 8;
    int const step = static_cast<int>(rest % 2);
    rest /= 2;
    int const chunk = static_cast<int>(rest % layout.chunks());
    rest /= layout.chunks();
    int const offset = static_cast<int>(rest % layout.volume);
    int const block = static_cast<int>(rest / layout.volume);

    int const out = block * layout.columns + eight / 4 * 32 + column / 2 * 8 + eight % 4 * 2 + column % 2;
    alignas(16) Scalar values[elements];
#pragma unroll
    for (int e = 0; e < elements; ++e) {
      int const c = chunk * layout.chunk_channels + 4 * width * (e / width) + 2 * width * step +
                    width * half + e % width;
      bool const exists = c < layout.in_channels && out < layout.out_channels;
      auto const value =
          exists ? weight[(std::int64_t{offset} * layout.in_channels + c) * layout.out_channels + out]
                 : narrow<Scalar>(0);
      if constexpr (sizeof(Scalar) == 4) {
        values[e] = round_to_tf32(value);
      } else {
        values[e] = value;
      }
    }
    reinterpret_cast<uint4*>(packed)[i] = *reinterpret_cast<uint4 const*>(values);
  }
};

/// What one launch of the warpgroup kernel reads and writes.
template <class Scalar>
struct WarpgroupGemmProblem {
  Scalar const* features[2] = {nullptr, nullptr};  // [num_in, in_channels] of the two sources
  int in_channels[2] = {0, 0};
  Scalar const* packed = nullptr;          // weight as WarpgroupLayout says
  Scalar const* bias = nullptr;            // [out_channels] or null
  Scalar* output = nullptr;                // [num_out, out_channels], written unless there are sums
  Scalar const* residual = nullptr;        // [num_out, out_channels] or null
  float* sums = nullptr;                   // [num_out, out_channels] or null
  float slope = 1;                         // below 0, of the activation
  std::int32_t const* map = nullptr;       // [pieces, map_length, piece_rows], or null
  std::int32_t const* order = nullptr;     // [pieces, piece_rows]
  std::uint32_t const* masks = nullptr;    // [pieces, words]
  std::int32_t const* identity = nullptr;  // [num_out] the row itself or -1, where there is no map
  int num_out = 0;
  std::int32_t const* count = nullptr;  // [1] how many of num_out are in use, where the host does not know
  int num_pieces = 0;
  int map_length = 1;
  int words = 1;
  int volume = 1;                         // offsets of this launch
  int rank_volume = 1;                    // those of a block where two share a tile, at most
  std::uint32_t rank_bits = 0x55555555U;  // which of each 32 are rank 0's then
  int few_tiles = 0;                      // up to these, times blocks of channels, two blocks share a tile
  int out_channels = 0;
  int first_chunks = 1;  // of the first source
  int used_chunks = 1;   // of both
  int chunks = 1;        // of an offset, filled up to a multiple of the depth
  int stages = 2;
  bool whole_packs = true;  // out_channels is a multiple of 8 and outputs are aligned

  /// Whether two blocks share a tile.
  [[nodiscard]] TESSERA_HOST_DEVICE bool shares(int num_tiles, int channel_blocks) const
  {
    return std::int64_t{num_tiles} * channel_blocks <= few_tiles;
  }
};

/// The largest divisor of `value` up to `most`, or 1.
[[nodiscard]] constexpr int largest_divisor(int value, int most)
{
  for (int n = value; n > 1; --n) {
    if (value % n == 0 && n <= most) { return n; }
  }
  return 1;
}

/// How a block of the warpgroup kernel is made up.
/// @tparam Columns    output channels of a block
/// @tparam Product    those of one product, a divisor
/// @tparam Groups     warpgroups of a block, 64 rows each
/// @tparam Depth      chunks of features a lane holds
/// @tparam MinBlocks  blocks of a multiprocessor: one, whose warpgroups take registers from a further one,
///                    which copies weights; or more, whose first warp copies as it goes
template <class ScalarType, int Columns, int Product, int Groups, int Depth, int MinBlocks>
struct WarpgroupShape {
  using Scalar = ScalarType;
  static constexpr int columns = Columns;
  static constexpr int product = Product;
  static constexpr int products = Columns / Product;
  static constexpr int depth = Depth;
  static constexpr int min_blocks = MinBlocks;
  static constexpr int pieces = 4 * Groups;
  static constexpr int consumers = 128 * Groups;  // threads
  static constexpr bool has_producer = MinBlocks == 1;
  static constexpr int threads = consumers + (has_producer ? 128 : 0);
  static constexpr int producer_registers = 24;
  static constexpr int consumer_registers = Groups == 2 ? 240 : 160;
  // Products under way while the next are prepared, and operands: those of pending ones are left alone.
  static constexpr int pending = MinBlocks == 1 && Depth > 1 ? 1 : 0;
  static constexpr int operands = pending == 0 ? 1 : Depth % 2 == 0 ? 2 : Depth;
  // MinkUNet 1.0 on a KITTI scan 2.05 -> 1.98 ms, spconv's network on 914k voxels 4.13 -> 3.87; twice or half
  // as many, or all, of any width: as fast or slower
  static constexpr int few_tiles = Columns == 256 ? 1056 : Columns == 128 ? 528 : 264;
  static constexpr int exchange_bytes = Columns * consumers;  // half of all sums
  static constexpr int chunk_bytes = Columns * 64;            // of weights
  // C 256: with stages of 16 KB 58 us instead of 51
  static constexpr int stage_chunks = largest_divisor(Depth, 32 * 1024 / chunk_bytes);
  static constexpr int stage_size = stage_chunks * chunk_bytes;               // bytes
  static constexpr std::size_t shared_bytes = 228 * 1024 / MinBlocks - 1024;  // at most
  static_assert(Groups == 2 || Groups == 3, "registers are shared out for two and three warpgroups");

  /// Shared memory of all but the stages and their barriers, where two blocks share a tile.
  [[nodiscard]] static std::size_t shared_tile_bytes(int volume)
  {
    int const entries = (volume + 1) / 2;
    return lists_bytes(entries, copies_all_rows(volume) ? volume : entries) + exchange_bytes;
  }
  /// The same where a block has a tile of its own, or, if they `may_share`, enough for either.
  [[nodiscard]] static std::size_t tile_bytes(int volume, bool may_share)
  {
    auto const alone = lists_bytes(volume, volume);
    return may_share && shared_tile_bytes(volume) > alone ? shared_tile_bytes(volume) : alone;
  }

  /// Whether a block copies the rows of all offsets before it knows which it needs: C256 191 -> 186 us, C96
  /// 41.2 -> 40.7, sphere256 883 -> 868; but C128 where two blocks share a tile 48.9 -> 53.1. Up to so many
  /// there is room beside the stages and what two blocks exchange.
  [[nodiscard]] TESSERA_HOST_DEVICE static constexpr bool copies_all_rows(int volume)
  {
    return Columns != 128 && volume < 32;
  }

 private:
  /// Of the list of so many offsets, and rows of so many.
  [[nodiscard]] static std::size_t lists_bytes(int entries, int row_entries)
  {
    constexpr std::size_t places = pieces * piece_rows * 4;
    return (pieces + 2) * sizeof(SharedBarrier) + Columns * sizeof(float) + places +
           static_cast<std::size_t>(row_entries) * places + static_cast<std::size_t>((entries + 3) / 4 * 16);
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
