// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/mma/instructions.cuh>
#include <tessera/conv/detail/warp_gemm/shapes.hpp>
#include <tessera/conv/epilogue.hpp>
#include <tessera/core/detail/lanes.hpp>

namespace tessera {
inline namespace v0 {
namespace detail {

/// What one launch of the warp kernel reads and writes.
template <class Scalar>
struct WarpGemmProblem {
  Scalar const* features = nullptr;  // [num_in, in_channels]
  Scalar const* packed = nullptr;    // weight as PackedLayout says
  Scalar* output = nullptr;          // [num_out, out_channels], written unless there are sums
  EpilogueFunctor<Scalar> epilogue;
  float* sums = nullptr;                 // [num_out, out_channels] or null
  std::int32_t const* map = nullptr;     // [fragments, split_length, fragment_rows]
  std::int32_t const* order = nullptr;   // [fragments, fragment_rows]
  std::uint32_t const* masks = nullptr;  // [fragments, words]
  int num_fragments = 0;
  int split_length = 1;
  int words = 1;
  int in_channels = 0;
  int out_channels = 0;
  int chunks_per_offset = 1;  // that are multiplied
  int packed_chunks = 1;      // of an offset in memory
  int channel_blocks = 1;     // in memory, of a warp's channels each
  int packed_offsets = 1;

  int stage_chunks = 1;  // of a stage, a divisor of chunks_per_offset
  int stages = 1;
};

/// A shape for a scalar, and what follows from it.
template <class ScalarType, int Index>
struct WarpTile {
  using Scalar = ScalarType;
  static constexpr WarpShape shape = warp_shapes[Index];
  static constexpr int row_steps = shape.row_steps;
  static constexpr int channels = shape.channels;
  static constexpr int row_tiles = 2 * row_steps;  // of 8 rows
  static constexpr int channel_tiles = channels / 16;
  static constexpr int row_warps = shape.row_warps;
  static constexpr int channel_warps = shape.channel_warps;
  static constexpr int step_chunks = shape.step_chunks;
  static constexpr int depth = shape.depth;
  static constexpr bool resident = shape.resident;
  static constexpr int min_blocks = shape.min_blocks;
  static constexpr int pack = shape.pack;
  static constexpr int consumers = row_warps * channel_warps;
  static constexpr int threads = 32 * consumers;
  static constexpr int block_channels = shape.block_channels();
  static constexpr int dealt = shape.dealt();
  static constexpr int chunk_size = channels * 32;  // elements of a chunk of a warp's weights
};

/// What a warp multiplies at once: Shape::step_chunks chunks of one offset's channels.
struct WarpStep {
  int offset = -1;  // packed offset, -1 where there is none
  int chunk = 0;    // the first, of the offset
  int tile = 0;     // twice the warp's tile, + 1 for the last offset of the tile; negative past the last tile
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
