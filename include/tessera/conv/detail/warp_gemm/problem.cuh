// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/mma/instructions.cuh>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Rows of the pieces in which the warp kernel reads a tile map: those of one `mma.m16n8k16`.
inline constexpr int piece_rows = 16;

/// What one launch of the warp kernel reads and writes.
template <class Scalar>
struct WarpGemmProblem {
  Scalar const* features = nullptr;      // [num_in, in_channels]
  Scalar const* packed = nullptr;        // weight as PackedLayout says
  Scalar const* bias = nullptr;          // [out_channels] or null
  Scalar* output = nullptr;              // [num_out, out_channels], written unless there are sums
  Scalar const* residual = nullptr;      // [num_out, out_channels] or null
  float slope = 1;                       // below 0, of the activation
  float* sums = nullptr;                 // [num_out, out_channels] or null
  std::int32_t const* map = nullptr;     // [pieces, split_length, piece_rows]
  std::int32_t const* order = nullptr;   // [pieces, piece_rows]
  std::uint32_t const* masks = nullptr;  // [pieces, words]
  int num_pieces = 0;
  int split_length = 1;
  int words = 1;
  int in_channels = 0;
  int out_channels = 0;
  int chunks_per_offset = 1;
  int packed_offsets = 1;

  int stage_chunks = 1;  // of a stage, a divisor of chunks_per_offset
  int stages = 1;
};

/// How a block of the warp kernel is made up.
/// @tparam RowSteps      pieces of 16 rows that a warp works on at once
/// @tparam Channels      output channels of a warp
/// @tparam RowWarps, ChannelWarps  warps of a block
/// @tparam StepChunks    chunks that a step multiplies, a divisor of those of an offset and of a stage
/// @tparam Depth         steps whose features are held in registers
/// @tparam Resident      the block's whole weight lies in shared memory; each warp has tiles of its own
template <class ScalarType, int RowSteps, int Channels, int RowWarps, int ChannelWarps, int StepChunks,
          int Depth, bool Resident, int MinBlocks, int Pack>
struct WarpShape {
  using Scalar = ScalarType;
  static constexpr int row_steps = RowSteps;
  static constexpr int channels = Channels;
  static constexpr int row_tiles = 2 * RowSteps;  // of 8 rows
  static constexpr int channel_tiles = Channels / 16;
  static constexpr int row_warps = RowWarps;
  static constexpr int channel_warps = ChannelWarps;
  static constexpr int step_chunks = StepChunks;
  static constexpr int depth = Depth;
  static constexpr bool resident = Resident;
  static constexpr int min_blocks = MinBlocks;
  static constexpr int pack = Pack;
  static constexpr int consumers = RowWarps * ChannelWarps;
  static constexpr int threads = 32 * consumers;
  static constexpr int block_channels = Channels * ChannelWarps;
  static constexpr int dealt = channel_tiles % 4 == 0 ? 4 : channel_tiles % 2 == 0 ? 2 : 1;
  static constexpr int chunk_size = block_channels * 32;  // elements of a chunk of weights
  static constexpr std::size_t shared_bytes =
      228 * 1024 / MinBlocks - 1024;  // at most, for MinBlocks on sm_90
};

/// What a warp multiplies at once: Shape::step_chunks chunks of one offset's channels.
struct WarpStep {
  int offset = -1;  // packed offset, -1 where there is none
  int chunk = 0;    // the first, of the offset
  int tile = 0;     // twice the warp's tile, + 1 for the last offset of the tile; negative past the last tile
};

#if __CUDA_ARCH__ >= 900

__device__ inline int warp()
{
  return static_cast<int>(threadIdx.x) / 32;
}

#endif

}  // namespace detail
}  // namespace v0
}  // namespace tessera
