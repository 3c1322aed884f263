// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/arguments.hpp>
#include <tessera/conv/detail/mma/instructions.cuh>
#include <tessera/conv/tuning.hpp>
#include <tessera/core/detail/lanes.hpp>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Channels of one warp: 32 where that divides the tile (64 in large tiles, for more products per load), else
/// the next multiple of 16 that does; the tile has at most 16 warps.
constexpr int warp_channels(int rows, int channels, int warp_rows)
{
  int const most = rows * channels >= 128 * 128 ? 64 : 32;
  for (int width = most; width < channels; width += 16) {
    if (channels % width == 0 && rows / warp_rows * (channels / width) <= 16) { return width; }
  }
  return channels;
}

/// How a tile is divided among warps and stored in shared memory, whatever instruction multiplies it.
///
/// TileSize says what a stage holds.
template <class ScalarType, class Tile>
struct TileLayout {
  using Scalar = ScalarType;
  static_assert(Tile::rows == 32 || Tile::rows == 64 || Tile::rows == 128,
                "convolution: a tile's rows must be 32, 64 or 128");
  static_assert(Tile::channels >= 16 && Tile::channels <= 256 && Tile::channels % 16 == 0,
                "convolution: a tile's channels must be a multiple of 16 from 16 to 256");
  static_assert(Tile::depth >= 16 && Tile::depth <= 128 && Tile::depth % 16 == 0,
                "convolution: a tile's depth must be a multiple of 16 from 16 to 128");
  static_assert(Tile::stages >= 2 && Tile::stages <= 8, "convolution: a tile's stages must be 2 to 8");

  static constexpr int rows = Tile::rows;
  static constexpr int channels = Tile::channels;
  static constexpr int depth = Tile::depth;
  static constexpr int stages = Tile::stages;

  static constexpr int warp_rows = rows == 32 ? 16 : 32;
  static constexpr int warp_channels = detail::warp_channels(rows, channels, warp_rows);
  static constexpr int row_warps = rows / warp_rows;
  static constexpr int threads = 32 * row_warps * (channels / warp_channels);

  static constexpr int chunk = 16 / static_cast<int>(sizeof(Scalar));  // elements of one copy
  static constexpr TileSize size = size_of_tile<Tile>();
  static constexpr int feature_pitch = size.feature_pitch(sizeof(Scalar));
  static constexpr int weight_pitch = size.weight_pitch(sizeof(Scalar));
  static constexpr int weight_begin = rows * feature_pitch;
  static constexpr int stage_size = size.stage_size(sizeof(Scalar));
  static constexpr std::size_t shared_bytes = size.shared_bytes(sizeof(Scalar));
  static_assert(
      shared_bytes <= 227 * 1024,
      "convolution: the stages of this tile need more than 227 KB of shared memory; make it smaller");
};

/// The sums of one thread: of its warp's part of the tile, rows `lane / 4 + 8 i` and channels
/// `8 j + lane % 4 * 2` and the next. This is how tensor cores hand them out; the plain way follows.
template <class Layout>
struct TileSums {
  using Sum = accumulator_t<typename Layout::Scalar>;
  static constexpr int row_steps = Layout::warp_rows / 8;
  static constexpr int channel_steps = Layout::warp_channels / 8;
  Sum values[row_steps][channel_steps][2];

  /// Puts the next row's sums into the place of each row's.
  __device__ void shift()
  {
#pragma unroll
    for (int i = 0; i + 1 < row_steps; ++i) {
#pragma unroll
      for (int j = 0; j < channel_steps; ++j) {
        values[i][j][0] = values[i + 1][j][0];
        values[i][j][1] = values[i + 1][j][1];
      }
    }
  }

  __device__ static int first_row()
  {
    return warp_id() % Layout::row_warps * Layout::warp_rows;
  }
  __device__ static int first_channel()
  {
    return warp_id() / Layout::row_warps * Layout::warp_channels;
  }

  /// The place of values[i][j] in the tile.
  __device__ static int row(int i)
  {
    return first_row() + lane_id() / 4 + 8 * i;
  }
  __device__ static int channel(int j)
  {
    return first_channel() + lane_id() % 4 * 2 + 8 * j;
  }
};

/// sums += features [rows, depth] * weights [depth, channels] of one stage, by multiply-adds with the depth
/// ascending.
template <class Layout, MathMode Math>
struct PlainMultiply {
  using Scalar = typename Layout::Scalar;
  using Sums = TileSums<Layout>;
  using Sum = typename Sums::Sum;

  __device__ static Sum operand(Scalar value)
  {
    if constexpr (ScalarTraits<Scalar>::family == ScalarFamily::float32 && Math == MathMode::tf32) {
      return round_to_tf32(value);
    } else {
      return widen(value);
    }
  }

  __device__ static void run(Sums& sums, Scalar const* stage)
  {
    auto const* const features = stage + (Sums::first_row() + lane_id() / 4) * Layout::feature_pitch;
    auto const* const weights = stage + Layout::weight_begin + Sums::first_channel() + lane_id() % 4 * 2;
    for (int k = 0; k < Layout::depth; k += 4) {
      FourElements<Scalar> a[Sums::row_steps];
#pragma unroll
      for (int i = 0; i < Sums::row_steps; ++i) {
        a[i] = *reinterpret_cast<FourElements<Scalar> const*>(features + 8 * i * Layout::feature_pitch + k);
      }
#pragma unroll
      for (int step = 0; step < 4; ++step) {
#pragma unroll
        for (int j = 0; j < Sums::channel_steps; ++j) {
          auto const b = *reinterpret_cast<TwoElements<Scalar> const*>(
              weights + (k + step) * Layout::weight_pitch + 8 * j);
#pragma unroll
          for (int i = 0; i < Sums::row_steps; ++i) {
            auto& pair = sums.values[i][j];
            pair[0] = multiply_add(operand(a[i].values[step]), operand(b.values[0]), pair[0]);
            pair[1] = multiply_add(operand(a[i].values[step]), operand(b.values[1]), pair[1]);
          }
        }
      }
    }
  }
};

#if __CUDA_ARCH__ >= 800

/// The same by tensor cores on half or bfloat16, 16 of the depth at a time.
template <class Layout>
struct TensorMultiply {
  using Scalar = typename Layout::Scalar;
  using Sums = TileSums<Layout>;

  __device__ static void run(Sums& sums, Scalar const* stage)
  {
    // Lane i hands in a row of matrix i / 8: rows 0-7 and 8-15 of the first 8 columns, then of the next.
    int const lane = lane_id();
    auto const* const features =
        stage + (Sums::first_row() + lane % 16) * Layout::feature_pitch + lane / 16 * 8;
    auto const* const weights = stage + Layout::weight_begin + lane % 16 * Layout::weight_pitch +
                                Sums::first_channel() + lane / 16 * 8;
#pragma unroll
    for (int k = 0; k < Layout::depth; k += 16) {
      std::uint32_t a[Sums::row_steps / 2][4];
#pragma unroll
      for (int i = 0; i < Sums::row_steps / 2; ++i) {
        load_matrices(a[i], features + 16 * i * Layout::feature_pitch + k);
      }
#pragma unroll
      for (int j = 0; j < Sums::channel_steps / 2; ++j) {
        std::uint32_t b[4];
        load_matrices_transposed(b, weights + k * Layout::weight_pitch + 16 * j);
#pragma unroll
        for (int i = 0; i < Sums::row_steps / 2; ++i) {
          auto& upper = sums.values[2 * i];
          auto& lower = sums.values[2 * i + 1];
          multiply_matrices<Scalar>(upper[2 * j], lower[2 * j], a[i], b[0], b[1]);
          multiply_matrices<Scalar>(upper[2 * j + 1], lower[2 * j + 1], a[i], b[2], b[3]);
        }
      }
    }
  }
};

/// The same by tensor cores on float rounded to TF32, 8 of the depth at a time.
template <class Layout>
struct TensorMultiplyTf32 {
  using Sums = TileSums<Layout>;

  __device__ static void run(Sums& sums, float const* stage)
  {
    int const lane = lane_id();
    auto const* const features = stage + (Sums::first_row() + lane / 4) * Layout::feature_pitch + lane % 4;
    auto const* const weights =
        stage + Layout::weight_begin + lane % 4 * Layout::weight_pitch + Sums::first_channel() + lane / 4;
#pragma unroll
    for (int k = 0; k < Layout::depth; k += 8) {
      float a[Sums::row_steps / 2][4];
#pragma unroll
      for (int i = 0; i < Sums::row_steps / 2; ++i) {
        auto const* const from = features + 16 * i * Layout::feature_pitch + k;
        a[i][0] = round_to_tf32(from[0]);
        a[i][1] = round_to_tf32(from[8 * Layout::feature_pitch]);
        a[i][2] = round_to_tf32(from[4]);
        a[i][3] = round_to_tf32(from[8 * Layout::feature_pitch + 4]);
      }
#pragma unroll
      for (int j = 0; j < Sums::channel_steps; ++j) {
        auto const* const from = weights + k * Layout::weight_pitch + 8 * j;
        float const b0 = round_to_tf32(from[0]);
        float const b1 = round_to_tf32(from[4 * Layout::weight_pitch]);
#pragma unroll
        for (int i = 0; i < Sums::row_steps / 2; ++i) {
          multiply_matrices_tf32(sums.values[2 * i][j], sums.values[2 * i + 1][j], a[i], b0, b1);
        }
      }
    }
  }
};

/// How products are made on the architecture that is being compiled for.
template <class Layout, MathMode Math>
using TileMultiply = std::conditional_t<
    ScalarTraits<typename Layout::Scalar>::family == ScalarFamily::float16, TensorMultiply<Layout>,
    std::conditional_t<uses_tensor_cores(ScalarTraits<typename Layout::Scalar>::family, Math),
                       TensorMultiplyTf32<Layout>, PlainMultiply<Layout, Math>>>;

#else

template <class Layout, MathMode Math>
using TileMultiply = PlainMultiply<Layout, Math>;

#endif

}  // namespace detail
}  // namespace v0
}  // namespace tessera
