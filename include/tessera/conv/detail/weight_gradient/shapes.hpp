// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/int_array.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// How a block of the weight gradient's tiles is made up: it multiplies `tile_in` input channels by `tile_out`
/// output channels over the pairs of a segment.
struct GradientShape {
  int tile_in;
  int tile_out;
  int warps_in;    ///< warps along the input channels
  int warps_out;   ///< and along the output channels
  int stages;      ///< of the ring in shared memory, `depth` pairs each
  int min_blocks;  ///< blocks of a multiprocessor
  int least;       ///< pairs of a segment, at least

  static constexpr int depth = 32;  ///< two steps of the tensor cores

  [[nodiscard]] constexpr int warps() const { return warps_in * warps_out; }
  [[nodiscard]] constexpr int threads() const { return warps() * 32; }
  /// Bytes of a stage's rows of x, and of dy behind them.
  [[nodiscard]] constexpr int in_bytes() const { return depth * tile_in * 2; }
  [[nodiscard]] constexpr int stage_bytes() const { return depth * (tile_in + tile_out) * 2; }
  [[nodiscard]] constexpr std::size_t shared_bytes() const
  {
    return static_cast<std::size_t>(stages) * static_cast<std::size_t>(stage_bytes());
  }
};

/// Places in the table below.
namespace gradient_shape {
enum Index : int { narrow, wide, broad };
}  // namespace gradient_shape

/// Scalars of 16 bits. By the count of bytes shared memory is what they wait for, which no profiler has confirmed:
/// a stage's rows go into it, and each warp's operands come out. So few bytes for many channels are best, as far
/// as the registers of 16 to 20 warps of a multiprocessor go. In place of the 8 warps of `wide`, 4 of 64 x 64
/// channels each took 12 to 15 % longer. One H200, us, the kernel alone, all columns of one revision:
///
/// | rows, pairs of each, channels | narrow | narrow in 6 blocks | wide  | broad |
/// |-------------------------------|--------|--------------------|-------|-------|
/// | 94,444, 3.0, C64              | 23     | 27                 |       |       |
/// | 79,745, 7.4, C64              | 42     | 48                 |       |       |
/// | 1,026,536, 12.8, C64          | 827    | 783                |       |       |
/// | 94,444, 3.0, C256             |        |                    | 187   | 171   |
/// | 252,392, 12.7, C256           |        |                    | 1,902 | 1,703 |
inline constexpr std::array<GradientShape, 3> gradient_shapes{
    GradientShape{64, 64, 2, 2, 4, 5, 512},     // narrow
    GradientShape{128, 128, 2, 4, 4, 2, 512},   // wide
    GradientShape{256, 128, 4, 4, 4, 1, 512}};  // broad

[[nodiscard]] constexpr gradient_shape::Index gradient_shape_for(int in_channels, int out_channels)
{
  if (in_channels > 128 && out_channels > 64) { return gradient_shape::broad; }
  return in_channels <= 64 && out_channels <= 64 ? gradient_shape::narrow : gradient_shape::wide;
}

/// How the pairs of a map are cut into segments, each of one offset: every offset's list into as few as have up
/// to `length()` pairs, about as many each. Static facts and the pairs themselves decide, so that neither
/// threads, blocks nor capacity change a bit.
struct SegmentCut {
  static constexpr int unit = GradientShape::depth;  ///< segments have whole stages of pairs

  std::int64_t least = 1;  ///< pairs of a segment, at least
  std::int64_t most = 1;   ///< segments, beside one more for each offset

  /// Few enough for their sums to take 64 MB, or twice the gradient; 2,048 keep every device busy.
  SegmentCut(int pairs, std::int64_t volume, std::int64_t size)
      : least{pairs},
        most{std::clamp<std::int64_t>((std::int64_t{16} << 20) / size - volume, volume, 2048 + volume)}
  {}

  /// Pairs of a segment: whole stages.
  [[nodiscard]] TESSERA_HOST_DEVICE std::int64_t length(std::int64_t num_pairs) const
  {
    auto const wanted = (num_pairs + most - 1) / most;
    return wanted <= least ? least : (wanted + unit - 1) / unit * unit;
  }
  /// Segments of up to `num_pairs` pairs of `volume` offsets.
  [[nodiscard]] std::int64_t room(std::int64_t num_pairs, std::int64_t volume) const
  {
    return std::min<std::int64_t>(most, ceil_div(num_pairs, least)) + volume;
  }
  friend bool operator==(SegmentCut const& a, SegmentCut const& b)
  {
    return a.least == b.least && a.most == b.most;
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
