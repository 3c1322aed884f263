// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/mma/instructions.cuh>
#include <tessera/conv/detail/weight_gradient/segments.cuh>
#include <tessera/conv/detail/weight_gradient/shapes.hpp>
#include <tessera/core/detail/lanes.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// What the tiles of a weight's gradient read and write.
template <class Scalar>
struct GradientTileProblem {
  Scalar const* x = nullptr;          // [num_in, in_channels]
  Scalar const* dy = nullptr;         // [num_out, out_channels]
  std::int32_t const* in = nullptr;   // of each pair, or null: its place
  std::int32_t const* out = nullptr;  // likewise
  GradientSegment const* segments = nullptr;
  float* parts = nullptr;  // [segments, in_channels, out_channels]
  int in_channels = 0;
  int out_channels = 0;
  int in_tiles = 1;
  int out_tiles = 1;
  bool aligned_x = false;  // its rows begin at multiples of 16 bytes
  bool aligned_dy = false;
};

/// Begins the copies of a stage's rows. Warp w has the pairs [w * own, (w + 1) * own) of each stage; of these its
/// lanes know the rows, those of x in the first `own` lanes and those of dy in the next.
template <class Scalar, class Tile>
class GradientLoader {
  static constexpr int own = Tile::shape.depth / Tile::shape.warps();
  static constexpr int chunk = 16 / static_cast<int>(sizeof(Scalar));
  static constexpr int in_bytes = Tile::shape.in_bytes();
  static_assert(2 * own <= 32 && sizeof(Scalar) == 2);

 public:
  __device__ GradientLoader(GradientTileProblem<Scalar> const& problem, GradientSegment const& segment,
                            int first_in, int first_out)
      : problem_{problem},
        pair_{segment.begin + warp_id() * own + lane_id() % own},
        end_{lane_id() < 2 * own ? segment.begin + segment.count : 0},
        first_in_{first_in},
        first_out_{first_out}
  {}

  /// The row that this lane knows of the next stage, or -1; to be read before its copies begin.
  [[nodiscard]] __device__ std::int32_t next_row()
  {
    std::int32_t row = -1;
    if (pair_ < end_) {
      auto const* const rows = lane_id() < own ? problem_.in : problem_.out;
      row = rows == nullptr ? static_cast<std::int32_t>(pair_) : rows[pair_];
    }
    pair_ += GradientShape::depth;
    return row;
  }

  /// Begins to copy the rows that next_row() gave to `stage`; pairs and channels that do not exist are zeros.
  __device__ void load(unsigned char* stage, std::int32_t row) const
  {
    copy<Tile::shape.tile_in, 0>(stage, row, problem_.x, first_in_, problem_.in_channels, problem_.aligned_x);
    copy<Tile::shape.tile_out, own>(stage + in_bytes, row, problem_.dy, first_out_, problem_.out_channels,
                                    problem_.aligned_dy);
  }

 private:
  template <int Channels, int FirstLane>
  __device__ static void copy(unsigned char* to, std::int32_t own_row, Scalar const* rows, int first_channel,
                              int channels, bool aligned)
  {
    constexpr int row_chunks = Channels / chunk;
#pragma unroll
    for (int pass = 0; pass < own * row_chunks / 32; ++pass) {
      int const i = pass * 32 + lane_id();
      int const row = __shfl_sync(0xffffffffU, own_row, FirstLane + i / row_chunks);
      int const at = warp_id() * own + i / row_chunks;
      int const column = i % row_chunks;
      int const channel = first_channel + column * chunk;
      bool const present = row >= 0 && channel < channels;
      auto const* const from = present ? rows + std::int64_t{row} * channels + channel : rows;
      auto* const place = to + (at * row_chunks + (column ^ (at % 8))) * 16;
      if (aligned) {
        begin_copy(place, from, present);
      } else {
        alignas(16) Scalar values[chunk];
#pragma unroll
        for (int n = 0; n < chunk; ++n) {
          values[n] = present && channel + n < channels ? from[n] : narrow<Scalar>(0);
        }
        *reinterpret_cast<uint4*>(place) = *reinterpret_cast<uint4 const*>(values);
      }
    }
  }

  GradientTileProblem<Scalar> const& problem_;
  std::int64_t pair_;  // this lane's of the next stage
  std::int64_t end_;   // and where there is none any more
  int first_in_;
  int first_out_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
