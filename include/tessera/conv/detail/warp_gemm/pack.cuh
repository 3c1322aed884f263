// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/mma/instructions.cuh>
#include <tessera/conv/detail/warp_gemm/shapes.hpp>
#include <tessera/conv/weight_view.hpp>
#include <tessera/core/launch.cuh>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Writes elements [8 i, 8 i + 8) of the packed weight, the share of a lane in an operand; elements lie in
/// the order [channel blocks, packed offsets, chunks, 16 channels, 2 operands, lanes, 8].
template <class Scalar>
struct PackWarpWeight {
  WeightView<Scalar> weight;
  Scalar* packed;  // aligned to 16 bytes
  WarpLayout layout;

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
      elements[e] = exists ? weight.at(offset, c, o) : narrow<Scalar>(0);
    }
    reinterpret_cast<uint4*>(packed)[i] = *reinterpret_cast<uint4 const*>(elements);
  }
};

template <class Scalar>
void pack_warp_weight(WeightView<Scalar> const& weight, Scalar* packed, WarpLayout const& layout,
                      Execution<Device> const& exec)
{
  for_each(layout.size() / 8, PackWarpWeight<Scalar>{weight, packed, layout}, exec);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
