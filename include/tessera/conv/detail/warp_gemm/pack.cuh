// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/mma/instructions.cuh>
#include <tessera/core/launch.cuh>

#include <array>

namespace tessera {
inline namespace v0 {
namespace detail {

/// How a weight [volume, in_channels, out_channels] is laid out for the warp kernel: as the operands A of
/// `mma.m16n8k16`, 16 output channels by 16 of the depth, each in the order in which a warp hands it over, so
/// that a lane reads 16 bytes and the warp 512 in a row.
///
/// The depth is cut into chunks of 32, two operands each. A chunk is 32 channels of one offset, or where
/// there are at most 16 all channels of `pack` offsets. Its elements are dealt out so that operand B is what
/// a lane reads of a row of features in 16 bytes: lane % 4 has depths 8 (lane % 4) + 0..7, four for each
/// operand. The rows of `dealt` operands are dealt out so that a lane's sums are neighbouring output
/// channels.
struct PackedLayout {
  int volume = 0;
  int in_channels = 0;
  int out_channels = 0;
  int pack = 1;               // offsets of a chunk
  int block_channels = 16;    // output channels of a block
  int dealt = 1;              // a divisor of block_channels / 16
  int chunks_per_offset = 1;  // of `pack` offsets together

  [[nodiscard]] TESSERA_HOST_DEVICE int packed_offsets() const { return (volume + pack - 1) / pack; }
  [[nodiscard]] TESSERA_HOST_DEVICE int channel_blocks() const
  {
    return (out_channels + block_channels - 1) / block_channels;
  }
  [[nodiscard]] std::array<int, 8> key() const
  {
    return {warp_kernel, volume, in_channels, out_channels, pack, block_channels, dealt, chunks_per_offset};
  }
  static constexpr int warp_kernel = 1;
  [[nodiscard]] TESSERA_HOST_DEVICE std::int64_t size() const
  {
    return std::int64_t{packed_offsets()} * chunks_per_offset * channel_blocks() * block_channels * 32;
  }
};

/// Writes elements [8 i, 8 i + 8) of the packed weight, the share of a lane in an operand; elements lie in
/// the order [channel blocks, packed offsets, chunks, 16 channels, 2 operands, lanes, 8].
template <class Scalar>
struct PackWeight {
  Scalar const* weight;  // [volume, in_channels, out_channels]
  Scalar* packed;        // aligned to 16 bytes
  PackedLayout layout;

  __device__ void operator()(std::int64_t i) const
  {
    int const lane = static_cast<int>(i % 32);
    int const operand = static_cast<int>(i / 32 % 2);
    int const tiles = layout.block_channels / 16;
    int const tile = static_cast<int>(i / 64 % tiles);
    auto const rest = i / 64 / tiles;
    int const chunk = static_cast<int>(rest % layout.chunks_per_offset);
    auto const panel = rest / layout.chunks_per_offset;
    int const group = static_cast<int>(panel % layout.packed_offsets());
    int const block = static_cast<int>(panel / layout.packed_offsets());

    int const width = 32 / layout.pack;
    int const depth = lane % 4 * 8 + operand * 4;
    int const offset = group * layout.pack + depth / width;
    int const in = chunk * 32 + depth % width;
    int const out = block * layout.block_channels + tile / layout.dealt * layout.dealt * 16 +
                    lane / 4 * layout.dealt * 2 + tile % layout.dealt * 2;
    // Register r of operand A holds row lane / 4 + 8 (r % 2) and depths 2 (lane % 4) + 0..1, + 8 for r >= 2.
    alignas(16) Scalar elements[8];
#pragma unroll
    for (int e = 0; e < 8; ++e) {
      int const c = in + e / 4 * 2 + e % 2;
      int const o = out + e / 2 % 2;
      bool const exists = offset < layout.volume && c < layout.in_channels && o < layout.out_channels;
      elements[e] = exists ? weight[(std::int64_t{offset} * layout.in_channels + c) * layout.out_channels + o]
                           : narrow<Scalar>(0);
    }
    reinterpret_cast<uint4*>(packed)[i] = *reinterpret_cast<uint4 const*>(elements);
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
