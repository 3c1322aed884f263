// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/mma/instructions.cuh>
#include <tessera/conv/detail/weight_gradient/loader.cuh>
#include <tessera/conv/detail/weight_gradient/shapes.hpp>
#include <tessera/core/detail/lanes.hpp>
#include <tessera/core/launch.cuh>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// A warp's sums of a tile, in fragments of 16 input channels by 8 output channels.
template <class Scalar, class Tile>
struct GradientSums {
  static constexpr GradientShape shape = Tile::shape;
  static constexpr int in_fragments = shape.tile_in / shape.warps_in / 16;
  static constexpr int out_pairs = shape.tile_out / shape.warps_out / 16;  // two fragments side by side
  static constexpr int in_bytes = shape.in_bytes();
  static_assert(out_pairs <= in_fragments);
  float values[in_fragments][2 * out_pairs][2][2] = {};

  /// Adds transposed(x) * dy over a stage's pairs. Both operands lie by pairs: ldmatrix transposes them. Row r
  /// has chunk c at c ^ (r % 8), so that the eight rows of a matrix are in different banks.
  /// What a step of 16 pairs multiplies next is loaded while it multiplies.
  __device__ void add(unsigned char const* stage, int in, int out)
  {
#if __CUDA_ARCH__ >= 800
    constexpr int steps = GradientShape::depth / 16;
    int const lane = lane_id();
    std::uint32_t a[2][4];
    std::uint32_t b[2][out_pairs][4];
    auto const load_a = [&](int n) {  // fragment n % in_fragments of step n / in_fragments
      int const row = n / in_fragments * 16 + lane / 16 * 8 + lane % 8;
      int const column = (in + n % in_fragments * 16) / 8 + lane / 8 % 2;
      load_matrices_transposed(a[n % 2], stage + (row * (shape.tile_in / 8) + (column ^ (lane % 8))) * 16);
    };
    auto const load_b = [&](int step, int j) {
      int const row = step * 16 + lane / 8 % 2 * 8 + lane % 8;
      int const column = (out + j * 16) / 8 + lane / 16;
      load_matrices_transposed(b[step % 2][j],
                               stage + in_bytes + (row * (shape.tile_out / 8) + (column ^ (lane % 8))) * 16);
    };
#pragma unroll
    for (int j = 0; j < out_pairs; ++j) { load_b(0, j); }
    load_a(0);
#pragma unroll
    for (int n = 0; n < steps * in_fragments; ++n) {
      int const i = n % in_fragments;
      int const step = n / in_fragments;
      if (n + 1 < steps * in_fragments) { load_a(n + 1); }
      if (step + 1 < steps && i < out_pairs) { load_b(step + 1, i); }
#pragma unroll
      for (int j = 0; j < out_pairs; ++j) {
        auto const& two = b[step % 2][j];
        multiply_matrices<Scalar>(values[i][2 * j][0], values[i][2 * j][1], a[n % 2], two[0], two[1]);
        multiply_matrices<Scalar>(values[i][2 * j + 1][0], values[i][2 * j + 1][1], a[n % 2], two[2], two[3]);
      }
    }
#endif
  }

  /// Writes them to `part` [in_channels, out_channels].
  __device__ void store(float* part, int in, int out, int in_channels, int out_channels) const
  {
    int const lane = lane_id();
#pragma unroll
    for (int i = 0; i < in_fragments; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        int const c = in + i * 16 + half * 8 + lane / 4;
        if (c >= in_channels) { continue; }
        auto* const row = part + std::int64_t{c} * out_channels;
#pragma unroll
        for (int j = 0; j < 2 * out_pairs; ++j) {
          int const o = out + j * 8 + lane % 4 * 2;
          auto const& two = values[i][j][half];
          if (out_channels % 2 == 0) {
            if (o < out_channels) { *reinterpret_cast<float2*>(row + o) = make_float2(two[0], two[1]); }
          } else {
            if (o < out_channels) { row[o] = two[0]; }
            if (o + 1 < out_channels) { row[o + 1] = two[1]; }
          }
        }
      }
    }
  }
};

/// A shape as a type.
template <int Index>
struct GradientTile {
  static constexpr GradientShape shape = gradient_shapes[static_cast<std::size_t>(Index)];
  static constexpr int stage_bytes = shape.stage_bytes();
};

/// parts[segment] = sum over the pairs (in, out) of a segment, ascending, of transposed(x[in]) * dy[out]. A block
/// has a tile of channels of a segment; blocks of empty ones end.
template <class Scalar, class Tile>
__global__ void __launch_bounds__(Tile::shape.threads(), Tile::shape.min_blocks)
    gradient_tile_kernel(__grid_constant__ GradientTileProblem<Scalar> const problem)
{
#if __CUDA_ARCH__ >= 800
  constexpr GradientShape shape = Tile::shape;
  constexpr int stage_bytes = Tile::stage_bytes;
  extern __shared__ __align__(128) unsigned char gradient_stages[];
  int const tiles = problem.in_tiles * problem.out_tiles;
  GradientSegment const segment = problem.segments[blockIdx.x / static_cast<unsigned>(tiles)];
  if (segment.count == 0) { return; }
  int const tile = static_cast<int>(blockIdx.x) % tiles;
  int const first_in = tile / problem.out_tiles * shape.tile_in;
  int const first_out = tile % problem.out_tiles * shape.tile_out;
  int const in = warp_id() / shape.warps_out * (shape.tile_in / shape.warps_in);
  int const out = warp_id() % shape.warps_out * (shape.tile_out / shape.warps_out);
  bool const exists = first_in + in < problem.in_channels && first_out + out < problem.out_channels;

  GradientLoader<Scalar, Tile> loader{problem, segment, first_in, first_out};
  std::int32_t rows[shape.stages];
#pragma unroll
  for (int step = 0; step < shape.stages; ++step) { rows[step] = loader.next_row(); }
  int const steps = ceil_div(segment.count, GradientShape::depth);
#pragma unroll
  for (int step = 0; step < shape.stages - 1; ++step) {
    if (step < steps) { loader.load(gradient_stages + step * stage_bytes, rows[step]); }
    close_copies();
  }
  auto row = rows[shape.stages - 1];
  GradientSums<Scalar, Tile> sums;
  int stage = 0;
  for (int step = 0; step < steps; ++step) {
    wait_for_copies<shape.stages - 2>();
    __syncthreads();  // all copies are there, and the stage before is read
    int const free = stage == 0 ? shape.stages - 1 : stage - 1;
    if (step + shape.stages - 1 < steps) {
      loader.load(gradient_stages + free * stage_bytes, row);
      row = loader.next_row();
    }
    close_copies();
    if (exists) { sums.add(gradient_stages + stage * stage_bytes, in, out); }
    stage = stage + 1 == shape.stages ? 0 : stage + 1;
  }
  if (exists) {
    auto* const part =
        problem.parts + std::int64_t{segment.part} * problem.in_channels * problem.out_channels;
    sums.store(part, first_in + in, first_out + out, problem.in_channels, problem.out_channels);
  }
#endif
}

/// The gradient from the sums of segments: a block has `elements` of one offset, a warp a run of its segments.
struct AddSegmentsBlock {
  static constexpr int warps = 8;
  static constexpr int lane_elements = 4;
  static constexpr int elements = 32 * lane_elements;
};

/// total[k] = sum over the parts of offset k: each of eight runs of them ascending, then the runs ascending.
/// How they are dealt is a matter of how many there are.
template <class Block>
__global__ void __launch_bounds__(Block::warps * 32)
    add_segments_kernel(float const* parts, std::int32_t const* first, std::int64_t size, float* total)
{
  __shared__ float runs[Block::warps][Block::elements];
  auto const blocks = static_cast<unsigned>(ceil_div(size, std::int64_t{Block::elements}));
  auto const k = blockIdx.x / blocks;
  auto const first_element = std::int64_t{blockIdx.x % blocks} * Block::elements;
  auto const base = first_element + lane_id();
  auto const begin = std::int64_t{first[k]};
  auto const count = first[k + 1] - begin;
  auto const run_end = begin + count * (warp_id() + 1) / Block::warps;
  float sums[Block::lane_elements] = {};
#pragma unroll 4
  for (auto part = begin + count * warp_id() / Block::warps; part < run_end; ++part) {
#pragma unroll
    for (int n = 0; n < Block::lane_elements; ++n) {
      auto const i = base + n * 32;
      if (i < size) { sums[n] += parts[part * size + i]; }
    }
  }
#pragma unroll
  for (int n = 0; n < Block::lane_elements; ++n) { runs[warp_id()][n * 32 + lane_id()] = sums[n]; }
  __syncthreads();
  int const own = static_cast<int>(threadIdx.x);
  auto const i = first_element + own;
  if (own < Block::elements && i < size) {
    float sum = runs[0][own];
#pragma unroll
    for (int run = 1; run < Block::warps; ++run) { sum += runs[run][own]; }
    total[k * size + i] = sum;
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
