// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/arguments.hpp>
#include <tessera/conv/detail/mma/bulk_copy.cuh>
#include <tessera/conv/detail/mma/instructions.cuh>
#include <tessera/conv/detail/warpgroup_gemm/shapes.hpp>
#include <tessera/core/detail/lanes.hpp>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Rows of the weight in a chunk: those of 64 bytes of a row of features.
template <class Scalar>
inline constexpr int warpgroup_chunk_channels = 64 / static_cast<int>(sizeof(Scalar));

/// What one launch of the warpgroup kernel reads and writes.
template <class Scalar>
struct WarpgroupGemmProblem {
  Scalar const* features[2] = {nullptr, nullptr};  // [num_in, in_channels] of the two sources
  int in_channels[2] = {0, 0};
  Scalar const* packed = nullptr;  // weight as WarpgroupLayout says
  Scalar* output = nullptr;        // [num_out, out_channels], written unless there are sums
  EpilogueFunctor<Scalar> epilogue;
  float* sums = nullptr;                   // [num_out, out_channels] or null
  std::int32_t const* map = nullptr;       // [fragments, map_length, fragment_rows], or null
  std::int32_t const* order = nullptr;     // [fragments, fragment_rows]
  std::uint32_t const* masks = nullptr;    // [fragments, words]
  std::int32_t const* identity = nullptr;  // [num_out] the row itself or -1, where there is no map
  int num_out = 0;
  std::int32_t const* count = nullptr;  // [1] how many of num_out are in use, where the host does not know
  int num_fragments = 0;
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

/// A shape for a scalar, and what follows from it.
template <class ScalarType, int Index>
struct WarpgroupTile {
  using Scalar = ScalarType;
  static constexpr WarpgroupShape shape = warpgroup_shapes[Index];
  static constexpr int columns = shape.columns;
  static constexpr int product = shape.product;
  static constexpr int products = columns / product;
  static constexpr int depth = shape.depth;
  static constexpr int min_blocks = shape.min_blocks;
  static constexpr int fragments = shape.fragments();
  static constexpr int consumers = shape.consumers();  // threads
  static constexpr bool has_producer = min_blocks == 1;
  static constexpr int threads = consumers + (has_producer ? 128 : 0);
  static constexpr int producer_registers = 24;
  static constexpr int consumer_registers = shape.groups == 2 ? 240 : 160;
  // Products under way while the next are prepared, and operands: those of pending ones are left alone.
  static constexpr int pending = min_blocks == 1 && depth > 1 ? 1 : 0;
  static constexpr int operands = pending == 0 ? 1 : depth % 2 == 0 ? 2 : depth;
  static constexpr int exchange_bytes = shape.exchange_bytes();
  static constexpr int chunk_bytes = shape.chunk_bytes();
  static constexpr int stage_chunks = shape.stage_chunks();
  static constexpr int stage_size = shape.stage_bytes();
  static_assert(shape.groups == 2 || shape.groups == 3,
                "registers are shared out for two and three warpgroups");

  [[nodiscard]] __device__ static constexpr bool copies_all_rows(int volume)
  {
    return detail::copies_all_rows(columns, volume);
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
