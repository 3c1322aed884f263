// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/mma/instructions.cuh>
#include <tessera/conv/detail/weight_gradient/slabs.hpp>
#include <tessera/core/detail/lanes.hpp>
#include <tessera/core/launch.cuh>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// What one launch of the weight gradient's kernel reads and writes.
template <class Scalar>
struct WeightGradientProblem {
  WeightGradientArguments<Scalar> arguments;
  std::int32_t const* out_in = nullptr;    // [num_out, volume]
  accumulator_t<Scalar>* parts = nullptr;  // [slabs, volume, in_channels, out_channels]
  std::int64_t num_out = 0;
  std::int64_t first_slab = 0;
  int volume = 1;
  int in_tiles = 1;
  int out_tiles = 1;
};

/// A block sums `tile` input channels by `tile` output channels of one offset over the pairs of a slab.
struct WeightGradientBlock {
  static constexpr int tile = 32;
  static constexpr int threads = 64;  // 4 x 4 sums each
  static constexpr int rows = 32;     // pairs in shared memory at once
};

/// The pairs of a slab under one offset, output rows ascending.
struct SlabPairs {
  std::int32_t in[slab_rows];
  std::int32_t out[slab_rows];
  int of_warp[WeightGradientBlock::threads / 32];  // how many each warp has found
};

/// Lists the pairs; returns how many there are. All threads of the block.
template <class Scalar>
__device__ int list_pairs(WeightGradientProblem<Scalar> const& problem, std::int64_t first_row, int k,
                          SlabPairs& pairs)
{
  constexpr int warps = WeightGradientBlock::threads / 32;
  constexpr int steps = slab_rows / WeightGradientBlock::threads;
  int const warp = warp_id();
  int const lane = lane_id();
  std::int32_t found[steps];
  int count = 0;
#pragma unroll
  for (int step = 0; step < steps; ++step) {
    auto const row = first_row + (warp * steps + step) * 32 + lane;
    found[step] = row < problem.num_out ? problem.out_in[row * problem.volume + k] : -1;
  }
#pragma unroll
  for (int step = 0; step < steps; ++step) { count += __popc(__ballot_sync(0xffffffffU, found[step] >= 0)); }
  if (lane == 0) { pairs.of_warp[warp] = count; }
  __syncthreads();
  int place = 0;
  int total = 0;
  for (int i = 0; i < warps; ++i) {
    if (i < warp) { place += pairs.of_warp[i]; }
    total += pairs.of_warp[i];
  }
#pragma unroll
  for (int step = 0; step < steps; ++step) {
    auto const present = __ballot_sync(0xffffffffU, found[step] >= 0);
    if (found[step] >= 0) {
      int const at = place + __popc(present & ((1U << lane) - 1U));
      pairs.in[at] = found[step];
      pairs.out[at] = static_cast<std::int32_t>(first_row + (warp * steps + step) * 32 + lane);
    }
    place += __popc(present);
  }
  __syncthreads();
  return total;
}

/// parts[slab, k] = sum over the pairs (in, out) of a slab, ascending, of transposed(x[in]) * dy[out]: one
/// chain a sum.
template <class Scalar>
__global__ void __launch_bounds__(WeightGradientBlock::threads)
    weight_gradient_kernel(__grid_constant__ WeightGradientProblem<Scalar> const problem)
{
  using Block = WeightGradientBlock;
  using Sum = accumulator_t<Scalar>;
  constexpr int tile = Block::tile;
  __shared__ SlabPairs pairs;
  __shared__ Sum x[Block::rows][tile];
  __shared__ Sum dy[Block::rows][tile];
  auto const& arguments = problem.arguments;
  int const thread = static_cast<int>(threadIdx.x);
  int const out_tile = static_cast<int>(blockIdx.x) % problem.out_tiles;
  int const in_tile = static_cast<int>(blockIdx.x) / problem.out_tiles % problem.in_tiles;
  int const k = static_cast<int>(blockIdx.x) / (problem.out_tiles * problem.in_tiles);
  auto const slab = std::int64_t{blockIdx.y};
  int const count = list_pairs(problem, (problem.first_slab + slab) * slab_rows, k, pairs);

  int const column = thread % tile;
  int const in = in_tile * tile + column;
  int const out = out_tile * tile + column;
  int const own_in = thread / 8 * 4;
  int const own_out = thread % 8 * 4;
  Sum sums[4][4] = {};
  for (int first = 0; first < count; first += Block::rows) {
    for (int row = thread / tile; row < Block::rows; row += Block::threads / tile) {
      bool const exists = first + row < count;
      x[row][column] =
          exists && in < arguments.in_channels
              ? widen(arguments.features[std::int64_t{pairs.in[first + row]} * arguments.in_channels + in])
              : Sum{0};
      dy[row][column] =
          exists && out < arguments.out_channels
              ? widen(arguments
                          .grad_output[std::int64_t{pairs.out[first + row]} * arguments.out_channels + out])
              : Sum{0};
    }
    __syncthreads();
    int const rows = count - first < Block::rows ? count - first : Block::rows;
    for (int row = 0; row < rows; ++row) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          sums[i][j] = multiply_add(x[row][own_in + i], dy[row][own_out + j], sums[i][j]);
        }
      }
    }
    __syncthreads();
  }

  auto* const to =
      problem.parts + (slab * problem.volume + k) * arguments.in_channels * arguments.out_channels;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      int const c = in_tile * tile + own_in + i;
      int const o = out_tile * tile + own_out + j;
      if (c < arguments.in_channels && o < arguments.out_channels) {
        to[std::int64_t{c} * arguments.out_channels + o] = sums[i][j];
      }
    }
  }
}

/// The same as on the host.
/// Stream: enqueues a kernel for each 65,535 slabs.
template <class Scalar>
void sum_weight_slabs(WeightGradientArguments<Scalar> const& arguments, std::int32_t const* out_in,
                      std::int64_t num_out, int volume, std::int64_t first, std::int64_t count,
                      accumulator_t<Scalar>* parts, Execution<Device> const& exec)
{
  constexpr std::int64_t most = 65535;  // blocks along y
  WeightGradientProblem<Scalar> problem;
  problem.arguments = arguments;
  problem.out_in = out_in;
  problem.num_out = num_out;
  problem.volume = volume;
  problem.in_tiles = ceil_div(arguments.in_channels, WeightGradientBlock::tile);
  problem.out_tiles = ceil_div(arguments.out_channels, WeightGradientBlock::tile);
  auto const size = std::int64_t{volume} * arguments.in_channels * arguments.out_channels;
  for (std::int64_t slab = 0; slab < count; slab += most) {
    problem.first_slab = first + slab;
    problem.parts = parts + slab * size;
    auto const blocks = std::int64_t{volume} * problem.in_tiles * problem.out_tiles;
    expects(blocks <= INT32_MAX, "convolution: ", blocks, " blocks are more than one launch can have");
    dim3 const grid{static_cast<unsigned>(blocks), static_cast<unsigned>(std::min(most, count - slab))};
    launch(weight_gradient_kernel<Scalar>, grid, WeightGradientBlock::threads, 0, exec, problem);
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
