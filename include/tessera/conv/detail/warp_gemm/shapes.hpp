// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/kernel_plan.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// How a block of the warp kernel is made up.
struct WarpShape {
  int row_steps;      ///< fragments of rows that a warp works on at once
  int channels;       ///< output channels of a warp
  int row_warps;      ///< warps of a block, along rows
  int channel_warps;  ///< and along output channels
  int step_chunks;    ///< chunks that a step multiplies, a divisor of those of an offset and of a stage
  int depth;          ///< steps whose features are held in registers
  bool resident;      ///< the block's whole weight is in shared memory; each warp has tiles of its own
  int min_blocks;     ///< blocks of a multiprocessor
  int pack;           ///< offsets of a chunk

  [[nodiscard]] constexpr int block_channels() const { return channels * channel_warps; }
  [[nodiscard]] constexpr int dealt() const
  {
    return channels / 16 % 4 == 0 ? 4 : channels / 16 % 2 == 0 ? 2 : 1;
  }
  /// Chunks of an offset that are multiplied.
  [[nodiscard]] constexpr int chunks(int in_channels) const
  {
    return pack > 1 ? 1 : ceil_div(ceil_div(in_channels, 32), step_chunks) * step_chunks;
  }
  /// Chunks of an offset in memory. `large` reads what is packed for `wide` or `deep`, so that the number of
  /// rows, which decides between them, changes no layout.
  [[nodiscard]] constexpr int packed_chunks(int in_channels) const
  {
    return channel_warps > 1 ? ceil_div(ceil_div(in_channels, 32), 2) * 2 : chunks(in_channels);
  }
  /// Elements of a chunk of a block's weights.
  [[nodiscard]] constexpr int chunk_size() const { return block_channels() * 32; }
  /// Shared memory of a block, at most, for min_blocks on sm_90.
  [[nodiscard]] constexpr std::size_t shared_bytes() const
  {
    return static_cast<std::size_t>(228 * 1024 / min_blocks - 1024);
  }
};

/// Places in the table below.
namespace warp_shape {
enum Index : int {
  narrow_quads,
  quads,
  wide_quads,
  narrow_packed,
  packed,
  narrow,
  medium,
  staged,
  broad,
  wide,
  deep,
  large
};
}  // namespace warp_shape

/// The shapes of 16-bit scalars; all give the same bits. Times are microseconds of one 3x3x3 layer from C to
/// C channels on a LiDAR scan of 94,444 voxels at 5 cm, on an H100, ten in a graph, weights packed; in
/// brackets those of the block kernel in the same run.
// clang-format off
inline constexpr std::array<WarpShape, 12> warp_shapes{{
  // row_steps, channels, row_warps, channel_warps, step_chunks, depth, resident, min_blocks, pack
  {1,  16, 16, 1, 1, 2, true,  2, 4},  // narrow_quads
  {1,  32, 16, 1, 1, 4, true,  1, 4},  // quads          4 to 32 channels: 18.7 (43.4)
  {1,  64, 16, 1, 1, 2, true,  1, 4},  // wide_quads     not timed by itself
  {1,  16, 16, 1, 1, 2, true,  2, 2},  // narrow_packed  C 16: 14.6 (19.4)
  {1,  32, 16, 1, 1, 4, true,  1, 2},  // packed
  {1,  32, 16, 1, 1, 4, true,  1, 1},  // narrow         C 32: 17.3 (25.1)
  {1,  64, 16, 1, 2, 1, true,  1, 1},  // medium         C 64: 24.4 (35.6); 68,841 rows: 25.0 (40.0)
  {1,  64,  4, 1, 2, 1, false, 4, 1},  // staged         C 64: 30.2
  {1,  96,  4, 1, 3, 1, false, 3, 1},  // broad
  {1, 128,  4, 1, 2, 1, false, 3, 1},  // wide           C 128: 69.8 (87.1)
  {1, 128,  4, 1, 4, 1, false, 2, 1},  // deep           C 256: 212 (273); 9,504 rows: 91 (111)
  {2, 128,  4, 2, 1, 2, false, 1, 1},  // large          C 256 on 252,392 rows: 1522 (2111)
}};
// clang-format on

/// How a weight is packed for the warp kernel: as the operands A of
/// `mma.m16n8k16`, 16 output channels by 16 of the depth, each in the order in which a warp hands it over, so
/// that a lane reads 16 bytes and the warp 512 in a row.
///
/// The depth is cut into chunks of 32, two operands each. A chunk is 32 channels of one offset, or where
/// there are at most 16 all channels of `pack` offsets. Its elements are dealt out so that operand B is what
/// a lane reads of a row of features in 16 bytes: lane % 4 has depths 8 (lane % 4) + 0..7, four for each
/// operand. The rows of `dealt` operands are dealt out so that a lane's sums are neighbouring output
/// channels.
struct WarpLayout {
  int volume = 0;
  int in_channels = 0;
  int out_channels = 0;
  int pack = 1;               // offsets of a chunk
  int block_channels = 16;    // output channels of a warp
  int dealt = 1;              // a divisor of block_channels / 16
  int chunks_per_offset = 1;  // of `pack` offsets together

  WarpLayout() = default;
  WarpLayout(WarpShape const& shape, int num_offsets, int num_in, int num_out)
      : volume{num_offsets},
        in_channels{num_in},
        out_channels{num_out},
        pack{shape.pack},
        block_channels{shape.channels},
        dealt{shape.dealt()},
        chunks_per_offset{shape.packed_chunks(num_in)}
  {}
  explicit WarpLayout(PackedLayout const& key)
      : volume{static_cast<int>(key[1])},
        in_channels{static_cast<int>(key[2])},
        out_channels{static_cast<int>(key[3])},
        pack{static_cast<int>(key[4])},
        block_channels{static_cast<int>(key[5])},
        dealt{static_cast<int>(key[6])},
        chunks_per_offset{static_cast<int>(key[7])}
  {}

  [[nodiscard]] TESSERA_HOST_DEVICE int packed_offsets() const { return ceil_div(volume, pack); }
  [[nodiscard]] TESSERA_HOST_DEVICE int channel_blocks() const
  {
    return ceil_div(out_channels, block_channels);
  }
  [[nodiscard]] TESSERA_HOST_DEVICE std::int64_t size() const
  {
    return std::int64_t{packed_offsets()} * chunks_per_offset * channel_blocks() * block_channels * 32;
  }
  [[nodiscard]] PackedLayout key() const
  {
    return {packed_for_warp, volume, in_channels,      out_channels, pack,
            block_channels,  dealt,  chunks_per_offset};
  }
};

/// The stages and shared memory of `shape` for a weight so packed; more memory than `shared_limit` where it
/// does not fit.
[[nodiscard]] inline PipelineSize warp_pipeline(WarpShape const& shape, WarpLayout const& layout,
                                                std::size_t scalar_bytes, std::size_t shared_limit)
{
  PipelineSize result;
  auto const chunk_bytes = static_cast<std::size_t>(shape.chunk_size()) * scalar_bytes;
  if (shape.resident) {
    result.stages = 1;
    result.shared_bytes =
        static_cast<std::size_t>(layout.packed_offsets()) *
            (static_cast<std::size_t>(layout.chunks_per_offset) * chunk_bytes + barrier_bytes) +
        sizeof(int);
    return result;
  }
  constexpr std::size_t most_bytes = 32 * 1024;  // of a stage
  auto const steps = shape.chunks(layout.in_channels) / shape.step_chunks;
  result.stage_chunks = shape.step_chunks;
  for (int n = 2; n <= steps; ++n) {
    auto const chunks = n * shape.step_chunks;
    if (steps % n == 0 && static_cast<std::size_t>(chunks) * chunk_bytes <= most_bytes) {
      result.stage_chunks = chunks;
    }
  }
  auto const stage_bytes = static_cast<std::size_t>(result.stage_chunks) * chunk_bytes + 2 * barrier_bytes;
  auto const most_stages = std::min(shared_limit, shape.shared_bytes()) / stage_bytes;
  result.stages = static_cast<int>(std::clamp<std::size_t>(most_stages, 2, 8));
  result.shared_bytes = static_cast<std::size_t>(result.stages) * stage_bytes;
  return result;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
