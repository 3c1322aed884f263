// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/arguments.hpp>
#include <tessera/conv/detail/kernel_availability.cuh>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// What one launch reads and writes. A place is where a row stands in the order in which rows are worked on.
///
/// Through a tile map it is a whole convolution; without masks there is one offset, and `map` and `order` may
/// be lists of the pairs of that offset, or null for rows that are in place already.
template <class Scalar>
struct BlockGemmProblem {
  Scalar const* features = nullptr;  // [num_in, in_channels]
  Scalar const* weight = nullptr;    // [splits * split_length, in_channels, out_channels]
  Scalar* output = nullptr;          // [num_out, out_channels], written unless there are sums
  EpilogueFunctor<Scalar> epilogue;
  accumulator_t<Scalar>* sums = nullptr;  // [splits, num_out, out_channels] or null
  std::int32_t const* map = nullptr;      // [splits, num_tiles, split_length, rows] or null
  std::int32_t const* order = nullptr;    // [splits, num_tiles, rows] or null
  std::uint32_t const* masks = nullptr;   // [splits, num_tiles, words] or null
  std::int64_t num_places = 0;            // of each split, the last tile's rest left out
  std::int64_t num_tiles = 0;
  std::int64_t num_out = 0;
  int splits = 1;
  int split_length = 1;
  int words = 1;
  int in_channels = 0;
  int out_channels = 0;
  bool continue_sums = false;     // sums are begun from those in memory, not from 0
  bool aligned_features = false;  // rows of features begin at multiples of 16 bytes
  bool aligned_weight = false;    // and so do rows of weights
};

/// What all launches of a convolution have in common.
template <class Scalar>
[[nodiscard]] BlockGemmProblem<Scalar> make_problem(ConvolutionArguments<Scalar> const& arguments,
                                                    std::int64_t num_out)
{
  constexpr int chunk = 16 / static_cast<int>(sizeof(Scalar));
  BlockGemmProblem<Scalar> problem;
  problem.features = arguments.features;
  problem.weight = arguments.weight;
  problem.output = arguments.output;
  problem.epilogue = epilogue_of(arguments);
  problem.num_out = num_out;
  problem.in_channels = arguments.in_channels;
  problem.out_channels = arguments.out_channels;
  problem.aligned_features = arguments.in_channels % chunk == 0 && is_aligned(arguments.features);
  problem.aligned_weight = arguments.out_channels % chunk == 0 && is_aligned(arguments.weight);
  return problem;
}

/// Which tile, channels and split a block works on: neighbouring blocks share rows of features, and blocks
/// start in the order of the tile map.
template <class Layout>
struct BlockPlace {
  std::int64_t tile;   // counted through all splits' tiles
  std::int64_t first;  // place in the split
  int split;
  int num_rows;
  int first_channel;

  __device__ explicit BlockPlace(BlockGemmProblem<typename Layout::Scalar> const& problem)
  {
    auto const channel_tiles = static_cast<unsigned>(ceil_div(problem.out_channels, Layout::channels));
    auto const splits = static_cast<unsigned>(problem.splits);
    first_channel = static_cast<int>(blockIdx.x % channel_tiles) * Layout::channels;
    auto const rest = blockIdx.x / channel_tiles;
    split = static_cast<int>(rest % splits);
    auto const tile_of_split = std::int64_t{rest / splits};
    tile = split * problem.num_tiles + tile_of_split;
    first = tile_of_split * Layout::rows;
    auto const left = problem.num_places - first;
    num_rows = left < Layout::rows ? static_cast<int>(left) : Layout::rows;
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
